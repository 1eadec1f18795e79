-- Which roots vouch for an issuer's own web server, as its directory says where it is: a hash of the certificates in its
-- file, or 'system'. Null: not recorded yet, so whatever comes next is.
alter table knit_issuers add column roots text;
