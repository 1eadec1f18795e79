-- What the CA issued, from the moment its bundle is handed over: whoever publishes it can tell by the hash that these
-- are the bytes that were checked, without looking into them. Null in attempts that an older knit handed over.
alter table knit_attempts
    add column serial     text,
    add column ari_id     text,
    add column not_before timestamptz,
    add column not_after  timestamptz,
    add column sha256     text;
