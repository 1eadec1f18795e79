-- name: get
-- A CA that is called otherwise by now knows us by the account that the plain variables' issuer has there.
select directory, issuer, email, private_key, uri, registration, next_key, deactivated_at
from knit_accounts
where directory = %(directory)s and issuer in (%(issuer)s, %(plain)s)
order by issuer = %(issuer)s desc
limit 1

-- name: save
insert into knit_accounts (directory, issuer, email, private_key, uri, registration)
values (%(directory)s, %(issuer)s, %(email)s, %(private_key)s, %(uri)s, %(registration)s)
on conflict (directory, issuer) do update
set email = excluded.email, private_key = excluded.private_key, uri = excluded.uri, registration = excluded.registration

-- name: prepare_key
-- Whoever was first: a key that the CA may know already is not given up for another.
update knit_accounts
set next_key = coalesce(next_key, %(next_key)s)
where directory = %(directory)s and issuer = %(issuer)s and private_key = %(private_key)s
returning next_key

-- name: change_key
update knit_accounts
set private_key = next_key, next_key = null
where directory = %(directory)s and issuer = %(issuer)s and private_key = %(private_key)s and next_key = %(next_key)s

-- name: contact
update knit_accounts set email = %(email)s
where directory = %(directory)s and issuer = %(issuer)s and email is distinct from %(email)s

-- name: deactivate
update knit_accounts set deactivated_at = case when %(done)s then coalesce(deactivated_at, now()) end
where directory = %(directory)s and issuer = %(issuer)s and uri = %(uri)s

-- name: original
select coalesce(email, '') as email, private_key, coalesce(registration, '') as registration
from knit_acme_account
where private_key <> ''
limit 1

-- name: abandon
-- An order of another key's account is no use to it, even one that may be a certificate already.
with portion as (
    select id, cert_id
    from knit_attempts
    where ended_at is null and cert_id > %(after)s and directory = %(directory)s and issuer = %(issuer)s
      and step in ('planned', 'key_staged', 'ordered', 'finalizing')
    order by cert_id
    limit %(limit)s
), abandoned as (
    update knit_attempts a
    set step = 'abandoned', ended_at = now(), updated_at = now(), error_class = null, error = 'account forgotten'
    from portion
    where a.id = portion.id and a.ended_at is null
    returning a.id
)
select max(cert_id) as last, (select count(*) from abandoned) as changed from portion

-- name: forget
-- With the few orders that were begun since those before were abandoned.
with forgotten as (
    update knit_accounts
    set uri = null, registration = '', private_key = coalesce(%(key)s, private_key),
        next_key = case when %(key)s::text is null then next_key end, deactivated_at = null
    where directory = %(directory)s and issuer = %(issuer)s
    returning directory, issuer
)
update knit_attempts a
set step = 'abandoned', ended_at = now(), updated_at = now(), error_class = null, error = 'account forgotten'
from forgotten
where %(key)s::text is not null and a.directory = forgotten.directory and a.issuer = forgotten.issuer
  and a.ended_at is null and a.step in ('planned', 'key_staged', 'ordered', 'finalizing')

-- name: retry
with portion as (
    select id, cert_id
    from knit_attempts
    where ended_at is null and cert_id > %(after)s and directory = %(directory)s and issuer = %(issuer)s
    order by cert_id
    limit %(limit)s
), retried as (
    update knit_attempts a set retry_at = null from portion where a.id = portion.id and a.ended_at is null returning a.id
)
select max(cert_id) as last, (select count(*) from retried) as changed from portion

-- name: look_again
with portion as (
    select cert_id
    from knit_schedule
    where cert_id > %(after)s and retry_directory = %(directory)s and failures > 0
    order by cert_id
    limit %(limit)s
), due as (
    update knit_schedule s
    set check_at = '-infinity', retry_at = null, failures = 0
    from portion
    where s.cert_id = portion.cert_id
    returning s.cert_id
)
select max(cert_id) as last, (select count(*) from due) as changed from portion
