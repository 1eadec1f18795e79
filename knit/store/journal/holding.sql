-- name: load
-- A certificate that is not adopted has no names yet, so nothing is wanted of it.
select {spec of c as c_},
       {state columns},
       coalesce(a.tries, 0) as tries, coalesce(a.error_class = 'BundleMismatch', false) as refused,
       i.cert_id is null or i.published_at is not null as published,
       (select id from knit_attempts where cert_id = x.id order by started_at desc limit 1) as newest,
       k.issuers, exists (table knit_pauses) as pauses
from (select %(id)s::bigint as id) x
left join knit_certs c on c.id = x.id and c.names_key is not null
{state tables}

-- name: leftovers
select id, cert_id, provider, identifier, token, key_authorization, fqdn, zone, value, state
from knit_challenges
where cert_id = %(id)s and removed_at is null
order by id

-- name: looked
-- What has changed since it was adopted is looked at again at once.
with planned as (
    insert into knit_schedule (cert_id, check_at, policy, looked_at)
    select c.id, case when c.seen is not distinct from c.wanted then %(until)s else '-infinity'::timestamptz end,
           %(policy)s, clock_timestamp()
    from knit_certs c
    where c.id = %(id)s
    for key share of c
    on conflict (cert_id) do update
    set check_at = excluded.check_at, policy = excluded.policy, looked_at = excluded.looked_at, no_room = null
    returning cert_id, failures
)
update knit_certs c set last_error = %(error)s
from planned
where c.id = planned.cert_id and planned.failures = 0 and %(said)s and c.last_error is distinct from %(error)s
  and c.names_key is not null

-- name: plan_checks
-- Nothing is wrong with it now, so an error of a failure that was not counted is over. Rows that somebody's transaction
-- holds are left to the next pass.
with planned as (
    insert into knit_schedule (cert_id, check_at, policy)
    select c.id, planned.until, %(policy)s
    from unnest(%(ids)s::bigint[], %(untils)s::timestamptz[]) as planned (id, until)
    join knit_certs c on c.id = planned.id
    where c.seen is not distinct from c.wanted
    for key share of c skip locked
    on conflict (cert_id) do update
    set check_at = excluded.check_at, policy = excluded.policy, no_room = null
    returning cert_id, failures
)
update knit_certs c set last_error = null
where c.id in (
    select shown.id
    from knit_certs shown
    join planned on planned.cert_id = shown.id
    where planned.failures = 0 and shown.last_error is not null and shown.names_key is not null
    for no key update of shown skip locked
)
