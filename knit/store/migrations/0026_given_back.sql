-- Whether an open attempt holds what it has not spent: one that is put off gives it back, and takes it again when it is
-- gone on with. `unspared`, as `budget`, is what its order costs where the CA will not have it replace what it says.
alter table knit_attempts
    add column holding  boolean not null default true,
    add column unspared jsonb not null default '[]';

drop trigger knit_charge on knit_attempts;
drop trigger knit_spend on knit_attempts;
drop trigger knit_spend_deleted on knit_attempts;
drop function knit_spend();

-- With its owner's rights, for whoever writes attempts may have none on other tables; in the schema that it was made in.
-- Buckets are always taken in one order, so that no two attempts wait for each other. Whoever finds a bucket too empty
-- undoes the whole statement: an attempt has all of its tokens, or none. What the CA has given an order for has had its
-- room there, so it takes its other tokens again whatever is left.
do $do$
begin
    execute format($make$
create or replace function knit_charge() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    early constant text[] := array['planned', 'key_staged', 'ordered'];
    open  boolean := tg_op <> 'DELETE' and new.ended_at is null;
    place text := case tg_op when 'DELETE' then old.directory else new.directory end;
    cost  record;
    until timestamptz;
begin
    for cost in
        select c.limit_name, c.subject, c.every, c.most,
               tg_op <> 'INSERT' and old.holding and old.budget <> '[]'
               and case when c.by_order then old.order_url is null else old.step = any(early) end as held,
               open and new.holding
               and case when c.by_order then new.order_url is null else new.step = any(early) end as holds,
               tg_op = 'UPDATE' and case
                   when c.by_order then new.order_url is distinct from old.order_url
                   else old.step = any(early) and open and new.step <> all(early)
               end as spends
        from jsonb_to_recordset(case tg_op when 'DELETE' then old.budget else new.budget end)
             as c (limit_name text, subject text, every interval, most integer, by_order boolean)
        order by c.limit_name, c.subject
    loop
        if cost.spends then
            insert into knit_budget as b (directory, limit_name, subject, full_at)
            values (place, cost.limit_name, cost.subject, now() + cost.every)
            on conflict (directory, limit_name, subject) do update
            set held = greatest(b.held - cost.held::int, 0), full_at = greatest(b.full_at, now()) + cost.every;
        elsif cost.held and not cost.holds then
            update knit_budget b
            set held = greatest(b.held - 1, 0)
            where (b.directory, b.limit_name, b.subject) = (place, cost.limit_name, cost.subject);
        elsif cost.holds and not cost.held then
            insert into knit_budget as b (directory, limit_name, subject, full_at, held)
            values (place, cost.limit_name, cost.subject, now(), 1)
            on conflict (directory, limit_name, subject) do update set held = b.held + 1
            where new.order_url is not null
               or greatest(b.full_at, now()) + cost.every * (b.held + 1) <= now() + cost.every * cost.most;
            if not found then
                select greatest(b.full_at, now()) + cost.every * (b.held + 1 - cost.most) into until
                from knit_budget b
                where (b.directory, b.limit_name, b.subject) = (place, cost.limit_name, cost.subject);
                raise exception 'over budget' using errcode = 'KN001', detail = jsonb_build_object(
                    'limit', cost.limit_name, 'subject', cost.subject, 'until', until
                )::text;
            end if;
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
create trigger knit_charge_change after update on knit_attempts for each row
    when (new.budget <> '[]' and old.ended_at is null
          and (new.order_url is distinct from old.order_url or new.step is distinct from old.step
               or new.ended_at is not null or new.holding <> old.holding or new.budget <> old.budget))
    execute function knit_charge();
create trigger knit_charge_deleted after delete on knit_attempts for each row
    when (old.budget <> '[]' and old.ended_at is null) execute function knit_charge();
