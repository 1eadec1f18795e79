-- name: known
select id, place, revision from knit_installation

-- name: make
-- Of two that are first at the same time, one is; the other updates nothing, to be given the row that it cannot see.
insert into knit_installation as known (id)
values (%(new)s)
on conflict (one) do update set id = known.id
returning id, place, revision

-- name: settled
update knit_installation
set place = %(place)s, revision = %(revision)s
where place is distinct from %(place)s or revision <> %(revision)s

-- name: publishes
select exists (select 1 from knit_issued where published_at is not null) as any

-- name: unexplained
-- A value whose bytes have changed since is somebody's work: its time begins anew.
with now_there as (
    select * from unnest(%(keys)s::text[], %(tokens)s::text[]) as t (valkey_key, token)
), explained as (
    delete from knit_unexplained u where not exists (select 1 from now_there t where t.valkey_key = u.valkey_key)
), noted as (
    insert into knit_unexplained as u (valkey_key, token)
    select valkey_key, token from now_there
    on conflict (valkey_key) do update
    set token = excluded.token, since = case when u.token = excluded.token then least(u.since, now()) else now() end
    returning valkey_key, since
)
select valkey_key, since from noted

-- name: compromised
select string_agg(spki_sha256, E'\n') as keys from knit_compromised_keys

-- name: without_fingerprint
select string_agg(knit_line(valkey_key), E'\n') as keys from knit_issued where spki_sha256 is null and published_at is not null

-- name: record_fingerprints
update knit_issued i
set spki_sha256 = known.spki_sha256
from unnest(%(sha256s)s::text[], %(fingerprints)s::text[]) as known (sha256, spki_sha256)
where i.sha256 = known.sha256 and i.spki_sha256 is null

-- name: compromise
-- Every key this certificate has had, also one that an open attempt has made: that attempt is over.
with known as (
    select spki_sha256 from knit_issued where cert_id = %(id)s and spki_sha256 is not null
    union
    select spki_sha256 from knit_attempts where cert_id = %(id)s and spki_sha256 is not null
), declared as (
    insert into knit_compromised_keys (spki_sha256, cert_id)
    select spki_sha256, %(id)s from known
    on conflict (spki_sha256) do nothing
), stopped as (
    update knit_attempts
    set step = 'abandoned', ended_at = now(), updated_at = now(), error = 'its key was declared compromised'
    where cert_id = %(id)s and ended_at is null and exists (select 1 from known)
)
select count(*) as keys from known
