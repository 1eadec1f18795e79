-- An order that is over before it was finalized is taken out of its attempt, which costs nothing: another one costs what the
-- first did, and has to have its room. With its owner's rights, as before.
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
                   when c.by_order then new.order_url is not null and new.order_url is distinct from old.order_url
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
