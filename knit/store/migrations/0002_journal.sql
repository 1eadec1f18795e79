-- What is wanted. names (primary first) and names_key (sorted) are normalised from domains; both are null in a
-- row that other software wrote and no pass has adopted.
-- `wanted` says all that a person or other software can ask for; `seen` is what the last adoption saw of it,
-- so that an edit by hand or by the Go knit is found through an index that is empty while nothing has changed.
alter table knit_certs
    add column names           text[],
    add column names_key       text,
    add column issuer          text not null default 'acme',
    add column key_type        text not null default 'ec256',
    add column profile         text,
    add column preferred_chain text,
    add column renew_before    interval,
    add column requested_at    timestamptz,
    add column created_at      timestamptz not null default now(),
    add column seen            text;

alter table knit_certs
    add column wanted text not null generated always as (
        domains || E'\n' || provider || E'\n' || valkey_key || E'\n' || cert_path || E'\n' || key_path || E'\n'
        || enabled::text || E'\n' || issuer || E'\n' || key_type || E'\n' || coalesce(profile, '') || E'\n'
        || coalesce(preferred_chain, '') || E'\n' || coalesce(extract(epoch from renew_before)::text, '')
    ) stored;

create unique index knit_certs_names on knit_certs (names_key);
create unique index knit_certs_valkey_key on knit_certs (valkey_key) where names_key is not null;
create unique index knit_certs_cert_path on knit_certs (cert_path) where names_key is not null;
create unique index knit_certs_key_path on knit_certs (key_path) where names_key is not null;
create index knit_certs_unseen on knit_certs (id) where seen is distinct from wanted;
create index knit_certs_off on knit_certs (id) where not enabled;
create index knit_certs_on on knit_certs (valkey_key) where enabled;

-- What is published. published_at is null once its value is known to be gone.
create table knit_issued (
    cert_id      bigint primary key references knit_certs on delete cascade,
    names_key    text not null,
    issuer       text not null,
    directory    text not null,
    account_uri  text,
    key_type     text not null,
    profile      text,
    serial       text not null,
    ari_id       text,
    not_before   timestamptz not null,
    not_after    timestamptz not null,
    issued_at    timestamptz not null,
    sha256       text not null,
    generation   bigint not null,
    valkey_key   text not null,
    cert_path    text not null,
    key_path     text not null,
    published_at timestamptz,
    attempt_id   bigint
);
create index knit_issued_valkey_key on knit_issued (valkey_key) include (cert_id, published_at);

-- When to look at a certificate again. Every adopted certificate has a row; check_at -infinity = now.
-- `moving`: it is published under another key or with other paths than wanted.
create table knit_schedule (
    cert_id  bigint primary key references knit_certs on delete cascade,
    check_at timestamptz not null default '-infinity',
    policy   text not null default '',
    failures integer not null default 0,
    retry_at timestamptz,
    ari_at   timestamptz,
    moving   boolean not null default false
);
create index knit_schedule_check_at on knit_schedule (check_at);
create index knit_schedule_policy on knit_schedule (policy);
create index knit_schedule_moving on knit_schedule (cert_id) where moving;

-- The journal. Rows outlive their certificate: what was asked of the CA stays known.
create table knit_attempts (
    id              bigserial primary key,
    cert_id         bigint not null,
    epoch           bigint not null,
    owner           text not null,
    step            text not null,
    reason          text not null,
    names           text[] not null,
    provider        text not null,
    issuer          text not null,
    directory       text not null,
    key_type        text not null,
    profile         text,
    account_uri     text,
    order_url       text,
    spki_sha256     text,
    starts          integer not null default 1,
    generation      bigint,
    started_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    ended_at        timestamptz,
    error_class     text,
    error           text,
    retry_at        timestamptz
);
create unique index knit_attempts_open on knit_attempts (cert_id) where ended_at is null;
create index knit_attempts_cert on knit_attempts (cert_id, started_at);

create table knit_challenges (
    id                bigserial primary key,
    attempt_id        bigint not null references knit_attempts on delete cascade,
    cert_id           bigint not null,
    provider          text not null,
    identifier        text not null,
    token             text not null,
    key_authorization text not null,
    fqdn              text not null,
    zone              text not null,
    value             text not null,
    state             jsonb,
    created_at        timestamptz not null default now(),
    presented_at      timestamptz,
    removed_at        timestamptz,
    unique (attempt_id, fqdn, value)
);
create index knit_challenges_left on knit_challenges (cert_id) where removed_at is null;

-- Exclusive rights on this database's clock. Rows stay, so that the epoch of a name only grows.
create table knit_leases (
    name       text primary key,
    owner      text not null,
    epoch      bigint not null,
    expires_at timestamptz not null
) with (fillfactor = 50);

-- Keys whose removal somebody asked for: the next pass prunes them without asking the guard.
create table knit_tombstones (
    valkey_key text primary key,
    cert_id    bigint,
    names_key  text,
    removed_at timestamptz not null default now()
);

create table knit_accounts (
    directory    text not null,
    issuer       text not null,
    email        text not null,
    private_key  text not null,
    uri          text,
    registration text not null default '',
    created_at   timestamptz not null default now(),
    primary key (directory, issuer)
);

-- When something was last done that is not done in every pass.
create table knit_marks (
    name    text primary key,
    done_at timestamptz not null
);
