-- What knit did not order is recorded under another directory than that of the CA that is asked to revoke it. Of one
-- certificate of the list, serial numbers are enough to tell what is published from what is to be revoked.
create or replace view knit_revocations_waiting as
select r.id
from knit_revocations r
join knit_certs c on c.id = r.cert_id and c.enabled
where r.state = 'wanted' and r.replace
  and not exists (
      select 1
      from knit_issued i
      where i.cert_id = r.cert_id and i.published_at is not null and i.serial <> r.serial
  );
