-- The tables of the original Go knit, as it creates them itself: an adopted database has them already.

create table if not exists knit_certs (
    id           bigserial primary key,
    domains      text not null unique,
    provider     text not null,
    valkey_key   text not null,
    cert_path    text not null,
    key_path     text not null,
    enabled      boolean not null default true,
    not_after    timestamptz,
    last_renewed timestamptz,
    last_error   text
);

create table if not exists knit_acme_account (
    email        text,
    private_key  text,
    registration text
);
