-- name: load
-- A certificate that is not adopted has no names yet, so nothing is wanted of it.
select {spec of c as c_},
       {issued of i as i_},
       {attempt of a as a_},
       -- A wait that a CA asked for which is no issuer's any more, and failures there, count for nothing.
       case when s.retry_directory <> all(k.directories) then 0 else coalesce(s.failures, 0) end as failures,
       greatest(
           case when s.retry_directory <> all(k.directories) then null else s.retry_at end,
           case when a.directory <> all(k.directories) then null else a.retry_at end
       ) as retry_at,
       s.ari_at, coalesce(a.tries, 0) as tries, coalesce(a.error_class = 'BundleMismatch', false) as refused,
       i.cert_id is null or i.published_at is not null as published,
       (
           select lost.started_at + interval '7 days'
           from knit_attempts lost
           where lost.cert_id = %(id)s and lost.reason = 'published value is missing or damaged'
             and lost.serial is not null and lost.started_at > now() - interval '7 days'
           order by lost.started_at desc
           offset 1 limit 1
       ) as reorder_at,
       exists (select 1 from knit_challenges h where h.cert_id = %(id)s and h.removed_at is null) as leftovers,
       (
           select last.id from knit_attempts last
           where last.cert_id = %(id)s
           order by last.started_at desc
           limit 1
       ) as newest,
       coalesce(k.issuers, '{}') as issuers
from (select %(id)s::bigint as id) x
left join knit_certs c on c.id = x.id and c.names_key is not null
left join knit_issued i on i.cert_id = x.id
left join knit_attempts a on a.cert_id = x.id and a.ended_at is null
left join knit_schedule s on s.cert_id = x.id
cross join (
    select array_agg(directory) as directories, jsonb_object_agg(name, directory) as issuers from knit_issuers
) k

-- name: leftovers
select id, cert_id, provider, identifier, token, key_authorization, fqdn, zone, value, state
from knit_challenges
where cert_id = %(id)s and removed_at is null
order by id

-- name: begin
insert into knit_attempts
    (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, profile, preferred_chain,
     spki_sha256)
select %(cert_id)s, l.epoch, l.owner, 'planned', %(reason)s, %(names)s, %(provider)s, %(issuer)s, %(directory)s,
       %(key_type)s, %(profile)s, %(preferred_chain)s, %(spki_sha256)s
from knit_leases l
where l.name = %(lease)s and l.epoch = %(epoch)s
  and not exists (
      select 1 from knit_attempts other where other.cert_id = %(cert_id)s and other.id > coalesce(%(newest)s, 0)
  )
on conflict (cert_id) where ended_at is null do nothing
returning {attempt}

-- name: resume
-- The only statement that may raise an attempt's epoch: from here on, its former worker writes nothing more.
update knit_attempts a
set epoch = l.epoch, owner = l.owner, starts = a.starts + 1, retry_at = null, validating = null, updated_at = now()
from knit_leases l
where a.id = %(id)s and a.ended_at is null and a.epoch <= l.epoch and l.name = %(lease)s and l.epoch = %(epoch)s
returning {attempt of a}

-- name: key_staged
update knit_attempts a
set step = case when a.step = 'planned' then 'key_staged' else a.step end, spki_sha256 = %(spki_sha256)s,
    updated_at = now()
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: ordered
-- An order of the one that tried whether a pause is over says that it is.
with over as (
    delete from knit_pauses p
    using knit_attempts mine
    where mine.id = %(id)s and p.issuer = mine.issuer and p.directory = mine.directory and p.probing = mine.cert_id
)
update knit_attempts a
set step = 'ordered', order_url = %(order_url)s, updated_at = now()
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: finalizing
-- The records that are gone by now are gone, fence or no fence; and what has been proved did not fail.
with gone as (
    update knit_challenges set removed_at = now() where id = any(%(gone)s)
), proved as (
    update knit_validations v
    set tried = array(select t from unnest(v.tried) as t where t <> all(%(at)s::timestamptz[]))
    from knit_attempts mine
    where mine.id = %(id)s and v.directory = mine.directory and v.name = any(%(charged)s::text[])
)
update knit_attempts a
set step = 'finalizing', tries = case a.step when 'finalizing' then a.tries else 0 end, waits_for = null, validating = null,
    updated_at = now()
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: hand_over
-- This run has ended in order, so its start no longer counts; nothing more is written under its lease, which is free
-- from now on.
with handed as (
    update knit_attempts a
    set step = 'issued', starts = 0, serial = %(serial)s, ari_id = %(ari_id)s, not_before = %(not_before)s,
        not_after = %(not_after)s, sha256 = %(sha256)s, updated_at = now()
    from knit_leases l
    where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s
    returning a.id
)
update knit_leases set expires_at = now(), owner = ''
from handed
where name = %(lease)s and epoch = %(epoch)s

