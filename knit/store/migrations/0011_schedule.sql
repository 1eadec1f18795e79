-- Whoever writes a certificate's schedule has locked its row or records its value with it, and whoever deletes the row
-- deletes its schedule. So a check of each schedule by itself tells nothing new, and it took longer than writing it.
alter table knit_schedule drop constraint knit_schedule_cert_id_fkey;

create or replace function knit_unschedule() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    execute format('delete from %I.knit_schedule where cert_id = $1', tg_table_schema) using old.id;
    return null;
end
$$;
create trigger knit_unschedule after delete on knit_certs for each row execute function knit_unschedule();
