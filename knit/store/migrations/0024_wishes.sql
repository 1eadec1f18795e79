-- A certificate may keep its key from one renewal to the next, and one for trials may take the place of a trusted one;
-- both only where asked for. A row that asks for neither is as it was: nothing has to be adopted again.
drop trigger knit_note_change on knit_certs;
drop index knit_certs_unseen;
alter table knit_certs
    add column reuse_key     boolean not null default false,
    add column allow_staging boolean not null default false,
    drop column wanted;
alter table knit_certs
    add column wanted text not null generated always as (
        domains || E'\n' || provider || E'\n' || valkey_key || E'\n' || cert_path || E'\n' || key_path || E'\n'
        || enabled::text || E'\n' || issuer || E'\n' || key_type || E'\n' || coalesce(profile, '') || E'\n'
        || coalesce(preferred_chain, '') || E'\n' || coalesce(extract(epoch from renew_before)::text, '')
        || case when reuse_key then E'\nreuse key' else '' end
        || case when allow_staging then E'\nallow staging' else '' end
    ) stored;
create index knit_certs_unseen on knit_certs (id) where seen is distinct from wanted;

create or replace function knit_asked(c knit_certs) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'domains', coalesce(c.all_domains, c.domains), 'provider', c.provider, 'valkey_key', c.valkey_key,
        'cert_path', c.cert_path, 'key_path', c.key_path, 'enabled', c.enabled, 'issuer', c.issuer,
        'key_type', c.key_type, 'profile', c.profile, 'preferred_chain', c.preferred_chain,
        'renew_before', c.renew_before, 'reuse_key', c.reuse_key, 'allow_staging', c.allow_staging
    )
$$;

create trigger knit_note_change after update of domains, all_domains, provider, valkey_key, cert_path, key_path, enabled,
        issuer, key_type, profile, preferred_chain, renew_before, reuse_key, allow_staging, requested_at
    on knit_certs for each row
    when (old.wanted is distinct from new.wanted
          or (old.requested_at is distinct from new.requested_at and new.requested_at is not null))
    execute function knit_note();

-- Since when the published key is in use; null: since its certificate was issued.
alter table knit_issued add column key_since timestamptz;
