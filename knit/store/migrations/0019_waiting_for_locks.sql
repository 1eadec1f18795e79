-- The lock that an open attempt has met taken: it is had before the CA is asked for anything again.
alter table knit_attempts add column waits_for text;
