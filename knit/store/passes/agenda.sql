-- name: look
-- The first planned instant after the last message; each part is the first entry of an index.
select now() as at,
       (select done_at from knit_marks where name = 'list changed') as changed_at,
       (select done_at from knit_marks where name = 'pass done') as passed_at,
       least(
           (select min(check_at) from knit_schedule where check_at > %(since)s),
           (select min(retry_at) from knit_schedule where retry_at > %(since)s),
           (select min(retry_at) from knit_attempts where ended_at is null and retry_at > %(since)s)
       ) as planned_at,
       exists (select 1 from knit_ari where next_poll_at <= now()) as polls,
       exists (select 1 from knit_revocations_due) as revokes,
       not exists (
           select 1 from knit_marks where name = 'reports collected' and done_at > now() - interval '50 seconds'
       ) as collects

-- name: announce
insert into knit_marks as m (name, done_at)
values ('next pass', now() + %(interval)s)
on conflict (name) do update set done_at = excluded.done_at

-- name: change
insert into knit_marks as m (name, done_at)
values ('list changed', now())
on conflict (name) do update set done_at = excluded.done_at

-- name: confirm_mass
insert into knit_marks as m (name, done_at)
values ('mass renewal confirmed', now())
on conflict (name) do update set done_at = excluded.done_at

-- name: look_at_held_back
with portion as (
    select id
    from knit_certs
    where id > %(after)s and enabled and last_error like '%%: its renewal is held back until %%'
    order by id
    limit %(limit)s
), freed as (
    update knit_schedule s set check_at = '-infinity'
    from portion
    where s.cert_id = portion.id
    returning s.cert_id
)
select max(id) as last, (select count(*) from freed) as changed from portion

-- name: scheduled
select exists (select 1 from knit_leases_live where name = 'scheduler') as scheduled
