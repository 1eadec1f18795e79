-- What has happened, for people, programs and audits. Rows are written by triggers, in the statement that makes them
-- true: whoever writes, knit, the Go knit or a person with psql, leaves the same trace. Nothing secret is in them.
create table knit_events (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default clock_timestamp(),
    kind       text not null,
    severity   text not null default 'info',
    cert_id    bigint,
    attempt_id bigint,
    actor      text not null,
    detail     jsonb not null default '{}'
);
create index knit_events_cert on knit_events (cert_id, id);
create index knit_events_at on knit_events (at);

-- `knit.actor` names a person or key for whom a process acts.
create or replace function knit_actor() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('knit.actor', true), ''),
        session_user || coalesce(' (' || nullif(current_setting('application_name'), '') || ')', '')
    )
$$;

-- The fields in which two records differ: {"field": [before, after]}.
create or replace function knit_changes(before jsonb, after jsonb) returns jsonb language sql immutable as $$
    select coalesce(jsonb_object_agg(n.key, jsonb_build_array(before -> n.key, n.value)), '{}')
    from jsonb_each(after) as n
    where before -> n.key is distinct from n.value
$$;

-- What a row of the list asks for.
create or replace function knit_asked(c knit_certs) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'domains', coalesce(c.all_domains, c.domains), 'provider', c.provider, 'valkey_key', c.valkey_key,
        'cert_path', c.cert_path, 'key_path', c.key_path, 'enabled', c.enabled, 'issuer', c.issuer,
        'key_type', c.key_type, 'profile', c.profile, 'preferred_chain', c.preferred_chain,
        'renew_before', c.renew_before
    )
$$;

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    what text;
    how  text := 'info';
    cert bigint;
    try_ bigint;
    told jsonb := '{}';
