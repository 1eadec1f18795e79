-- Where each issuer's certificates come from, from its first use on. In a database that an earlier knit has used, that
-- is where the newest certificate came from, else the last attempt, else the last account.
create table knit_issuers (
    name      text primary key,
    kind      text not null default 'acme',
    directory text not null,
    since     timestamptz not null default now()
);
insert into knit_issuers (name, directory)
select distinct on (issuer) issuer, directory
from (
    select issuer, directory, 1 as rank, issued_at as at from knit_issued
    union all
    select issuer, directory, 2, started_at from knit_attempts
    union all
    select issuer, directory, 3, created_at from knit_accounts
) used
order by issuer, rank, at desc;
