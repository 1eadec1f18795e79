-- Whether one revocation is due is told without a look at all that wait; and which are, by one look at those.
create or replace view knit_revocations_due as
select r.id
from knit_revocations r
where r.state = 'wanted' and r.copy = 'wanted'
union all
select r.id
from knit_revocations r
where r.state = 'wanted' and r.copy <> 'wanted' and r.next_try_at <= now()
  and not exists (select from knit_revocations_waiting w where w.id = r.id)
union all
select r.id
from knit_revocations r
where r.state <> 'wanted' and r.copy = 'kept' and (r.state = 'revoked' or r.ended_at < now() - interval '7 days');
