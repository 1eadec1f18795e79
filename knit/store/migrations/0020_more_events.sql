-- More of what happens leaves its event: proofs that a CA is asked to check, pauses of a CA, failures before an attempt
-- could be begun, and why an attempt has gone back to its order.

-- Names whose proofs the CA has been asked to check in this run of the attempt, until its order is finalized.
alter table knit_attempts add column validating text[];

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note_more() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    what text;
    how  text := 'info';
    cert bigint;
    try_ bigint;
    told jsonb;
begin
    if tg_table_name = 'knit_attempts' then
        cert := new.cert_id;
        try_ := new.id;
        if new.step = 'finalizing' then
            what := 'order finalizing';
            how := 'error';
            told := jsonb_build_object('class', new.error_class, 'error', new.error, 'next_try', new.retry_at);
        elsif new.step = 'failed' then
            what := 'validation failed';
            how := 'error';
            told := jsonb_build_object('names', old.validating, 'directory', new.directory, 'error', new.error);
        else
            what := 'validation requested';
            told := jsonb_build_object('names', new.validating, 'directory', new.directory);
        end if;
    elsif tg_table_name = 'knit_pauses' then
        if tg_op = 'DELETE' then
            what := 'CA pause over';
            cert := old.probing;
            told := jsonb_build_object('issuer', old.issuer, 'directory', old.directory);
        else
            what := 'CA paused';
            how := 'warning';
            told := jsonb_build_object('issuer', new.issuer, 'directory', new.directory, 'until', new.until,
                                       'refusals', new.refusals, 'said', new.said);
        end if;
    else
        what := 'renewal failed';
        how := 'error';
        cert := new.cert_id;
        told := jsonb_build_object('error', (select c.last_error from knit_certs c where c.id = new.cert_id),
                                   'next_try', new.retry_at);
    end if;
    insert into knit_events (kind, severity, cert_id, attempt_id, actor, detail)
    values (what, how, cert, try_, knit_actor(), jsonb_strip_nulls(told));
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

-- Of two triggers the one whose name comes first in the alphabet is first: why a renewal has failed, then that it has.
create trigger knit_note_asked after update on knit_attempts for each row
    when ((new.validating is not null and new.validating is distinct from old.validating)
          or (old.validating is not null and new.step = 'failed' and new.step <> old.step
              and new.error_class = 'IdentifierRejected'))
    execute function knit_note_more();
create trigger knit_note_back after update on knit_attempts for each row
    when (new.step = 'finalizing' and old.step in ('issued', 'publishing')) execute function knit_note_more();
drop trigger knit_note_change on knit_attempts;
create trigger knit_note_change after update on knit_attempts for each row
    when ((old.step is distinct from new.step and not (new.step = 'finalizing' and old.step in ('issued', 'publishing')))
          or new.starts > old.starts
          or (new.ended_at is null and old.retry_at is distinct from new.retry_at and new.retry_at is not null
              and old.step = new.step))
    execute function knit_note();

-- A pause begins with a minute, and is made as long as it has to be by the next statement.
create trigger knit_note after insert or delete on knit_pauses for each row execute function knit_note_more();
create trigger knit_note_change after update on knit_pauses for each row
    when (new.probing is null and new.until > old.until + interval '1 second') execute function knit_note_more();

-- A failure that no directory has part in is one of a certificate for which nothing could be begun.
create trigger knit_note after insert on knit_schedule for each row
    when (new.failures > 0 and new.retry_directory is null and new.retry_at is not null)
    execute function knit_note_more();
create trigger knit_note_change after update on knit_schedule for each row
    when (new.failures > greatest(old.failures, 0) and new.retry_directory is null and new.retry_at is not null)
    execute function knit_note_more();