-- name: fail
with ended as (
    update knit_attempts a
    set step = 'failed', ended_at = now(), updated_at = now(), error_class = %(error_class)s, error = %(error)s,
        retry_at = %(retry_at)s
    from knit_leases l
    where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s
    returning a.id, a.cert_id, a.directory
), shown as (
    update knit_certs c set last_error = %(error)s from ended where c.id = ended.cert_id returning c.id, ended.directory
), scheduled as (
    insert into knit_schedule as s (cert_id, failures, retry_at, retry_directory)
    select id, 1, %(retry_at)s::timestamptz, directory from shown
    on conflict (cert_id) do update
    set failures = case when s.retry_directory <> excluded.retry_directory then 1 else s.failures + 1 end,
        retry_at = excluded.retry_at, retry_directory = excluded.retry_directory, check_at = '-infinity'
)
select id from ended

-- name: postpone
-- What did not fail (`shown` is false) goes on at once, wherever, whatever the clocks of two workers say.
with left_open as (
    update knit_attempts a
    set starts = 0, retry_at = %(retry_at)s, tries = a.tries + %(shown)s::int, updated_at = now(),
        error_class = %(error_class)s, error = %(error)s, waits_for = %(waits_for)s
    from knit_leases l
    where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s
    returning a.id, a.cert_id, a.directory
), shown as (
    update knit_certs c set last_error = %(error)s
    from left_open
    where c.id = left_open.cert_id and %(shown)s
    returning c.id, left_open.directory
), scheduled as (
    insert into knit_schedule as s (cert_id, failures, retry_directory)
    select id, 1, directory from shown where %(counts)s
    on conflict (cert_id) do update
    set failures = case when s.retry_directory <> excluded.retry_directory then 1 else s.failures + 1 end,
        retry_at = case when s.retry_directory <> excluded.retry_directory then null else s.retry_at end,
        retry_directory = excluded.retry_directory
)
select id from left_open

-- name: put_off
-- Nothing was begun: the CA asked all to wait.
with shown as (
    update knit_certs c
    set last_error = %(error)s
    from knit_leases l
    where c.id = %(cert_id)s and l.name = %(lease)s and l.epoch = %(epoch)s
    returning c.id
)
insert into knit_schedule (cert_id, retry_at, retry_directory)
select id, %(retry_at)s::timestamptz, %(directory)s from shown
on conflict (cert_id) do update set retry_at = excluded.retry_at, retry_directory = excluded.retry_directory

-- name: admit
-- The first to come once a pause is over may try whether it is, for a minute; all others wait for its answer.
with probe as (
    update knit_pauses
    set until = now() + interval '1 minute', probing = %(cert_id)s
    where issuer = %(issuer)s and directory = %(directory)s and until <= now()
    returning issuer
)
select greatest(until, now() + interval '1 minute') as until, said
from knit_pauses
where issuer = %(issuer)s and directory = %(directory)s and not exists (select 1 from probe)

-- name: refused
-- Many that are told so at once are one refusal; one that came when the pause was over, or tried whether it was, is
-- another.
insert into knit_pauses as p (issuer, directory, until, said)
values (%(issuer)s, %(directory)s, now() + interval '1 minute', %(said)s)
on conflict (issuer, directory) do update
set refusals = p.refusals + (p.until <= now() or p.probing is not distinct from %(cert_id)s)::int,
    probing = null, said = excluded.said
returning refusals

-- name: pause
update knit_pauses set until = greatest(until, %(until)s)
where issuer = %(issuer)s and directory = %(directory)s

-- name: validating
-- Counted before the CA is asked, so that a hundred at once cannot fail more often than one after the other.
with fence as (
    select a.id, a.directory
    from knit_attempts a
    join knit_leases l on l.name = %(lease)s and l.epoch = %(epoch)s
    where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null
), wanted as (
    select name, count(*)::int as proofs from unnest(%(names)s::text[]) as name group by name order by name
), charged as (
    insert into knit_validations as v (directory, name, tried)
    select fence.directory, wanted.name, array_fill(now(), array[wanted.proofs])
    from fence cross join wanted
    on conflict (directory, name) do update
    set tried = array(select t from unnest(v.tried) as t where t > now() - interval '1 hour') || excluded.tried
    where (select count(*) from unnest(v.tried) as t where t > now() - interval '1 hour')
          + cardinality(excluded.tried) <= %(most)s
    returning name
), asked as (
    update knit_attempts a
    set validating = %(names)s, updated_at = now()
    from fence
    where a.id = fence.id and not exists (select 1 from wanted where name not in (select name from charged))
)
select now() as at,
       (
           select max((select min(t) from unnest(v.tried) as t where t > now() - interval '1 hour'))
           from knit_validations v
           where v.directory = fence.directory and v.name in (select name from wanted)
             and v.name not in (select name from charged)
       ) + interval '1 hour' as until,
       (select min(name) from wanted where name not in (select name from charged)) as refused
