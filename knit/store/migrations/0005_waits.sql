-- Waits belong to the CA that they came from; null in rows of an earlier knit, whose waits count for whichever it is.
alter table knit_schedule add column retry_directory text;

-- How often in a row this attempt has been put off; counted anew from its finalization on.
alter table knit_attempts add column tries integer not null default 0;

-- A CA that has said "too many requests" is left alone by all certificates. `probing` is the one that may try whether
-- the pause is over; `refusals` is how often in a row the CA has said so.
create table knit_pauses (
    issuer    text not null,
    directory text not null,
    until     timestamptz not null,
    refusals  integer not null default 1,
    said      text not null default '',
    probing   bigint,
    primary key (issuer, directory)
);

-- When control of a name was last proved to a CA, or failed to be: instants of proofs that went well are taken out.
create table knit_validations (
    directory text not null,
    name      text not null,
    tried     timestamptz[] not null,
    primary key (directory, name)
);
