-- A lease hangs on the lease of the process that holds it, which is a row of its own, short and often refreshed: when a
-- process dies, all that it held is free within seconds. Null: a lease that stands for itself.
alter table knit_leases
    add column process text,
    add column held_at timestamptz;

create view knit_leases_live as
select l.name, l.owner, l.epoch
from knit_leases l
where l.owner <> '' and l.expires_at > now()
  and (
      l.process is null
      or exists (select 1 from knit_leases p where p.name = l.process and p.expires_at > now())
  );
