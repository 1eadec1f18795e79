-- Which installation this database is, and where it publishes: `place` is the address of the certificate Valkey that
-- carries this id too, `revision` the highest revision of the change feed that was seen there.
create table knit_installation (
    one      boolean primary key default true check (one),
    id       text not null,
    place    text,
    revision bigint not null default 0
);

-- Published values that no row and no tombstone explains, since when. `token` tells the bytes seen there.
create table knit_unexplained (
    valkey_key text primary key,
    token      text not null,
    since      timestamptz not null default now()
);

-- Public halves (SHA-256 of the SubjectPublicKeyInfo) of keys that must never be published again.
create table knit_compromised_keys (
    spki_sha256 text primary key,
    cert_id     bigint,
    declared_at timestamptz not null default now()
);
create index knit_compromised_keys_cert on knit_compromised_keys (cert_id);

alter table knit_issued add column spki_sha256 text;
update knit_issued i set spki_sha256 = a.spki_sha256 from knit_attempts a where a.id = i.attempt_id;
create index knit_issued_no_fingerprint on knit_issued (cert_id) where spki_sha256 is null;

create index knit_attempts_lost on knit_attempts (started_at) where reason = 'published value is missing or damaged';

-- Whoever deletes a row: what it has published, or would have, is to be removed. With its owner's rights, for whoever
-- deletes may have none on other tables; at the end of the statement, which may leave a tombstone of its own.
create or replace function knit_bury() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone jsonb := to_jsonb(old);
begin
    execute format(
        'insert into %I.knit_tombstones as t (valkey_key, cert_id, names_key) values ($1, $2, $3)
         on conflict (valkey_key) do update
         set cert_id = excluded.cert_id, names_key = excluded.names_key, removed_at = excluded.removed_at',
        tg_table_schema
    ) using old.valkey_key, coalesce(gone ->> 'cert_id', gone ->> 'id')::bigint, gone ->> 'names_key';
    return null;
end
$$;
create trigger knit_bury after delete on knit_certs for each row execute function knit_bury();
create trigger knit_bury after delete on knit_issued for each row execute function knit_bury();
