-- name: recall
select directory, roots from knit_issuers where name = %(name)s

-- name: all
select name, kind, directory, since, roots from knit_issuers order by name

-- name: remember
-- Of two that are first at the same time, one is; the other updates nothing, to be given the row that it cannot see.
insert into knit_issuers as known (name, kind, directory, roots)
values (%(name)s, %(kind)s, %(directory)s, %(roots)s)
on conflict (name) do update
set roots = case when known.directory = excluded.directory then coalesce(known.roots, excluded.roots) else known.roots end
returning directory, roots

-- name: correct
update knit_issuers k
set directory = %(directory)s, roots = %(roots)s, since = now()
where k.name = %(name)s
  and (k.directory <> %(directory)s or (%(roots)s::text is not null and k.roots <> %(roots)s))
  and exists (
      select 1 from knit_attempts a where a.issuer = k.name and a.directory = k.directory and a.error is not null
  )
  and not exists (
      select 1 from knit_accounts a where a.issuer = k.name and a.directory = k.directory and a.uri is not null
  )
  and not exists (select 1 from knit_issued i where i.issuer = k.name and i.directory = k.directory)
returning k.directory

-- name: accept
with accepted as (
    insert into knit_issuers as known (name, kind, directory, roots)
    values (%(name)s, %(kind)s, %(directory)s, %(roots)s)
    on conflict (name) do update
    set since = case when known.directory = excluded.directory then known.since else now() end,
        directory = excluded.directory, kind = excluded.kind, roots = excluded.roots
)
select count(*) as elsewhere
from knit_certs c
join knit_issued i on i.cert_id = c.id
where c.enabled and i.issuer = %(name)s and i.directory <> %(directory)s
