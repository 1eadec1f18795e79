-- Imported certificates are few: those that fail are counted in each pass without a look at all others.
create index knit_certs_imported on knit_certs (id) where issuer = 'imported';
