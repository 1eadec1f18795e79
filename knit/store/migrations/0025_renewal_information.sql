-- When CAs ask for what they have issued to be renewed (RFC 9773): one row for each certificate that has been issued, as
-- of its newest. `window_start` and `window_end` are the CA's suggested window, `chosen_at` the one instant in it;
-- `checked_at` is when the CA last said so, all null while it never has. `failures` counts vain questions since then.
create table knit_ari (
    cert_id         bigint primary key references knit_certs on delete cascade,
    ari_id          text not null,
    window_start    timestamptz,
    window_end      timestamptz,
    chosen_at       timestamptz,
    explanation_url text,
    next_poll_at    timestamptz not null default now(),
    failures        integer not null default 0,
    checked_at      timestamptz,
    error           text
);
create index knit_ari_next_poll on knit_ari (next_poll_at);

-- Not all at once: what has been issued before is asked about within six hours.
insert into knit_ari (cert_id, ari_id, next_poll_at)
select cert_id, ari_id, now() + random() * interval '6 hours' from knit_issued where ari_id is not null;

-- The certificate that an order is to replace (RFC 9773 section 5). Where the CA will not have that, it is `unreplaced`
-- from then on, and never said again.
alter table knit_attempts
    add column replaces       text,
    add column unreplaced     text,
    add column unreplaced_why text;
create index knit_attempts_unreplaced on knit_attempts (cert_id) where unreplaced is not null;

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_issued_anew() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
begin
    if new.ari_id is null then
        delete from knit_ari where cert_id = new.cert_id;
    else
        insert into knit_ari (cert_id, ari_id) values (new.cert_id, new.ari_id)
        on conflict (cert_id) do update
        set ari_id = excluded.ari_id, window_start = null, window_end = null, chosen_at = null, explanation_url = null,
            next_poll_at = excluded.next_poll_at, failures = 0, checked_at = null, error = null;
    end if;
    return null;
end
$body$
    $make$, current_schema());
    execute format($make$
create or replace function knit_note_ari() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
begin
    if tg_table_name = 'knit_attempts' then
        insert into knit_events (kind, severity, cert_id, attempt_id, actor, detail)
        values ('replacement refused', 'notice', new.cert_id, new.id, knit_actor(),
                jsonb_build_object('replaces', new.unreplaced, 'error', new.unreplaced_why));
        return null;
    end if;
    insert into knit_events (kind, severity, cert_id, actor, detail)
    values (
        case when new.window_end <= now() then 'renewal asked for at once' else 'renewal window moved' end,
        case when new.window_end <= now() then 'warning' else 'info' end,
        new.cert_id, knit_actor(),
        jsonb_strip_nulls(jsonb_build_object(
            'before', case when old.window_start is not null then jsonb_build_array(old.window_start, old.window_end) end,
            'after', jsonb_build_array(new.window_start, new.window_end),
            'chosen', new.chosen_at, 'explanation', new.explanation_url))
    );
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_issued_anew after insert on knit_issued for each row execute function knit_issued_anew();
create trigger knit_issued_anew_change after update on knit_issued for each row
    when (new.ari_id is distinct from old.ari_id) execute function knit_issued_anew();

-- The first window of a certificate is nothing to tell, unless it lies in the past.
create trigger knit_note_change after update on knit_ari for each row
    when (new.ari_id = old.ari_id and new.window_start is not null
          and (new.window_start, new.window_end) is distinct from (old.window_start, old.window_end)
          and (old.window_start is not null or new.window_end <= now()))
    execute function knit_note_ari();
create trigger knit_note_unreplaced after update on knit_attempts for each row
    when (new.unreplaced is not null and old.unreplaced is null) execute function knit_note_ari();
