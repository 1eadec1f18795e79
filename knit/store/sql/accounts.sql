-- name: get
select directory, issuer, email, private_key, uri, registration
from knit_accounts
where directory = %(directory)s and issuer = %(issuer)s

-- name: save
insert into knit_accounts (directory, issuer, email, private_key, uri, registration)
values (%(directory)s, %(issuer)s, %(email)s, %(private_key)s, %(uri)s, %(registration)s)
on conflict (directory, issuer) do update
set email = excluded.email, private_key = excluded.private_key, uri = excluded.uri, registration = excluded.registration

-- name: original
select coalesce(email, '') as email, private_key, coalesce(registration, '') as registration
from knit_acme_account
where private_key <> ''
limit 1
