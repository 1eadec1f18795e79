-- name: lock_list
select pg_advisory_xact_lock(%(key)s)

-- name: unseen
-- Of certificates that clash the first is adopted: one that is switched off never stands in the way.
select id, domains, enabled, provider, valkey_key, cert_path, key_path, issuer, key_type, profile, preferred_chain,
       renew_before
from knit_certs
where seen is distinct from wanted
order by enabled desc, id

-- name: adopt
-- Something about these certificates is new: look at them now, whatever failed before the change.
with rows as (
    select *
    from unnest(%(ids)s::bigint[], %(names)s::text[], %(keys)s::text[]) as rows (id, names, names_key)
), adopted as (
    update knit_certs c
    set names = string_to_array(rows.names, ','), names_key = rows.names_key, seen = c.wanted,
        last_error = case when c.last_error like 'left out: %%' then null else c.last_error end
    from rows
    where c.id = rows.id
), retried as (
    update knit_attempts a set retry_at = null from rows where a.cert_id = rows.id and a.ended_at is null
)
insert into knit_schedule (cert_id, moving)
select c.id,
       i.cert_id is not null
       and (c.valkey_key, c.cert_path, c.key_path) is distinct from (i.valkey_key, i.cert_path, i.key_path)
from rows
join knit_certs c on c.id = rows.id
left join knit_issued i on i.cert_id = c.id
on conflict (cert_id) do update set check_at = '-infinity', failures = 0, retry_at = null, moving = excluded.moving

-- name: crossed
select 1
from knit_certs a
join knit_certs b on a.cert_file = b.key_file
where a.names_key is not null and b.names_key is not null
limit 1

-- name: leave_out
update knit_certs
set names = null, names_key = null, seen = null, last_error = %(error)s
where id = %(id)s and (names_key is not null or seen is not null or last_error is distinct from %(error)s)

-- name: clash
-- The first other certificate that has the same names, or a key or file that this one wants.
select c.id, c.domains, c.names_key = %(names_key)s as same_names,
       case
           when %(valkey_key)s in (c.valkey_key, i.valkey_key) then 'valkey_key ' || %(valkey_key)s
           when %(cert_file)s in (c.cert_file, c.key_file) then 'path ' || %(cert_file)s
           when %(key_file)s in (c.cert_file, c.key_file) then 'path ' || %(key_file)s
       end as thing
from knit_certs c
left join knit_issued i on i.cert_id = c.id
where c.names_key is not null
  and c.id <> %(id)s
  and (
      c.names_key = %(names_key)s
      or %(valkey_key)s in (c.valkey_key, i.valkey_key)
      or c.cert_file in (%(cert_file)s, %(key_file)s)
      or c.key_file in (%(cert_file)s, %(key_file)s)
  )
order by c.id
limit 1

-- name: by_names
select id from knit_certs where names_key = %(names_key)s

-- name: left_out
select id, domains from knit_certs where names_key is null order by id

-- name: entry
select id, domains, enabled, provider, valkey_key, cert_path, key_path, issuer, key_type, profile, preferred_chain,
       renew_before
from knit_certs
where id = %(id)s

-- name: insert
insert into knit_certs (domains, names, names_key, provider, valkey_key, cert_path, key_path,
                        issuer, key_type, profile, preferred_chain, renew_before)
values (%(domains)s, %(names)s, %(names_key)s, %(provider)s, %(valkey_key)s, %(cert_path)s, %(key_path)s,
        %(issuer)s, %(key_type)s, %(profile)s, %(preferred_chain)s, %(renew_before)s)
returning id

-- name: update
update knit_certs
set domains = %(domains)s, names = %(names)s, names_key = %(names_key)s, provider = %(provider)s, valkey_key = %(valkey_key)s, cert_path = %(cert_path)s,
    key_path = %(key_path)s, issuer = %(issuer)s, key_type = %(key_type)s, profile = %(profile)s,
    preferred_chain = %(preferred_chain)s, renew_before = %(renew_before)s, enabled = %(enabled)s
where id = %(id)s
returning id

-- name: forget_tombstone
delete from knit_tombstones where valkey_key = %(valkey_key)s

-- name: remove
-- A tombstone for every key it was or would be published at, unless another certificate wants that key.
-- A worker that is on it finds its attempt ended, and stops.
with gone as (
    delete from knit_certs where id = %(id)s returning id, names_key, valkey_key
), stopped as (
    update knit_attempts a
    set step = 'abandoned', ended_at = now(), updated_at = now(), error = 'the certificate was removed'
    from gone
    where a.cert_id = gone.id and a.ended_at is null
), keys as (
    select gone.id, gone.names_key, gone.valkey_key from gone
    union
    select gone.id, gone.names_key, i.valkey_key from gone join knit_issued i on i.cert_id = gone.id
), buried as (
    insert into knit_tombstones (valkey_key, cert_id, names_key)
    select keys.valkey_key, keys.id, keys.names_key
    from keys
    where not exists (select 1 from knit_certs c where c.valkey_key = keys.valkey_key and c.id <> keys.id)
    on conflict (valkey_key) do update
    set cert_id = excluded.cert_id, names_key = excluded.names_key, removed_at = excluded.removed_at
)
select id from gone

-- name: switch
update knit_certs set enabled = %(enabled)s where id = %(id)s returning id

-- name: request
-- An attempt that has not got its certificate yet answers the request too: it must not lead to a second order.
with asked as (
    update knit_certs c
    set requested_at = coalesce(
        (
            select a.started_at
            from knit_attempts a
            where a.cert_id = c.id and a.ended_at is null and a.step not in ('issued', 'publishing')
        ),
        now()
    )
    where c.id = %(id)s
    returning c.id
), retried as (
    update knit_attempts a set retry_at = null, tries = 0 from asked where a.cert_id = asked.id and a.ended_at is null
), scheduled as (
    insert into knit_schedule (cert_id)
    select id from asked
    on conflict (cert_id) do update set check_at = '-infinity', retry_at = null
)
select id from asked

-- name: listing
select c.id, c.enabled, c.domains, c.names_key, c.provider, c.valkey_key, c.cert_path, c.key_path,
       c.not_after, c.last_renewed, c.last_error, c.issuer, c.key_type, c.profile, c.preferred_chain,
       c.renew_before, c.requested_at, i.published_at, a.step,
       greatest(s.retry_at, a.retry_at) as retry_at, coalesce(s.failures, 0) as failures,
       nullif(s.check_at, '-infinity') as check_at
from knit_certs c
left join knit_issued i on i.cert_id = c.id
left join knit_schedule s on s.cert_id = c.id
left join knit_attempts a on a.cert_id = c.id and a.ended_at is null
where %(id)s::bigint is null or c.id = %(id)s
order by c.id
