-- When an attempt's order runs out by the CA's word: it cannot be finalized after that.
alter table knit_attempts add column order_expires timestamptz;
