-- Why nothing was begun for a certificate, and of which class that was: there is no attempt to tell. It holds as long as
-- the certificate shows this error.
alter table knit_schedule add column refusal text, add column refusal_class text;
