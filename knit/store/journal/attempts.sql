-- name: begin
-- With its tokens, or not at all: a trigger takes them, and undoes this where there are too few.
insert into knit_attempts
    (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, profile, preferred_chain,
     spki_sha256, replaces, budget, unspared)
select %(cert_id)s, l.epoch, l.owner, 'planned', %(reason)s, %(names)s, %(provider)s, %(issuer)s, %(directory)s,
       %(key_type)s, %(profile)s, %(preferred_chain)s, %(spki_sha256)s, %(replaces)s, %(budget)s,
       %(unspared)s
from knit_leases l
where l.name = %(lease)s and l.epoch = %(epoch)s
  and not exists (
      select 1 from knit_attempts other where other.cert_id = %(cert_id)s and other.id > coalesce(%(newest)s, 0)
  )
on conflict (cert_id) where ended_at is null do nothing
returning {attempt}

-- name: resume
-- The only statement that may raise an attempt's epoch: from here on, its former worker writes nothing more. What it
-- has given back it takes again, or is not gone on with: see `begin`. An order of which an older knit has not noted when
-- it runs out has a week from now.
update knit_attempts a
set epoch = l.epoch, owner = l.owner, starts = a.starts + 1, retry_at = null, validating = null, holding = true,
    order_expires = case when a.order_url is not null then coalesce(a.order_expires, now() + interval '7 days') end,
    updated_at = now()
from knit_leases l
where a.id = %(id)s and a.ended_at is null and a.epoch <= l.epoch and l.name = %(lease)s and l.epoch = %(epoch)s
returning {attempt of a}

-- name: key_staged
update knit_attempts a
set step = case when a.step = 'planned' then 'key_staged' else a.step end, spki_sha256 = %(spki_sha256)s,
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
-- What did not fail (`shown` is false) goes on at once, wherever, whatever the clocks of two workers say. What waits
-- leaves its tokens to others meanwhile.
with left_open as (
    update knit_attempts a
    set starts = 0, retry_at = %(retry_at)s, tries = a.tries + %(shown)s::int, updated_at = now(),
        error_class = %(error_class)s, error = %(error)s, waits_for = %(waits_for)s, holding = not %(shown)s
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
insert into knit_schedule (cert_id, retry_at, retry_directory, refusal, refusal_class)
select id, %(retry_at)s::timestamptz, %(directory)s, %(error)s, %(error_class)s from shown
on conflict (cert_id) do update
set retry_at = excluded.retry_at, retry_directory = excluded.retry_directory, refusal = excluded.refusal,
    refusal_class = excluded.refusal_class

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

-- name: count_refusal
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

-- name: refuse
-- Nothing was begun, so there is no attempt to end.
with shown as (
    update knit_certs set last_error = %(error)s where id = %(id)s returning id
)
insert into knit_schedule (cert_id, failures, retry_at, refusal, refusal_class)
select id, 1, %(retry_at)s::timestamptz, %(error)s, %(error_class)s from shown
on conflict (cert_id) do update
set failures = knit_schedule.failures + 1, retry_at = excluded.retry_at, retry_directory = null, check_at = '-infinity',
    refusal = excluded.refusal, refusal_class = excluded.refusal_class

-- name: denied
-- Nobody's failure; what is shown goes with the next that succeeds. A row that somebody holds goes without.
update knit_certs set last_error = %(error)s
where id in (select id from knit_certs where id = %(id)s and names_key is not null for no key update skip locked)

-- name: leave
update knit_attempts a
set step = 'abandoned', ended_at = now(), error = %(why)s
from knit_leases l
where a.id = %(id)s and a.epoch <= %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: standings
-- down_at is when the attempt was last written to: the end of its last try.
select d.directory,
       (
           select case when a.error_class = any(%(down)s) then a.updated_at end
           from knit_attempts a
           where a.cert_id = %(id)s and a.directory = d.directory and a.error_class is not null
             and a.started_at > coalesce(%(since)s, '-infinity'::timestamptz)
           order by a.started_at desc
           limit 1
       ) as down_at,
       (
           select max(p.until) from knit_pauses p where p.directory = d.directory and p.until > now()
       ) as waits_until
from unnest(%(directories)s::text[]) as d (directory)

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
           where reason = any(%(massed)s) and started_at > now() - interval '1 hour'
       ) + (
           select count(*)
           from knit_attempts
           where error_class = 'OrderLost' and ended_at > now() - interval '1 hour'
       ) as begun,
       (select count(*) from knit_certs where enabled) as enabled
