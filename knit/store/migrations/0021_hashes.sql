-- What a certificate has for itself is unique by a number of 64 bits: an index of these is filled in a third of the time
-- that one of long hashes takes. Texts that differ, and have the same number, are told apart by nobody: of two rows with
-- such texts the second is left out, as one that clashes. Each is found by its index alone, whatever the planner believes
-- of the rest.
drop index knit_certs_names, knit_certs_valkey_key, knit_certs_cert_file, knit_certs_key_file;
create unique index knit_certs_names on knit_certs (hashtextextended(names_key, 0));
create unique index knit_certs_valkey_key on knit_certs
    ((case when names_key is not null then hashtextextended(valkey_key, 0) end));
create unique index knit_certs_cert_file on knit_certs
    ((case when names_key is not null then hashtextextended(cert_file, 0) end));
create unique index knit_certs_key_file on knit_certs
    ((case when names_key is not null then hashtextextended(key_file, 0) end));
