-- name: record
-- The first record of a serial number stays.
insert into knit_ca_issued as known (directory, serial, cert_id, names_key, not_before, not_after)
values (%(directory)s, %(serial)s, %(cert_id)s, %(names_key)s, %(not_before)s, %(not_after)s)
on conflict (directory, serial) do update set names_key = known.names_key
returning not_before, not_after

-- name: revoke
update knit_ca_issued
set revoked_at = coalesce(revoked_at, now()),
    reason = case when reason is null or %(reason)s = 'keyCompromise' then %(reason)s else reason end
where directory = %(directory)s and serial = %(serial)s
returning revoked_at

-- name: next_crl
-- Seconds of the clock are ahead of a number that counts from one: an older database does not bring a number back.
with previous as (
    select made_at from knit_ca_crls where directory = %(directory)s
), next as (
    insert into knit_ca_crls as known (directory, number, made_at)
    values (%(directory)s, floor(extract(epoch from now()))::bigint, now())
    on conflict (directory) do update set number = greatest(known.number + 1, excluded.number), made_at = now()
    returning number, made_at
)
select next.number, next.made_at, i.serial, i.revoked_at, i.reason
from next
left join knit_ca_issued i on i.directory = %(directory)s and i.revoked_at is not null
  and i.not_after > coalesce((select made_at from previous), '-infinity')
order by i.revoked_at, i.serial
