-- name: due
select id from knit_revocations_due order by id

-- name: read
select r.id, r.cert_id, r.names_key, r.serial, r.fingerprint, r.issuer, r.directory,
       coalesce(i.valkey_key, r.valkey_key) as valkey_key, r.not_after, r.reason, r.replace, r.asked_at, r.asked_by,
       r.state, r.copy, r.tries, r.next_try_at, r.error, r.ended_at,
       r.id in (select id from knit_revocations_waiting) as waits, r.id in (select id from knit_revocations_due) as due
from knit_revocations r
left join knit_issued i on (i.cert_id, i.directory, i.serial) = (r.cert_id, r.directory, r.serial)
where (r.id = %(id)s or %(id)s::bigint is null)
  and (r.cert_id = %(cert_id)s or %(cert_id)s::bigint is null)
  and (r.serial = %(serial)s and r.directory = %(directory)s or %(serial)s::text is null)
  and (r.state = 'wanted' or not %(open)s)
order by r.id

-- name: standing
-- The row is held: what is decided of it is still so when it is written.
select c.id as cert_id, c.enabled, case when c.names_key is null then c.last_error end as left_out, a.step,
       i.serial, i.not_after, i.published_at is not null as published, i.directory,
       case when i.directory = 'imported' then i.directory else (
           select n.kind from knit_issuers n where n.directory = i.directory order by n.name limit 1
       ) end as kind
from knit_certs c
left join knit_issued i on i.cert_id = c.id
left join knit_attempts a on a.cert_id = c.id and a.ended_at is null
where c.id = %(cert_id)s
for update of c

-- name: ask
-- One that is open already is changed, and looked at at once.
insert into knit_revocations as r
    (cert_id, names_key, serial, issuer, directory, valkey_key, not_after, reason, replace)
select i.cert_id, i.names_key, i.serial, i.issuer, i.directory, i.valkey_key, i.not_after, %(reason)s, %(replace)s
from knit_issued i
where i.cert_id = %(cert_id)s
on conflict (directory, serial) where state = 'wanted' do update
set reason = excluded.reason, replace = excluded.replace, tries = 0, next_try_at = now(), error_class = null,
    error = null
returning r.id

-- name: copied
update knit_revocations
set copy = %(copy)s, fingerprint = coalesce(%(fingerprint)s, fingerprint)
where id = %(id)s and state = 'wanted' and copy = 'wanted'

-- name: compromised
insert into knit_compromised_keys (spki_sha256, cert_id)
values (%(spki_sha256)s, %(cert_id)s)
on conflict (spki_sha256) do nothing

-- name: postpone
update knit_revocations
set tries = tries + 1, next_try_at = %(retry_at)s, error_class = %(error_class)s, error = %(error)s
where id = %(id)s and state = 'wanted' and tries = %(tries)s

-- name: revoked
update knit_revocations
set state = 'revoked', ended_at = coalesce(%(at)s, now()), error_class = null, error = null
where id = %(id)s and state = 'wanted'

-- name: refuse
update knit_revocations
set state = 'refused', ended_at = now(), error_class = %(error_class)s, error = %(error)s
where id = %(id)s and state = 'wanted'

-- name: discarded
update knit_revocations set copy = 'none' where id = %(id)s and state <> 'wanted'
