-- A change of an account's key (RFC 8555 section 7.3.5): `next_key` is kept, as the key is, before the CA hears of it,
-- and takes the key's place afterwards. Until then the CA knows one of the two.
-- `deactivated_at`: since when nothing is asked for with this account, for it was to be deactivated.
alter table knit_accounts
    add column next_key       text,
    add column deactivated_at timestamptz;

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note_account() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    about jsonb := jsonb_build_object('issuer', new.issuer, 'directory', new.directory, 'account', new.uri);
begin
    if old.next_key is not null and new.next_key is null and new.private_key is distinct from old.private_key then
        insert into knit_events (kind, severity, actor, detail)
        values ('account key changed', 'notice', knit_actor(), about);
    end if;
    if new.deactivated_at is not null and old.deactivated_at is null then
        insert into knit_events (kind, severity, actor, detail)
        values ('account deactivated', 'warning', knit_actor(), about);
    end if;
    if new.email is distinct from old.email then
        insert into knit_events (kind, severity, actor, detail)
        values ('account contact changed', 'notice', knit_actor(),
                about || jsonb_build_object('email', jsonb_build_array(old.email, new.email)));
    end if;
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_note_upkeep after update on knit_accounts for each row
    when (old.uri is not distinct from new.uri and new.uri is not null
          and (old.next_key, old.deactivated_at, old.email)
              is distinct from (new.next_key, new.deactivated_at, new.email))
    execute function knit_note_account();
