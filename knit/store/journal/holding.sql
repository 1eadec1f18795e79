-- name: load
-- A certificate that is not adopted has no names yet, so nothing is wanted of it.
select {spec of c as c_},
       {issued of i as i_},
       {attempt of a as a_},
       coalesce(s.failures, 0) as failures,
       greatest(s.retry_at, case when a.directory <> all(k.directories) then null else a.retry_at end) as retry_at,
       exists (select 1 from knit_attempts u where u.cert_id = x.id and u.unreplaced = i.ari_id) as unreplaced,
       r.chosen_at as ari_at, r.checked_at as ari_checked_at,
       w.for_ari[2] + interval '7 days' as ari_again_at,
       coalesce(a.tries, 0) as tries, coalesce(a.error_class = 'BundleMismatch', false) as refused,
       i.cert_id is null or i.published_at is not null as published,
       w.for_lost[2] + interval '7 days' as reorder_at,
       exists (select 1 from knit_challenges h where h.cert_id = x.id and h.removed_at is null) as leftovers,
       (select id from knit_attempts where cert_id = x.id order by started_at desc limit 1) as newest,
       coalesce(k.issuers, '{}') as issuers
from (select %(id)s::bigint as id) x
left join knit_certs c on c.id = x.id and c.names_key is not null
left join knit_issued i on i.cert_id = x.id
left join knit_attempts a on a.cert_id = x.id and a.ended_at is null
left join knit_ari r on r.cert_id = x.id and r.ari_id = i.ari_id
-- The last but one of a week: when it is a week old, another may be ordered for the same reason.
cross join lateral (
    select array_agg(started_at order by started_at desc)
               filter (where reason = 'the CA''s suggested renewal time has come') as for_ari,
           array_agg(started_at order by started_at desc)
               filter (where reason = 'published value is missing or damaged') as for_lost
    from knit_attempts
    where cert_id = x.id and serial is not null and started_at > now() - interval '7 days'
) w
cross join (
    select array_agg(directory) as directories, jsonb_object_agg(name, array[directory, roots]) as issuers from knit_issuers
) k
-- A wait that a CA asked for which is no issuer's any more, and failures there, count for nothing.
left join knit_schedule s on s.cert_id = x.id and (s.retry_directory <> all(k.directories)) is not true

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
