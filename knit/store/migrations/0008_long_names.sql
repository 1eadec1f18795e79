-- What an adopted row has for itself is unique by its hash where it may be long: an index holds no text longer than a
-- third of a page. It is found by these indexes alone, whatever the planner believes of the rest: one with a condition
-- would be read whole where old statistics say that no row fulfils it.
drop index knit_certs_names, knit_certs_valkey_key, knit_certs_cert_path, knit_certs_key_path,
           knit_certs_cert_file, knit_certs_key_file;
create unique index knit_certs_names on knit_certs (sha256(decode(names_key, 'escape')));
create unique index knit_certs_valkey_key on knit_certs ((case when names_key is not null then valkey_key end));
create unique index knit_certs_cert_file on knit_certs ((case when names_key is not null then md5(cert_file) end));
create unique index knit_certs_key_file on knit_certs ((case when names_key is not null then md5(key_file) end));

-- The original's unique index on domains must stay, for its `on conflict (domains)`. So a text that is too long for it
-- is kept in all_domains, and domains has its beginning and its hash: unique as before, and no list of names, so that
-- other software orders nothing for a part of them.
alter table knit_certs add column all_domains text;

create or replace function knit_abridge() returns trigger language plpgsql as $$
begin
    if octet_length(new.domains) > 2600 then
        new.all_domains := new.domains;
        new.domains := left(new.domains, 600) || ',... sha256:'
                       || encode(sha256(convert_to(new.domains, getdatabaseencoding())), 'hex');
    elsif tg_op = 'INSERT' or new.domains <> old.domains then
        new.all_domains := null;
    end if;
    return new;
end
$$;

create trigger knit_abridge
before insert or update on knit_certs
for each row when (octet_length(new.domains) > 2600 or new.all_domains is not null)
execute function knit_abridge();
