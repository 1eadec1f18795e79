-- name: unreplaced
-- It is counted from now on, and has no tokens yet: a process that dies here leaves an attempt that must take them.
update knit_attempts a
set unreplaced = a.replaces, unreplaced_why = %(why)s, replaces = null, updated_at = now(),
    budget = case when a.budget = '[]' then a.unspared else a.budget end,
    holding = a.holding and (a.budget <> '[]' or a.unspared = '[]')
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s
returning a.holding

-- name: hold
update knit_attempts a
set holding = true, updated_at = now()
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: unordered
-- It has no tokens for another order yet: a process that dies here leaves an attempt that must take them.
update knit_attempts a
set step = 'key_staged', order_url = null, order_expires = null, holding = false, updated_at = now()
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
set step = 'ordered', order_url = %(order_url)s, updated_at = now(),
    order_expires = case
        when %(expires)s::timestamptz between now() and now() + interval '90 days' then %(expires)s
        else now() + interval '7 days'
    end
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

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
    set tried = array(select t from unnest(v.tried) as t where t > now() - %(within)s::interval) || excluded.tried
    where (select count(*) from unnest(v.tried) as t where t > now() - %(within)s::interval)
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
           select max((select min(t) from unnest(v.tried) as t where t > now() - %(within)s::interval))
           from knit_validations v
           where v.directory = fence.directory and v.name in (select name from wanted)
             and v.name not in (select name from charged)
       ) + %(within)s::interval as until,
       (select min(name) from wanted where name not in (select name from charged)) as refused
from fence

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
set step = 'finalizing', tries = case a.step when 'finalizing' then a.tries else 0 end, waits_for = null,
    validating = null, updated_at = now()
from knit_leases l
where a.id = %(id)s and a.epoch = %(epoch)s and a.ended_at is null and l.name = %(lease)s and l.epoch = %(epoch)s

-- name: shares_proofs
select 1
from knit_attempts mine
join knit_attempts other on other.ended_at is null and other.step <> 'issued' and other.id <> mine.id
    and other.directory = mine.directory and other.names && mine.names
where mine.id = %(id)s
limit 1
