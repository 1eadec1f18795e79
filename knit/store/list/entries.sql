-- name: entry
select id, coalesce(all_domains, domains) as domains, enabled, {wanted}
from knit_certs
where id = %(id)s

-- name: insert
insert into knit_certs (domains, names, names_key, {wanted})
values (%(domains)s, %(names)s, %(names_key)s, {wanted given})
returning id

-- name: update
update knit_certs
set domains = %(domains)s, names = %(names)s, names_key = %(names_key)s, enabled = %(enabled)s, {wanted set given}
where id = %(id)s
returning id
