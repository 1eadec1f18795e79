-- name: since
select id, at, kind, severity, cert_id, attempt_id, actor, detail
from knit_events
where id > %(after)s and (%(cert_id)s::bigint is null or cert_id = %(cert_id)s)
order by id
limit %(most)s

-- name: newest
select coalesce(max(id), 0) as id from knit_events
