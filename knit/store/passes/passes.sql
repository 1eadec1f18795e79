-- name: unrecorded
select {spec of c}
from knit_schedule s
join knit_certs c on c.id = s.cert_id
where s.check_at <= now() and c.enabled and c.names_key is not null and c.id > %(after)s
  and not exists (select 1 from knit_issued i where i.cert_id = c.id)
  and not exists (select 1 from knit_attempts a where a.cert_id = c.id and a.ended_at is null)
order by c.id
limit %(limit)s

-- name: record_adopted
with recorded as (
    insert into knit_issued as i
        ({issued}, published_at, spki_sha256)
    select {issued given}, now(), %(spki_sha256)s
    from knit_certs
    where id = %(cert_id)s
    on conflict (cert_id) do update
    set {issued set from excluded but generation}, generation = greatest(i.generation, excluded.generation),
        published_at = excluded.published_at, attempt_id = null, spki_sha256 = excluded.spki_sha256,
        key_since = case when i.spki_sha256 = excluded.spki_sha256 then i.key_since end
    where i.sha256 = %(before)s and i.valkey_key = excluded.valkey_key
    returning cert_id, valkey_key, cert_path, key_path
), shown as (
    update knit_certs c set not_after = %(not_after)s
    from recorded
    where c.id = recorded.cert_id and c.not_after is distinct from %(not_after)s
)
update knit_schedule s
set check_at = '-infinity',
    moving = (c.valkey_key, c.cert_path, c.key_path)
             is distinct from (recorded.valkey_key, recorded.cert_path, recorded.key_path)
from recorded
join knit_certs c on c.id = recorded.cert_id
where s.cert_id = c.id

-- name: published_keys
select string_agg(knit_line(i.valkey_key), E'\n') as keys
from knit_issued i
where i.published_at is not null
  and i.cert_id not in (select id from knit_certs where not enabled)

-- name: due
-- What nothing was ever issued, tried or asked for comes with its names: whatever the policy says, it is due. After an
-- import these are many, so they are found once. Each other branch is an index that is empty, or nearly so, while
-- nothing is due: a pass costs what has changed.
with new as materialized (
    select c.id, c.names_key, c.issuer, coalesce(s.asked_at > now() - interval '1 day', false) as asked
    from knit_schedule s
    join knit_certs c on c.id = s.cert_id
    where s.check_at <= coalesce(%(at)s, now()) and s.failures = 0 and s.retry_at is null
      and c.enabled and c.names_key is not null and c.requested_at is null
      and not exists (select 1 from knit_issued i where i.cert_id = c.id)
      and not exists (select 1 from knit_attempts a where a.cert_id = c.id)
      and c.id not in (select cert_id from knit_challenges where removed_at is null)
      and 'cert:' || c.id not in (select name from knit_leases_live)
), due as (
    (
        select cert_id from knit_schedule where check_at <= coalesce(%(at)s, now())
        union all select cert_id from knit_schedule where policy < %(policy)s
        union all select cert_id from knit_schedule where policy > %(policy)s
        union all select cert_id from knit_attempts where ended_at is null
    )
    except select id from new
), known as (
    select due.cert_id
    from due
    left join knit_schedule s on s.cert_id = due.cert_id
    left join knit_attempts a on a.cert_id = due.cert_id and a.ended_at is null
    cross join (select array_agg(directory) as directories from knit_issuers) k
    where (
        s.retry_at is null or s.retry_at <= coalesce(%(at)s, now()) or s.retry_directory <> all(k.directories)
    ) and (
        a.retry_at is null or a.retry_at <= coalesce(%(at)s, now()) or a.directory <> all(k.directories)
    )
    union
    select cert_id from knit_issued where valkey_key = any(%(unpublished)s)
    union
    select cert_id from knit_challenges where removed_at is null
)
select id, names_key, issuer, asked from new
union all
select cert_id, null, null, false from known

-- name: published_hashes
select valkey_key, sha256, generation, not_after from knit_issued where published_at is not null

-- name: tell_expiry
-- Told of each certificate once, by whichever process is first.
update knit_issued i
set expiry_told = told.lack || ' ' || i.sha256
from unnest(%(ids)s::bigint[], %(lacks)s::text[]) as told (id, lack)
where i.cert_id = told.id and i.expiry_told is distinct from told.lack || ' ' || i.sha256
returning i.cert_id

-- name: pace
-- The text is that of an index.
select (select count(*) from knit_certs where enabled) as enabled,
       (
           select count(distinct cert_id)
           from knit_attempts
           where started_at > %(at)s - interval '1 hour' and reason = any(%(reasons)s)
       ) + (
           select count(*) from knit_attempts where error_class = 'OrderLost' and ended_at > %(at)s - interval '1 hour'
       ) as begun,
       exists (
           select 1 from knit_marks where name = %(mark)s and done_at > %(at)s - %(confirmed)s::interval
       ) as confirmed