from fence

-- name: refuse
-- Nothing was begun, so there is no attempt to end.
with shown as (
    update knit_certs set last_error = %(error)s where id = %(id)s returning id
)
insert into knit_schedule (cert_id, failures, retry_at)
select id, 1, %(retry_at)s::timestamptz from shown
on conflict (cert_id) do update
set failures = knit_schedule.failures + 1, retry_at = excluded.retry_at, retry_directory = null, check_at = '-infinity'

-- name: denied
-- Nobody's failure; what is shown goes with the next that succeeds. A row that somebody holds goes without.
update knit_certs set last_error = %(error)s
where id in (select id from knit_certs where id = %(id)s and names_key is not null for no key update skip locked)

-- name: abandon
update knit_attempts a
set step = 'abandoned', ended_at = now(), updated_at = now(), error_class = null, error = %(why)s
from knit_leases l
where a.id = %(id)s and a.epoch <= %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: lose
update knit_attempts a
set step = 'abandoned', ended_at = now(), updated_at = now(), error_class = %(error_class)s, error = %(error)s
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: losses
-- The texts are those of the indexes.
select (
           select lost.ended_at + interval '7 days'
           from knit_attempts lost
           where lost.error_class = 'OrderLost' and lost.cert_id = %(id)s and lost.ended_at > now() - interval '7 days'
           order by lost.ended_at desc
           offset %(before)s limit 1
       ) as until,
       (
           select count(*)
           from knit_attempts
           where reason = 'published value is missing or damaged' and started_at > now() - interval '1 hour'
       ) + (
           select count(*)
           from knit_attempts
           where error_class = 'OrderLost' and ended_at > now() - interval '1 hour'
       ) as begun,
       (select count(*) from knit_issued where published_at is not null) as published

-- name: plan_checks
-- Nothing is wrong with it now, so an error of a failure that was not counted is over. Rows that somebody's transaction
-- holds are left to the next pass.
with planned as (
    insert into knit_schedule (cert_id, check_at, policy)
    select c.id, planned.until, %(policy)s
    from unnest(%(ids)s::bigint[], %(untils)s::timestamptz[]) as planned (id, until)
    join knit_certs c on c.id = planned.id
    where c.seen is not distinct from c.wanted
    for key share of c skip locked
    on conflict (cert_id) do update set check_at = excluded.check_at, policy = excluded.policy
    returning cert_id, failures
)
update knit_certs c set last_error = null
where c.id in (
    select shown.id
    from knit_certs shown
    join planned on planned.cert_id = shown.id
    where planned.failures = 0 and shown.last_error is not null and shown.names_key is not null
    for no key update of shown skip locked
)

-- name: looked
-- What has changed since it was adopted is looked at again at once.
with planned as (
    insert into knit_schedule (cert_id, check_at, policy, looked_at)
    select c.id, case when c.seen is not distinct from c.wanted then %(until)s else '-infinity'::timestamptz end,
           %(policy)s, clock_timestamp()
    from knit_certs c
    where c.id = %(id)s
    for key share of c
    on conflict (cert_id) do update
    set check_at = excluded.check_at, policy = excluded.policy, looked_at = excluded.looked_at
    returning cert_id, failures
)
update knit_certs c set last_error = %(error)s
from planned
where c.id = planned.cert_id and planned.failures = 0 and %(said)s and c.last_error is distinct from %(error)s
  and c.names_key is not null

-- name: presenting
insert into knit_challenges (attempt_id, cert_id, provider, identifier, token, key_authorization, fqdn, zone, value)
select a.id, a.cert_id, a.provider, %(identifier)s, %(token)s, %(key_authorization)s, %(fqdn)s, %(zone)s, %(value)s
from knit_attempts a
join knit_leases l on l.name = %(lease)s and l.epoch = %(epoch)s
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null
on conflict (attempt_id, fqdn, value) do update set presented_at = null, removed_at = null, state = null
returning id

-- name: presented
update knit_challenges c
set presented_at = now(), state = %(state)s
from knit_leases l
where c.id = %(challenge)s and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: removed
-- Not fenced: a record that is gone is gone, whoever removed it.
update knit_challenges set removed_at = now() where id = any(%(gone)s)
