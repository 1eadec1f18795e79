-- What the scheduler asks every few seconds is answered by an index, however long the list is.
create index knit_schedule_retry_at on knit_schedule (retry_at) where retry_at is not null;
create index knit_schedule_failing on knit_schedule (cert_id) where failures > 0;
create index knit_attempts_retry_at on knit_attempts (retry_at) where ended_at is null and retry_at is not null;

-- When a pass last asked workers to look at this certificate: what still waits in the queue is not asked for again.
alter table knit_schedule add column asked_at timestamptz;

-- The worker processes that are there, and what is in their way.
create table knit_workers (
    name    text primary key,
    queues  text not null,
    trouble text,
    seen_at timestamptz not null default now()
);