-- name: candidates
select {spec of c},
       {state columns},
       i.cert_id is null or (i.published_at is not null and i.valkey_key <> all(%(unpublished)s)) as published,
       coalesce(
           o.asked_at > greatest(now() - interval '1 day', c.requested_at, i.published_at, o.retry_at, a.updated_at),
           false
       ) as asked
from knit_certs c
cross join lateral (select c.id) x
left join knit_schedule o on o.cert_id = x.id
{state tables}
where c.id = any(%(ids)s) and c.enabled and c.names_key is not null
  and not exists (select 1 from knit_leases_live l where l.name = 'cert:' || x.id)
order by c.id

-- name: unread
select id from knit_certs where seen is distinct from wanted and enabled order by id

-- name: resting
select c.id as cert_id, c.names_key, nullif(greatest(s.check_at, s.retry_at), '-infinity') as until,
       coalesce(case when s.check_at > %(at)s then s.no_room end, c.last_error) as why
from knit_certs c
left join knit_schedule s on s.cert_id = c.id
where c.enabled and c.names_key is not null
order by c.id

-- name: asked
update knit_schedule set asked_at = now() where cert_id = any(%(ids)s)

-- name: passed
-- The next pass comes when it is announced or planned, whichever is sooner, while there is a scheduler.
with done as (
    insert into knit_marks as m (name, done_at)
    values ('pass done', now())
    on conflict (name) do update set done_at = excluded.done_at
)
select now() as at,
       (select count(*) from knit_certs where enabled) as certificates,
       (
           select count(*)
           from knit_schedule s
           join knit_certs c on c.id = s.cert_id
           where s.failures > 0 and c.enabled
       ) + (
           -- What nobody tries again.
           select count(*)
           from knit_certs c
           left join knit_schedule s on s.cert_id = c.id
           where c.issuer = 'imported' and c.enabled and c.last_error is not null and coalesce(s.failures, 0) = 0
       ) as failing,
       (
           select least(
               greatest(m.done_at, now()),
               (select min(check_at) from knit_schedule where check_at > now()),
               (select min(retry_at) from knit_schedule where retry_at > now()),
               (select min(retry_at) from knit_attempts where ended_at is null and retry_at > now())
           )
           from knit_marks m
           where m.name = 'next pass'
             and exists (
                 select 1 from knit_leases_live l where l.name = 'scheduler'
             )
       ) as next_pass

-- name: orphaned_leftovers
-- Also what is under way for a certificate that is no longer wanted: nobody else would end it.
with left_behind as (
    select cert_id, false as open from knit_challenges where removed_at is null
    union
    select cert_id, true from knit_attempts where ended_at is null
)
select distinct h.cert_id
from left_behind h
left join knit_certs c on c.id = h.cert_id
where (c.id is null or not c.enabled or c.names_key is null and not h.open)
  and not exists (select 1 from knit_leases_live l where l.name = 'cert:' || h.cert_id)
order by h.cert_id

-- name: take_mark
insert into knit_marks as m (name, done_at)
values (%(name)s, now())
on conflict (name) do update set done_at = now()
where %(force)s or m.done_at <= now() - interval '1 day'
returning name

-- name: ended
-- A few days, for what was put off; nothing of earlier ones is left.
select id from knit_attempts where ended_at > now() - interval '4 days'

-- name: tidy_own_ca
-- Of certificates that are on the list and of those that are no more. What is revoked has been on a list after its end.
with over as (
    select directory, serial
    from knit_ca_issued
    where not_after < now() - case when revoked_at is null then interval '7 days' else interval '1 year' end
    limit %(limit)s
)
delete from knit_ca_issued i using over where (i.directory, i.serial) = (over.directory, over.serial)

-- name: tidy
-- A lease row's epoch must only grow while anybody may still write under it: 90 days is long past that.
with attempts as (
    delete from knit_attempts a
    where a.ended_at < now() - interval '90 days'
      and not exists (select 1 from knit_challenges h where h.attempt_id = a.id and h.removed_at is null)
), validations as (
    delete from knit_validations v
    where not exists (select 1 from unnest(v.tried) as t where t > now() - interval '366 days')
), pauses as (
    delete from knit_pauses where until < now() - interval '7 days'
), buckets as (
    delete from knit_budget where held <= 0 and full_at < now() - interval '1 day'
), events as (
    delete from knit_events where at < now() - interval '400 days'
), revocations as (
    delete from knit_revocations where ended_at < now() - interval '400 days'
)
delete from knit_leases
where expires_at < now() - interval '90 days' or (process is null and name like 'process:%%' and expires_at < now() - interval '1 day')
