-- name: due
select id from knit_revocations_due order by id

-- name: any_due
select exists (select 1 from knit_revocations_due) as due

-- name: uncopied
select id from knit_revocations where state = 'wanted' and copy = 'wanted' order by id

-- name: read
-- Of one revocation only that one is looked at, however many there are.
select r.id, r.cert_id, r.names_key, r.serial, r.fingerprint, r.issuer, r.directory,
       coalesce(i.valkey_key, r.valkey_key) as valkey_key, r.not_after, r.reason, r.replace, r.asked_at, r.asked_by,
       r.state, r.copy, r.tries, r.next_try_at, r.error, r.ended_at,
       exists (select from knit_revocations_waiting w where w.id = r.id) as waits,
       exists (select from knit_revocations_due d where d.id = r.id) as due
from knit_revocations r
left join knit_issued i on (i.cert_id, i.serial) = (r.cert_id, r.serial)
where (r.id = %(id)s or %(id)s::bigint is null)
  and (r.cert_id = %(cert_id)s or %(cert_id)s::bigint is null)
  and (r.serial = %(serial)s or %(serial)s::text is null)
  and (r.state = 'wanted' or not %(open)s)
order by r.id

-- name: standing
-- The row is held: what is decided of it is still so when it is written.
select c.id as cert_id, c.enabled, case when c.names_key is null then c.last_error end as left_out, a.step,
       i.serial, i.not_after, i.published_at is not null as published, false as past,
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
select i.cert_id, i.names_key, i.serial, coalesce(%(issuer)s, i.issuer), coalesce(%(directory)s, i.directory),
       i.valkey_key, i.not_after, %(reason)s, %(replace)s
from knit_issued i
where i.cert_id = %(cert_id)s
on conflict (directory, serial) where state = 'wanted' do update
set reason = excluded.reason, replace = excluded.replace, tries = 0, next_try_at = now(), error_class = null,
    error = null
returning r.id

-- name: by_serial
-- The certificate of the list that it is published for.
select cert_id from knit_issued where serial = %(serial)s and published_at is not null order by cert_id limit 1

-- name: past
-- What a CA of our own has issued; of others only revocations that were refused know anything.
select i.cert_id, i.not_after
from knit_ca_issued i
where i.serial = %(serial)s and i.revoked_at is null

-- name: ask_of_past
insert into knit_revocations as r
    (cert_id, names_key, serial, issuer, directory, valkey_key, not_after, reason, replace, copy)
select coalesce(i.cert_id, 0), i.names_key, i.serial,
       coalesce((select min(n.name) from knit_issuers n where n.directory = i.directory), ''), i.directory, '',
       i.not_after, %(reason)s, false, 'none'
from knit_ca_issued i
where i.serial = %(serial)s
on conflict (directory, serial) where state = 'wanted' do update set reason = excluded.reason, next_try_at = now()
returning r.id

-- name: ask_again
update knit_revocations
set state = 'wanted', reason = %(reason)s, replace = false, tries = 0, next_try_at = now(), error_class = null,
    error = null, ended_at = null, asked_at = now(), asked_by = knit_actor()
where id = %(id)s
returning id

-- name: kind
select (select n.kind from knit_issuers n where n.directory = %(directory)s order by n.name limit 1) as kind

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
