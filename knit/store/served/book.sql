-- name: nodes
select n.name, n.version, n.first_seen, n.last_report, n.report_interval,
       now() > n.last_report + 3 * n.report_interval as silent, n.refused,
       coalesce(w.certificates, 0) as certificates, coalesce(w.fine, 0) as fine, coalesce(s.orphaned, 0) as orphaned
from knit_nodes n
left join (
    select node, count(*) as certificates, count(*) filter (where fine) as fine from knit_served_now group by node
) w on w.node = n.name
left join (select node, count(*) as orphaned from knit_served where orphaned group by node) s on s.node = n.name
order by n.name

-- name: forget
with gone as (
    delete from knit_nodes where name = %(name)s returning name, head
)
insert into knit_nodes_forgotten as f (name, head)
select name, head from gone
on conflict (name) do update set head = excluded.head, at = now()

-- name: spreads
select c.id as cert_id, c.domains as names, coalesce(i.valkey_key, c.valkey_key) as key, i.issued_at, i.published_at,
       i.generation, i.serial, i.not_after, coalesce(w.nodes, 0) as nodes, coalesce(w.fine, 0) as fine, w.since
from knit_certs c
left join knit_issued i on i.cert_id = c.id
left join (
    select cert_id, count(*) as nodes, count(*) filter (where fine) as fine, max(reached_at) filter (where fine) as since
    from knit_served_now
    where cert_id = %(cert_id)s or %(cert_id)s::bigint is null
    group by cert_id
) w on w.cert_id = c.id
where c.enabled and (c.id = %(cert_id)s or %(cert_id)s::bigint is null)
order by c.id

-- name: on_nodes
select w.cert_id as wanted_by, w.silent, s.*
from knit_served_now w
join knit_served s on s.node = w.node and s.key = w.key
where w.cert_id = any(%(ids)s) and (not w.fine or %(all)s)
order by w.cert_id, w.node
limit %(most)s

-- name: history
select h.node, h.generation, h.serial, h.fingerprint, h.published_at, h.written_at, h.reloaded_at, h.served_at,
       h.served_on, h.failed_at, h.failed_step, h.failed_error, h.rolled_back
from knit_served_history h
where h.cert_id = %(cert_id)s
order by h.generation desc, h.node
limit %(most)s
