-- Finalized orders that were lost, told by one word; and a lease that rests: nobody may have what it names before then.
update knit_attempts set error_class = 'OrderLost' where step = 'abandoned' and error = 'key lost';
create index knit_attempts_losses on knit_attempts (cert_id, ended_at) where error_class = 'OrderLost';
create index knit_attempts_losses_at on knit_attempts (ended_at) where error_class = 'OrderLost';

alter table knit_leases add column rests_until timestamptz;
