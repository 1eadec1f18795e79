-- No lease is given for as long as an hour: one that lasts longer was made so by a hand, or by a clock that has been set
-- back since, and binds nobody.
create or replace view knit_leases_live as
select l.name, l.owner, l.epoch
from knit_leases l
where l.owner <> '' and l.expires_at > now() and l.expires_at < now() + interval '1 hour'
  and (
      l.process is null
      or exists (
          select 1 from knit_leases p
          where p.name = l.process and p.expires_at > now() and p.expires_at < now() + interval '1 hour'
      )
  );

-- An epoch only grows, by one.
update knit_leases set epoch = 1000000000000 where epoch > 1000000000000 and owner = '';
alter table knit_leases add constraint knit_leases_epoch_grows check (epoch between 1 and 4000000000000000000) not valid;