begin
    if tg_table_name = 'knit_certs' then
        if tg_op = 'INSERT' then
            what := 'certificate added';
            cert := new.id;
            told := knit_asked(new);
        elsif tg_op = 'DELETE' then
            what := 'certificate removed';
            cert := old.id;
            told := knit_asked(old);
        else
            cert := new.id;
            told := knit_changes(knit_asked(old), knit_asked(new));
            what := case
                when told = '{}' then 'renewal requested'
                when told - 'enabled' = '{}' and new.enabled then 'certificate enabled'
                when told - 'enabled' = '{}' then 'certificate disabled'
                else 'certificate changed'
            end;
        end if;
    elsif tg_table_name = 'knit_attempts' then
        cert := new.cert_id;
        try_ := new.id;
        if tg_op = 'INSERT' then
            what := 'renewal started';
            told := jsonb_build_object('reason', new.reason, 'names', new.names, 'issuer', new.issuer,
                                       'directory', new.directory, 'provider', new.provider);
        elsif new.step is distinct from old.step then
            what := case new.step
                when 'key_staged' then 'key staged'
                when 'ordered' then 'order placed'
                when 'finalizing' then 'order finalizing'
                when 'issued' then 'certificate issued'
                when 'publishing' then 'certificate publishing'
                when 'published' then 'certificate published'
                when 'failed' then 'renewal failed'
                when 'abandoned' then 'renewal abandoned'
                else 'renewal resumed'
            end;
            how := case new.step when 'failed' then 'error' when 'abandoned' then 'notice' else 'info' end;
            told := jsonb_strip_nulls(case new.step
                when 'ordered' then jsonb_build_object('order', new.order_url)
                when 'issued' then jsonb_build_object('serial', new.serial, 'not_after', new.not_after)
                when 'published' then jsonb_build_object('serial', new.serial, 'generation', new.generation)
                when 'failed' then jsonb_build_object('class', new.error_class, 'error', new.error, 'next_try', new.retry_at)
                when 'abandoned' then jsonb_build_object('reason', new.error)
                else '{}'
            end);
        elsif new.starts > old.starts then
            what := 'renewal resumed';
            told := jsonb_build_object('step', new.step, 'starts', new.starts);
        else
            -- Being asked to wait is no failure.
            what := case when new.error_class in ('RateLimited', 'AccountLimited') then 'renewal postponed' else 'renewal failed' end;
            how := case when new.error_class in ('RateLimited', 'AccountLimited') then 'warning' else 'error' end;
            told := jsonb_strip_nulls(jsonb_build_object('step', new.step, 'class', new.error_class, 'error', new.error,
                                                         'next_try', new.retry_at));
        end if;
    elsif tg_table_name = 'knit_issued' then
        cert := new.cert_id;
        if tg_op = 'INSERT' then
            what := 'published value adopted';
            told := jsonb_build_object('valkey_key', new.valkey_key, 'serial', new.serial, 'not_after', new.not_after);
        elsif new.published_at is null then
            what := 'published value withdrawn';
            how := 'notice';
            told := jsonb_build_object('valkey_key', old.valkey_key, 'serial', old.serial);
        else
            what := 'published value moved';
            told := knit_changes(
                jsonb_build_object('valkey_key', old.valkey_key, 'cert_path', old.cert_path, 'key_path', old.key_path),
                jsonb_build_object('valkey_key', new.valkey_key, 'cert_path', new.cert_path, 'key_path', new.key_path));
        end if;
    elsif tg_table_name = 'knit_issuers' then
        what := case tg_op when 'INSERT' then 'issuer first used' else 'issuer switched' end;
        how := 'notice';
        told := jsonb_build_object('issuer', new.name, 'kind', new.kind, 'directory', new.directory);
        if tg_op = 'UPDATE' then
            told := told || jsonb_build_object('before', old.directory);
        end if;
    elsif tg_table_name = 'knit_accounts' then
        how := 'notice';
        if tg_op = 'INSERT' then
            what := case when new.uri is null then 'account key made' else 'account registered' end;
            told := jsonb_build_object('issuer', new.issuer, 'directory', new.directory, 'account', new.uri);
        elsif tg_op = 'UPDATE' and new.uri is not null then
            what := 'account registered';
            told := jsonb_build_object('issuer', new.issuer, 'directory', new.directory, 'account', new.uri);
        else
            what := 'account forgotten';
            told := jsonb_build_object('issuer', old.issuer, 'directory', old.directory, 'account', old.uri);
        end if;
        told := jsonb_strip_nulls(told);
    elsif tg_table_name = 'knit_compromised_keys' then
        what := 'key declared compromised';
        how := 'warning';
        cert := new.cert_id;
        told := jsonb_build_object('spki_sha256', new.spki_sha256);
    elsif tg_table_name = 'knit_installation' then
        what := 'valkey claimed';
        how := 'notice';
        told := jsonb_build_object('installation', new.id, 'place', new.place);
        if tg_op = 'UPDATE' then
            told := told || jsonb_build_object('before', old.place);
        end if;
    end if;
    insert into knit_events (kind, severity, cert_id, attempt_id, actor, detail)
    values (what, how, cert, try_, knit_actor(), told);
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_note after insert or delete on knit_certs for each row execute function knit_note();
create trigger knit_note_change after update of domains, all_domains, provider, valkey_key, cert_path, key_path, enabled,
        issuer, key_type, profile, preferred_chain, renew_before, requested_at on knit_certs for each row
    when (old.wanted is distinct from new.wanted
          or (old.requested_at is distinct from new.requested_at and new.requested_at is not null))
    execute function knit_note();
create trigger knit_note after insert on knit_attempts for each row execute function knit_note();
create trigger knit_note_change after update on knit_attempts for each row
    when (old.step is distinct from new.step or new.starts > old.starts
          or (new.ended_at is null and old.retry_at is distinct from new.retry_at and new.retry_at is not null))
    execute function knit_note();
-- What an attempt publishes is told by the attempt.
create trigger knit_note after insert on knit_issued for each row
    when (new.attempt_id is null) execute function knit_note();
create trigger knit_note_change after update on knit_issued for each row
    when ((new.published_at is null and old.published_at is not null)
          or (new.attempt_id is not distinct from old.attempt_id
              and (new.valkey_key, new.cert_path, new.key_path)
                  is distinct from (old.valkey_key, old.cert_path, old.key_path)))
    execute function knit_note();
create trigger knit_note after insert on knit_issuers for each row execute function knit_note();
create trigger knit_note_change after update on knit_issuers for each row
    when (old.directory is distinct from new.directory) execute function knit_note();
create trigger knit_note after insert or delete on knit_accounts for each row execute function knit_note();
create trigger knit_note_change after update on knit_accounts for each row
    when (old.uri is distinct from new.uri) execute function knit_note();
create trigger knit_note after insert on knit_compromised_keys for each row execute function knit_note();
create trigger knit_note_change after update on knit_installation for each row
    when (old.place is distinct from new.place) execute function knit_note();
