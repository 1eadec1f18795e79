-- name: take
-- The same owner gets it again, so that an answer lost on the way can be asked for twice. Whether the holder's process
-- lives is seen as it was when this statement began: one who has taken the lease since then is left alone. A certificate
-- that does not exist, and has left nothing behind, has no lease. Where the row is gone (tidied away, or not restored), it
-- goes on above the epoch of an attempt that is open. A row that lasts longer than any lease binds nobody: see the view
-- knit_leases_live.
insert into knit_leases as l (name, owner, epoch, expires_at, process, held_at)
select %(name)s, %(owner)s,
       1 + coalesce((select max(epoch) from knit_attempts where cert_id = %(cert)s and ended_at is null), 0),
       now() + %(seconds)s * interval '1 second', %(process)s, now()
where %(cert)s::bigint is null
   or exists (select 1 from knit_certs where id = %(cert)s)
   or exists (select 1 from knit_challenges where cert_id = %(cert)s and removed_at is null)
   or exists (select 1 from knit_attempts where cert_id = %(cert)s and ended_at is null)
on conflict (name) do update
set owner = excluded.owner, epoch = l.epoch + 1, expires_at = excluded.expires_at, process = excluded.process,
    held_at = excluded.held_at, rests_until = null
where (
    l.owner = excluded.owner or l.expires_at <= now() or l.expires_at > now() + interval '1 hour'
    or (
        l.held_at <= now()
        and not exists (
            select 1 from knit_leases p
            where p.name = l.process and p.expires_at > now() and p.expires_at < now() + interval '1 hour'
        )
    )
) and coalesce(l.rests_until <= now() or l.rests_until > now() + interval '1 day', true)
returning epoch, now() as at

-- name: refresh
-- The process's own lease, and those that it holds where half of their time is over; gives those it still has. One that
-- was given back while this was on its way stays free.
with held as (
    select * from unnest(%(names)s::text[], %(epochs)s::bigint[]) as held (name, epoch)
), alive as (
    insert into knit_leases as p (name, owner, epoch, expires_at)
    values (%(process)s, %(process)s, 1, now() + %(lifetime)s * interval '1 second')
    on conflict (name) do update set expires_at = excluded.expires_at
), extended as (
    update knit_leases l
    set expires_at = now() + %(seconds)s * interval '1 second'
    from held
    where l.name = held.name and l.epoch = held.epoch and l.owner <> ''
      and l.expires_at not between now() + %(seconds)s / 2 * interval '1 second'
                           and now() + %(seconds)s * interval '1 second'
)
select l.name, l.epoch
from knit_leases l
join held on l.name = held.name and l.epoch = held.epoch
where l.owner <> ''

-- name: release
-- Free from now on. The time tells how long nobody has had it: only long unused rows are tidied away.
update knit_leases
set expires_at = now(), owner = '',
    rests_until = case when %(rest)s::float8 > 0 then now() + %(rest)s::float8 * interval '1 second' end
where name = %(name)s and epoch = %(epoch)s

-- name: give_back
-- What an outage kept from being given back. The worker has not died, so its start in the attempt does not count.
with owed as (
    select * from unnest(%(names)s::text[], %(owners)s::text[]) as owed (name, owner)
), alive as (
    update knit_attempts a
    set starts = 0
    from owed
    where a.cert_id = case when owed.name like 'cert:%%' then substr(owed.name, 6)::bigint end
      and a.ended_at is null and a.owner = owed.owner
)
update knit_leases l set expires_at = now(), owner = ''
from owed
where l.name = owed.name and l.owner = owed.owner

-- name: part
delete from knit_leases where name = %(process)s

-- name: vacant
-- Any of them, for those who look at the same time.
select name
from (select %(kind)s || number as name from generate_series(1, %(most)s::integer) as number) as places
where not exists (select 1 from knit_leases_live l where l.name = places.name)
order by random()
limit 1
