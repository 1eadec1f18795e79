-- What CAs count, as far as is known here. Each row is a token bucket, and `full_at` when it is full again: a charge moves
-- it on by the time in which one token comes back. `held` tokens are those of open attempts that have not cost them yet.
create table knit_budget (
    directory  text not null,
    limit_name text not null,
    subject    text not null,
    full_at    timestamptz not null,
    held       integer not null default 0,
    primary key (directory, limit_name, subject)
);

-- What an attempt costs: [{"limit_name": .., "subject": .., "every": interval, "most": tokens, "by_order": bool}]. `most`
-- is how many may be out with this one. `by_order`: spent when the CA has given the order, else when it is finalized.
alter table knit_attempts add column budget jsonb not null default '[]';

-- Why a certificate that is due waits until check_at: there is no room for its order in a CA's limits.
alter table knit_schedule add column no_room text;
create index knit_schedule_waiting on knit_schedule (check_at) where no_room is not null;

-- What was begun with in the last hour, for whatever reason.
create index knit_attempts_started on knit_attempts (started_at);

-- With its owner's rights, for whoever writes attempts may have none on other tables; in the schema that it was made in.
-- Buckets are always taken in one order, so that no two attempts wait for each other. Whoever finds a bucket too empty
-- undoes the whole statement: an attempt begins with all of its tokens, or not at all.
do $do$
begin
    execute format($make$
create or replace function knit_charge() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    cost  record;
    until timestamptz;
begin
    for cost in
        select *
        from jsonb_to_recordset(new.budget) as c (limit_name text, subject text, every interval, most integer)
        order by limit_name, subject
    loop
        insert into knit_budget as b (directory, limit_name, subject, full_at, held)
        values (new.directory, cost.limit_name, cost.subject, now(), 1)
        on conflict (directory, limit_name, subject) do update set held = b.held + 1
        where greatest(b.full_at, now()) + cost.every * (b.held + 1) <= now() + cost.every * cost.most;
        if not found then
            select greatest(b.full_at, now()) + cost.every * (b.held + 1 - cost.most) into until
            from knit_budget b
            where (b.directory, b.limit_name, b.subject) = (new.directory, cost.limit_name, cost.subject);
            raise exception 'over budget' using errcode = 'KN001', detail = jsonb_build_object(
                'limit', cost.limit_name, 'subject', cost.subject, 'until', until
            )::text;
        end if;
    end loop;
    return null;
end
$body$
    $make$, current_schema());
    execute format($make$
create or replace function knit_spend() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    early constant text[] := array['planned', 'key_staged', 'ordered'];
    open  boolean := tg_op = 'UPDATE' and new.ended_at is null;
    cost  record;
begin
    for cost in
        select c.limit_name, c.subject, c.every,
               case when c.by_order then old.order_url is null else old.step = any(early) end as unspent,
               tg_op = 'UPDATE' and case
                   when c.by_order then new.order_url is distinct from old.order_url
                   else old.step = any(early) and open and new.step <> all(early)
               end as spends
        from jsonb_to_recordset(old.budget)
             as c (limit_name text, subject text, every interval, by_order boolean)
        order by c.limit_name, c.subject
    loop
        if cost.spends or (cost.unspent and not open) then
            update knit_budget b
            set held = b.held - case when cost.unspent then least(b.held, 1) else 0 end,
                full_at = case when cost.spends then greatest(b.full_at, now()) + cost.every else b.full_at end
            where (b.directory, b.limit_name, b.subject) = (old.directory, cost.limit_name, cost.subject);
        end if;
    end loop;
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_charge after insert on knit_attempts for each row
    when (new.budget <> '[]') execute function knit_charge();
create trigger knit_spend after update on knit_attempts for each row
    when (old.budget <> '[]' and old.ended_at is null
          and (new.order_url is distinct from old.order_url or new.step is distinct from old.step
               or new.ended_at is not null))
    execute function knit_spend();
create trigger knit_spend_deleted after delete on knit_attempts for each row
    when (old.budget <> '[]' and old.ended_at is null) execute function knit_spend();
