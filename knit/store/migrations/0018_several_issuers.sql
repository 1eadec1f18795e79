-- A row may name several issuers, in order; one that names none, or no key type, leaves it to the configuration. Rows
-- from before name 'acme' and their key type, and mean what they always did.
alter table knit_certs alter column issuer set default '', alter column key_type set default '';

-- Of which chain the CA was asked for: another wish makes a certificate due.
alter table knit_attempts add column preferred_chain text;
alter table knit_issued add column preferred_chain text;
update knit_attempts a set preferred_chain = c.preferred_chain
from knit_certs c
where c.id = a.cert_id and a.ended_at is null and c.preferred_chain is not null;
update knit_issued i set preferred_chain = c.preferred_chain
from knit_certs c
where c.id = i.cert_id and c.preferred_chain is not null;
