-- Certificates that knit did not order: their issuer is called 'imported', and a person brings each of them.

-- Of which published certificate a person was told that it expires soon, or has: the word, and its hash.
alter table knit_issued add column expiry_told text;

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note_imported() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    what text;
    how  text := 'info';
    told jsonb;
begin
    if tg_table_name = 'knit_issued' then
        what := case when new.expiry_told like 'expired %%' then 'certificate expired' else 'certificate expires soon' end;
        how := case when what = 'certificate expired' then 'error' else 'warning' end;
        insert into knit_events (kind, severity, cert_id, actor, detail)
        values (what, how, new.cert_id, knit_actor(), jsonb_build_object('serial', new.serial, 'not_after', new.not_after));
        return null;
    end if;
    if new.step = 'issued' then
        what := 'certificate imported';
        told := jsonb_build_object('serial', new.serial, 'not_after', new.not_after);
    elsif new.step = 'failed' then
        what := 'import failed';
        how := 'error';
        told := jsonb_build_object('class', new.error_class, 'error', new.error);
    else
        what := 'import abandoned';
        how := 'notice';
        told := jsonb_build_object('reason', new.error);
    end if;
    insert into knit_events (kind, severity, cert_id, attempt_id, actor, detail)
    values (what, how, new.cert_id, new.id, knit_actor(), jsonb_strip_nulls(told));
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_note_expiry after update on knit_issued for each row
    when (new.expiry_told is distinct from old.expiry_told and new.expiry_told is not null)
    execute function knit_note_imported();

-- An import is no renewal, and nothing is issued by it.
drop trigger knit_note on knit_attempts;
create trigger knit_note after insert on knit_attempts for each row
    when (new.issuer <> 'imported') execute function knit_note();
drop trigger knit_note_change on knit_attempts;
create trigger knit_note_change after update on knit_attempts for each row
    when (((old.step is distinct from new.step and not (new.step = 'finalizing' and old.step in ('issued', 'publishing')))
           or new.starts > old.starts
           or (new.ended_at is null and old.retry_at is distinct from new.retry_at and new.retry_at is not null
               and old.step = new.step))
          and not (new.issuer = 'imported' and new.step in ('issued', 'failed', 'abandoned')))
    execute function knit_note();
create trigger knit_note_imported after update on knit_attempts for each row
    when (new.issuer = 'imported' and new.step is distinct from old.step
          and new.step in ('issued', 'failed', 'abandoned'))
    execute function knit_note_imported();
