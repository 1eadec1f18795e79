-- name: take
-- The same owner gets it again, so that an answer lost on the way can be asked for twice.
insert into knit_leases as l (name, owner, epoch, expires_at)
values (%(name)s, %(owner)s, 1, now() + %(seconds)s * interval '1 second')
on conflict (name) do update
set owner = excluded.owner, epoch = l.epoch + 1, expires_at = excluded.expires_at
where l.expires_at <= now() or l.owner = excluded.owner
returning epoch, now() as at

-- name: refresh
-- One that was given back while this was on its way stays free.
update knit_leases l
set expires_at = now() + %(seconds)s * interval '1 second'
from unnest(%(names)s::text[], %(epochs)s::bigint[]) as held (name, epoch)
where l.name = held.name and l.epoch = held.epoch and l.owner <> ''
returning l.name, l.epoch

-- name: release
-- Free from now on. The time tells how long nobody has had it: only long unused rows are tidied away.
update knit_leases set expires_at = now(), owner = '' where name = %(name)s and epoch = %(epoch)s
