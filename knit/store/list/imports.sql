-- name: imported
-- What a person has brought for it and is published; none while something is under way.
select i.valkey_key, i.sha256
from knit_certs c
join knit_issued i on i.cert_id = c.id
where c.id = %(id)s and c.enabled and c.issuer = 'imported' and i.directory = 'imported' and i.published_at is not null
  and not exists (select 1 from knit_attempts a where a.cert_id = c.id and a.ended_at is null)

-- name: end
-- A worker that is on it finds its attempt ended, and stops.
update knit_attempts
set step = 'abandoned', ended_at = now(), updated_at = now(), error = 'a certificate is imported in its place'
where cert_id = %(cert_id)s and ended_at is null

-- name: begin
insert into knit_attempts
    (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, spki_sha256)
values (%(cert_id)s, 0, 'import', 'planned', %(reason)s, %(names)s, %(provider)s, %(issuer)s, %(issuer)s, %(key_type)s,
        %(spki_sha256)s)
returning id

-- name: hand_over
update knit_attempts
set step = 'issued', starts = 0, serial = %(serial)s, not_before = %(not_before)s, not_after = %(not_after)s,
    sha256 = %(sha256)s, updated_at = now()
where id = %(id)s and ended_at is null and step = 'planned'
returning id

-- name: ended
select step, error from knit_attempts where id = %(id)s and ended_at is not null
