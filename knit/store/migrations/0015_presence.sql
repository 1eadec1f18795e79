-- `alone`: that worker takes its messages from its own memory, where nobody else's get to.
alter table knit_workers add column alone boolean not null default false;

-- When a worker last found that there is nothing to do for a certificate, having looked at its published value.
alter table knit_schedule add column looked_at timestamptz;
