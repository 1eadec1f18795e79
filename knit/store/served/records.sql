-- name: known
select name, head, revision, refused from knit_nodes
union all
select name, head, 0, null from knit_nodes_forgotten f where not exists (select from knit_nodes n where n.name = f.name)

-- name: parts
select parts from knit_nodes where name = %(name)s and revision = %(revision)s

-- name: first
insert into knit_nodes (name, version, last_report, report_interval, head, parts)
values (%(name)s, %(version)s, now() - %(age)s, %(interval)s, %(head)s, %(parts)s)
on conflict (name) do nothing

-- name: another
update knit_nodes
set version = %(version)s, last_report = greatest(last_report, now() - %(age)s), report_interval = %(interval)s,
    head = %(head)s, parts = %(parts)s, revision = revision + 1, refused = null,
    silent = now() > greatest(last_report, now() - %(age)s) + 3 * %(interval)s::interval
where name = %(name)s and revision = %(revision)s

-- name: refused
insert into knit_nodes as n (name, head, refused)
values (%(name)s, %(head)s, null)
on conflict (name) do nothing

-- name: refuse
update knit_nodes
set head = coalesce(%(head)s, head), refused = %(why)s, revision = revision + 1
where name = %(name)s and revision = %(revision)s

-- name: gone
-- What these parts no longer have, and all of the parts that there are no longer.
delete from knit_served
where node = %(node)s and key <> all(%(keys)s) and (part = any(%(parts)s) or part <> all(%(kept)s))

-- name: put
-- Which certificate it is, the list says: a node may name any.
insert into knit_served as s
    (node, key, part, place, name, cert_id, generation, serial, fingerprint, not_after, published_at, written_at,
     reloaded_at, served_at, served_on, probed, waits, orphaned, done, failed_step, failed_error, failed_output,
     failed_at, next_try, rolled_back, failed_generation)
select %(node)s, g.key, g.part, g.place, g.name, i.cert_id, g.generation, g.serial, g.fingerprint, g.not_after,
       g.published_at, g.written_at, g.reloaded_at, g.served_at, g.served_on, g.probed, g.waits, g.orphaned, g.done,
       g.failed_step, g.failed_error, g.failed_output, g.failed_at, g.next_try, g.rolled_back, g.failed_generation
from jsonb_populate_recordset(null::knit_served, %(found)s) g
left join knit_issued i on i.valkey_key = g.key
on conflict (node, key) do update
set part = excluded.part, place = excluded.place, name = excluded.name, cert_id = excluded.cert_id,
    generation = excluded.generation, serial = excluded.serial, fingerprint = excluded.fingerprint,
    not_after = excluded.not_after, published_at = excluded.published_at, written_at = excluded.written_at,
    reloaded_at = excluded.reloaded_at, served_at = excluded.served_at, served_on = excluded.served_on,
    probed = excluded.probed, waits = excluded.waits, orphaned = excluded.orphaned, done = excluded.done,
    failed_step = excluded.failed_step, failed_error = excluded.failed_error,
    failed_output = excluded.failed_output, failed_at = excluded.failed_at, next_try = excluded.next_try,
    rolled_back = excluded.rolled_back, failed_generation = excluded.failed_generation
where (s.*) is distinct from (excluded.*)

-- name: reached
-- The first time of each step stays.
insert into knit_served_history as h
    (node, key, generation, cert_id, serial, fingerprint, published_at, written_at, reloaded_at, served_at, served_on,
     failed_at, failed_step, failed_error, rolled_back)
select %(node)s, g.key, g.generation, i.cert_id, g.serial, g.fingerprint, g.published_at, g.written_at, g.reloaded_at,
       g.served_at, g.served_on, g.failed_at, g.failed_step, g.failed_error, g.rolled_back
from jsonb_populate_recordset(null::knit_served_history, %(reached)s) g
left join knit_issued i on i.valkey_key = g.key
on conflict (node, key, generation) do update
set serial = coalesce(h.serial, excluded.serial), fingerprint = coalesce(h.fingerprint, excluded.fingerprint),
    published_at = coalesce(h.published_at, excluded.published_at),
    written_at = coalesce(h.written_at, excluded.written_at),
    reloaded_at = coalesce(h.reloaded_at, excluded.reloaded_at),
    served_at = coalesce(h.served_at, excluded.served_at), served_on = coalesce(h.served_on, excluded.served_on),
    failed_at = coalesce(h.failed_at, excluded.failed_at),
    failed_step = coalesce(excluded.failed_step, h.failed_step),
    failed_error = coalesce(excluded.failed_error, h.failed_error),
    rolled_back = h.rolled_back or excluded.rolled_back
where (h.serial, h.written_at, h.reloaded_at, h.served_at, h.failed_at) is distinct from
      (coalesce(h.serial, excluded.serial), coalesce(h.written_at, excluded.written_at),
       coalesce(h.reloaded_at, excluded.reloaded_at), coalesce(h.served_at, excluded.served_at),
       coalesce(h.failed_at, excluded.failed_at))
   or excluded.failed_error is distinct from h.failed_error and excluded.failed_error is not null

-- name: trim
-- The newest five generations of each stay.
delete from knit_served_history h
where h.node = %(node)s and h.key = any(%(keys)s) and h.generation <= (
    select o.generation
    from knit_served_history o
    where o.node = h.node and o.key = h.key
    order by o.generation desc
    offset 5 limit 1
)

-- name: silent
with collected as (
    insert into knit_marks as m (name, done_at)
    values ('reports collected', now())
    on conflict (name) do update set done_at = excluded.done_at
), forgotten as (
    delete from knit_nodes_forgotten where at < now() - interval '1 day'
), silent as (
    update knit_nodes set silent = true where not silent and now() > last_report + 3 * report_interval
)
delete from knit_served_history where recorded_at < now() - interval '400 days'

-- name: everywhere
insert into knit_served_everywhere as e (cert_id, generation, nodes)
select w.cert_id, w.published_generation, count(*)
from knit_served_now w
where w.cert_id in (select i.cert_id from knit_issued i where i.valkey_key = any(%(keys)s))
group by w.cert_id, w.published_generation
having bool_and(w.fine)
on conflict (cert_id) do update
set generation = excluded.generation, at = now(), nodes = excluded.nodes
where e.generation < excluded.generation
