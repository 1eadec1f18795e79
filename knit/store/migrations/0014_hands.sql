-- A key as one line of a text of many. Rows that nobody has judged may have a line feed in theirs: it must not be read as
-- the end of one key and the beginning of another.
create or replace function knit_line(key text) returns text language sql immutable parallel safe as
$$ select replace(replace(key, E'\x01', E'\x011'), E'\n', E'\x012') $$;

-- What knit keeps beside what other software writes: a hand that takes the names away would stop every pass.
alter table knit_certs add constraint knit_certs_names_whole check (
    names_key is null
    or (names is not null and cardinality(names) > 0 and array_ndims(names) = 1 and array_position(names, null) is null)
) not valid;
