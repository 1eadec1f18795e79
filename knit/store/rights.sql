-- name: lacking
-- What a pass, a renewal and its publication do with each table; a right on each of the columns will do.
with needed (what, rights) as (
    values ('knit_certs', 'SELECT UPDATE'), ('knit_issued', 'SELECT INSERT UPDATE DELETE'),
           ('knit_schedule', 'SELECT INSERT UPDATE'), ('knit_attempts', 'SELECT INSERT UPDATE DELETE'),
           ('knit_challenges', 'SELECT INSERT UPDATE'), ('knit_leases', 'SELECT INSERT UPDATE DELETE'),
           ('knit_leases_live', 'SELECT'), ('knit_tombstones', 'SELECT INSERT UPDATE DELETE'),
           ('knit_accounts', 'SELECT INSERT UPDATE'), ('knit_acme_account', 'SELECT'),
           ('knit_issuers', 'SELECT INSERT UPDATE'), ('knit_pauses', 'SELECT INSERT UPDATE DELETE'),
           ('knit_validations', 'SELECT INSERT UPDATE DELETE'), ('knit_marks', 'SELECT INSERT UPDATE DELETE'),
           ('knit_workers', 'SELECT INSERT UPDATE DELETE'), ('knit_installation', 'SELECT INSERT UPDATE'),
           ('knit_budget', 'SELECT INSERT UPDATE DELETE'), ('knit_ca_issued', 'SELECT INSERT UPDATE DELETE'),
           ('knit_ari', 'SELECT UPDATE'), ('knit_revocations', 'SELECT UPDATE DELETE'),
           ('knit_revocations_due', 'SELECT'), ('knit_revocations_waiting', 'SELECT'),
           ('knit_unexplained', 'SELECT INSERT UPDATE DELETE'), ('knit_compromised_keys', 'SELECT')
), asked as (
    select to_regclass(what) as what, wanted
    from needed cross join string_to_table(rights, ' ') as wanted
)
select what::text as what, wanted as lacking
from asked
where not has_table_privilege(what, wanted)
  and not case wanted when 'DELETE' then false else has_any_column_privilege(what, wanted) end
union all
select name, 'USAGE'
from unnest(array['knit_attempts_id_seq', 'knit_challenges_id_seq']) as name
where not has_sequence_privilege(to_regclass(name), 'USAGE') and not has_sequence_privilege(to_regclass(name), 'UPDATE')
order by what, lacking
