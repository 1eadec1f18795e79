-- What CAs of our own have issued, by the CA's key (`directory`): no bytes of certificates. A certificate that goes from
-- the list leaves its rows: what is revoked stays revoked until its end.
create table knit_ca_issued (
    directory  text not null,
    serial     text not null,
    cert_id    bigint,
    names_key  text not null,
    not_before timestamptz not null,
    not_after  timestamptz not null,
    issued_at  timestamptz not null default now(),
    revoked_at timestamptz,
    reason     text,
    primary key (directory, serial)
);
create index knit_ca_issued_cert on knit_ca_issued (cert_id);
create index knit_ca_issued_revoked on knit_ca_issued (directory, not_after) where revoked_at is not null;

-- The number of the last list of revoked certificates of each, which only grows.
create table knit_ca_crls (
    directory text primary key,
    number    bigint not null,
    made_at   timestamptz not null
);
