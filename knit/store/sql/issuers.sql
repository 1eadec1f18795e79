-- name: recall
select directory from knit_issuers where name = %(name)s

-- name: all
select name, kind, directory, since from knit_issuers order by name

-- name: remember
-- Of two processes that are first at the same time, one is.
with first as (
    insert into knit_issuers (name, directory)
    values (%(name)s, %(directory)s)
    on conflict (name) do nothing
    returning directory
)
select directory from first
union all
select directory from knit_issuers where name = %(name)s

-- name: accept
with accepted as (
    insert into knit_issuers as known (name, directory)
    values (%(name)s, %(directory)s)
    on conflict (name) do update
    set since = case when known.directory = excluded.directory then known.since else now() end,
        directory = excluded.directory
)
select count(*) as elsewhere
from knit_certs c
join knit_issued i on i.cert_id = c.id
where c.enabled and c.issuer = %(name)s and i.directory <> %(directory)s
