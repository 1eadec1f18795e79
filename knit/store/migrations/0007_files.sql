-- Files as nodes name them, without doubled slashes and single dots: two spellings of one file are one file.
alter table knit_certs
    add column cert_file text not null generated always as (regexp_replace(cert_path, '/(\.?/)+', '/', 'g')) stored,
    add column key_file  text not null generated always as (regexp_replace(key_path, '/(\.?/)+', '/', 'g')) stored;

-- Of rows that have shared a file under two spellings the first keeps it; the next pass says so of the others.
update knit_certs c
set names = null, names_key = null, seen = null
from (
    select id, row_number() over (partition by file order by id) as place
    from (
        select id, cert_file as file from knit_certs where names_key is not null
        union
        select id, key_file from knit_certs where names_key is not null
    ) files
) claims
where claims.id = c.id and claims.place > 1;

create unique index knit_certs_cert_file on knit_certs (md5(cert_file)) where names_key is not null;
create unique index knit_certs_key_file on knit_certs (md5(key_file)) where names_key is not null;
