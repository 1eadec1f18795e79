-- name: levels
select b.directory, b.limit_name, b.subject, b.full_at, b.held
from unnest(%(directories)s::text[], %(limits)s::text[], %(subjects)s::text[]) as k (directory, limit_name, subject)
join knit_budget b using (directory, limit_name, subject)
where b.held > 0 or b.full_at > now()

-- name: every
select directory, limit_name, subject, full_at, held from knit_budget where held > 0 or full_at > now()

-- name: exhausted
-- The CA has said that there is nothing before then.
insert into knit_budget as b (directory, limit_name, subject, full_at)
values (%(directory)s, %(limit)s, %(subject)s, %(full_at)s)
on conflict (directory, limit_name, subject) do update set full_at = greatest(b.full_at, excluded.full_at)

-- name: wait
-- Not a failure, and no error. What has changed since it was adopted is looked at again at once.
insert into knit_schedule as s (cert_id, check_at, policy, no_room)
select c.id, waits.until, %(policy)s, waits.why
from unnest(%(ids)s::bigint[], %(untils)s::timestamptz[], %(whys)s::text[]) as waits (id, until, why)
join knit_certs c on c.id = waits.id
where c.seen is not distinct from c.wanted
for key share of c skip locked
on conflict (cert_id) do update
set check_at = excluded.check_at, policy = excluded.policy, no_room = excluded.no_room

-- name: waiting
select s.cert_id, s.check_at, s.no_room
from knit_schedule s
where s.no_room is not null and s.check_at > %(at)s
  and (%(reasons)s::text[] is null or s.no_room = any(%(reasons)s))
  and not exists (select 1 from knit_attempts a where a.cert_id = s.cert_id and a.ended_at is null)
