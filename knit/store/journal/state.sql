-- Parts of statements, for those that read what is known of certificates: ids are `x.id`, rows of knit_certs `c`.
-- name: columns
{issued of i as i_},
{attempt of a as a_},
coalesce(s.failures, 0) as failures,
greatest(s.retry_at, case when a.directory <> all(k.directories) then null else a.retry_at end) as retry_at,
exists (select 1 from knit_attempts u where u.cert_id = x.id and u.unreplaced = i.ari_id) as unreplaced,
r.chosen_at as ari_at, r.checked_at as ari_checked_at,
w.for_ari[2] + interval '7 days' as ari_again_at,
w.for_lost[2] + interval '7 days' as reorder_at,
exists (select 1 from knit_challenges h where h.cert_id = x.id and h.removed_at is null) as leftovers

-- name: tables
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
