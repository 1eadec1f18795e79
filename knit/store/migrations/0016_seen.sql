-- A row without names has not been looked at: one whose names a hand took away would be left out for good, and silently.
update knit_certs set seen = null where names_key is null and seen is not null;
alter table knit_certs add constraint knit_certs_seen_named check (seen is null or names_key is not null) not valid;
