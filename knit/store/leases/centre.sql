-- name: present
with gone as (
    delete from knit_workers where seen_at < now() - interval '1 day'
)
insert into knit_workers (name, queues, alone, trouble)
values (%(name)s, %(queues)s, %(alone)s, %(trouble)s)
on conflict (name) do update
set queues = excluded.queues, alone = excluded.alone, trouble = excluded.trouble, seen_at = now()

-- name: part
delete from knit_workers where name = %(name)s

-- name: roll
select count(*) filter (where not alone and 'renew' = any(string_to_array(queues, ','))) as renewing,
       count(*) filter (where not alone and 'control' = any(string_to_array(queues, ','))) as publishing,
       coalesce(bool_or(alone), false) as alone,
       exists (select 1 from knit_leases_live where name = 'scheduler') as scheduled,
       min(trouble) as trouble
from knit_workers
where seen_at > now() - %(present)s * interval '1 second'

-- name: seen
-- One certificate, or all with an open attempt.
select c.id, coalesce(c.all_domains, c.domains) as domains, a.step, a.error, a.error_class,
       nullif(a.retry_at, 'infinity') as retry_at,
       exists (select 1 from knit_leases_live l where l.name = 'cert:' || c.id) as held,
       array(
           select distinct h.identifier
           from knit_challenges h
           where h.attempt_id = a.id and h.removed_at is null
           order by h.identifier
       ) as proving,
       a.validating is not null as validating,
       p.until as paused_until, p.said, s.looked_at
from knit_certs c
left join knit_attempts a on a.cert_id = c.id and a.ended_at is null
left join knit_schedule s on s.cert_id = c.id
left join lateral (
    select until, said
    from knit_pauses
    where directory = coalesce(a.directory, s.retry_directory) and until > now()
    order by until desc
    limit 1
) p on true
where c.id = %(id)s or (%(id)s::bigint is null and a.id is not null)
order by c.id
