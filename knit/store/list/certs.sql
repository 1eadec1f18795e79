-- name: lock_list
select pg_advisory_xact_lock(%(key)s)

-- name: any_unseen
select exists (select 1 from knit_certs where seen is distinct from wanted) as found

-- name: unseen
-- Texts that are far too long are cut: enough is left of them to say so.
select c.id, left(coalesce(c.all_domains, c.domains), 100001) as domains, left(c.provider, 200) as provider,
       left(c.valkey_key, 2000) as valkey_key, left(c.cert_path, 5000) as cert_path, left(c.key_path, 5000) as key_path,
       left(c.issuer, 200) as issuer, left(c.key_type, 200) as key_type, left(c.profile, 200) as profile,
       left(c.preferred_chain, 1000) as preferred_chain, c.renew_before, c.reuse_key, c.allow_staging,
       coalesce(c.requested_at > now() + interval '1 day', false) as ahead, c.names_key, c.wanted,
       c.not_after is not null as issued
from knit_certs c
where c.seen is distinct from c.wanted and c.enabled = %(enabled)s and c.id > %(after)s
order by c.id
limit %(limit)s

-- name: adopt_ordinary
-- The next new rows, if each of them is ordinary: plainly good by itself, never adopted, published or asked for. What
-- they have for themselves the unique indexes judge; what these cannot see is asked of them here.
with rows as materialized (
    select c.id, c.domains, c.wanted, c.valkey_key, c.cert_file, c.key_file,
           c.names_key is null and c.all_domains is null and c.requested_at is null and c.profile is null
           and c.preferred_chain is null and c.renew_before is null and c.issuer = any(%(issuers)s) and c.key_type = any(%(key_types)s)
           and length(c.domains) <= 237
           and (length(c.domains) <= 63 or c.domains !~ '[^.,]{64}')
           and c.domains ~ (
               '^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?'
               '(,(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?)*$'
           )
           and (
               strpos(c.domains, ',') = 0
               or (select count(name) = count(distinct name) from unnest(string_to_array(c.domains, ',')) as name)
           )
           and (
               strpos(c.domains, '*') = 0
               or not exists (
                   select from unnest(string_to_array(c.domains, ',')) as name
                   where name !~ '^\*'
                     and '*' || substr(name, strpos(name, '.')) = any(string_to_array(c.domains, ','))
               )
           )
           and length(c.provider) <= 32 and c.provider ~ '^[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9_-]*)?$'
           and length(c.valkey_key) <= 1024 and c.valkey_key ~ '^[!-~]+$'
           and length(c.cert_path) <= 4096 and c.cert_path ~ '^[!-~]+$'
           and length(c.key_path) <= 4096 and c.key_path ~ '^[!-~]+$' as ordinary
    from knit_certs c
    where c.seen is distinct from c.wanted and c.enabled = %(enabled)s and c.id > %(after)s
    order by c.id
    limit %(limit)s
), files as materialized (
    select hashtextextended(cert_file, 0) as file from rows union all select hashtextextended(key_file, 0) from rows
), verdict as materialized (
    select count(*) as count, max(id) as last, string_agg(valkey_key, E'\n') as keys,
           bool_and(ordinary)
           and (select count(file) = count(distinct file) from files)
           and not exists (select 1 from rows r join knit_issued i on i.cert_id = r.id)
           and not exists (select 1 from rows r join knit_issued i on i.valkey_key = r.valkey_key)
           and not exists (
               select 1
               from rows r
               join knit_certs c
                   on case when c.names_key is not null then hashtextextended(c.key_file, 0) end
                      = hashtextextended(r.cert_file, 0)
           )
           and not exists (
               select 1
               from rows r
               join knit_certs c
                   on case when c.names_key is not null then hashtextextended(c.cert_file, 0) end
                      = hashtextextended(r.key_file, 0)
           ) as ordinary
    from rows
), named as (
    select id, wanted, string_to_array(domains, ',') as names,
           case
               when strpos(domains, ',') = 0 then domains
               else (
                   select string_agg(name, ',' order by name collate "C")
                   from unnest(string_to_array(domains, ',')) as name
               )
           end as names_key
    from rows
), adopted as (
    update knit_certs c
    set names = named.names, names_key = named.names_key, seen = named.wanted,
        last_error = case when c.last_error like 'left out: %%' then null else c.last_error end
    from named, verdict
    where verdict.ordinary and c.id = named.id
    returning c.id
), retried as (
    update knit_attempts a set retry_at = null from adopted where a.cert_id = adopted.id and a.ended_at is null
), scheduled as (
    insert into knit_schedule (cert_id)
    select id from adopted
    on conflict (cert_id) do update set check_at = '-infinity', failures = 0, retry_at = null, moving = false
)
select count, last, keys, ordinary from verdict

-- name: holders
-- Lists of texts come as one text: psycopg takes ten times as long to write an array.
-- Certificates that have one of these names, keys or paths; also rows that have lost their names meanwhile.
select c.id, c.domains, c.names_key, c.valkey_key, i.valkey_key as published, c.cert_file, c.key_file
from knit_certs c
left join knit_issued i on i.cert_id = c.id
where c.id = any(
    array(
        select id
        from knit_certs
        where hashtextextended(names_key, 0) = any(
            array(select hashtextextended(wanted, 0) from unnest(string_to_array(%(names)s, E'\x1e')) as wanted)
        )
        union
        select id
        from knit_certs
        where case when names_key is not null then hashtextextended(valkey_key, 0) end = any(
            array(select hashtextextended(wanted, 0) from unnest(string_to_array(%(valkey_key)s, E'\x1e')) as wanted)
        )
        union
        select cert_id from knit_issued where valkey_key = any(string_to_array(%(valkey_key)s, E'\x1e'))
        union
        select id
        from knit_certs
        where case when names_key is not null then hashtextextended(cert_file, 0) end = any(
            array(select hashtextextended(wanted, 0) from unnest(string_to_array(%(path)s, E'\x1e')) as wanted)
        )
        union
        select id
        from knit_certs
        where case when names_key is not null then hashtextextended(key_file, 0) end = any(
            array(select hashtextextended(wanted, 0) from unnest(string_to_array(%(path)s, E'\x1e')) as wanted)
        )
    )
)
order by c.id

-- name: unname
update knit_certs set names_key = null, seen = null where id = any(%(ids)s)

-- name: adopt
-- `seen` is what was looked at: a change made meanwhile is found by the next pass. What has changed about these
-- certificates concerns their schedule: they are looked at now, whatever failed before the change.
with rows as (
    select *
    from unnest(
        %(ids)s::bigint[], string_to_array(%(names)s, E'\x1e'), string_to_array(%(keys)s, E'\x1e'),
        string_to_array(%(seen)s, E'\x1e')
    ) as rows (id, names, names_key, seen)
), adopted as (
    update knit_certs c
    set names = string_to_array(rows.names, ','), names_key = rows.names_key, seen = rows.seen,
        last_error = case when c.last_error like 'left out: %%' then null else c.last_error end
    from rows
    where c.id = rows.id
    returning c.id, c.valkey_key, c.cert_path, c.key_path
), retried as (
    update knit_attempts set retry_at = null where cert_id = any(%(ids)s) and ended_at is null
)
insert into knit_schedule (cert_id, moving)
select c.id,
       i.cert_id is not null
       and (c.valkey_key, c.cert_path, c.key_path) is distinct from (i.valkey_key, i.cert_path, i.key_path)
from adopted c
left join knit_issued i on i.cert_id = c.id
on conflict (cert_id) do update set check_at = '-infinity', failures = 0, retry_at = null, moving = excluded.moving

-- name: adopt_one
-- What a command has written needs no pass to look at it. What is as it was keeps its schedule.
with adopted as (
    update knit_certs c
    set seen = wanted, last_error = case when last_error like 'left out: %%' then null else last_error end
    where id = %(id)s and seen is distinct from wanted
    returning c.id, c.valkey_key, c.cert_path, c.key_path
), retried as (
    update knit_attempts a set retry_at = null from adopted where a.cert_id = adopted.id and a.ended_at is null
)
insert into knit_schedule (cert_id, moving)
select c.id,
       i.cert_id is not null
       and (c.valkey_key, c.cert_path, c.key_path) is distinct from (i.valkey_key, i.cert_path, i.key_path)
from adopted c
left join knit_issued i on i.cert_id = c.id
on conflict (cert_id) do update set check_at = '-infinity', failures = 0, retry_at = null, moving = excluded.moving

-- name: leave_out
update knit_certs c
set names = null, names_key = null, seen = null, last_error = rows.error
from unnest(%(ids)s::bigint[], %(errors)s::text[]) as rows (id, error)
where c.id = rows.id
  and (c.names_key is not null or c.seen is not null or c.last_error is distinct from rows.error)

-- name: by_names
select id
from knit_certs
where hashtextextended(names_key, 0) = hashtextextended(%(names_key)s, 0) and names_key = %(names_key)s

-- name: with_name
select id, coalesce(all_domains, domains) as domains
from knit_certs
where %(name)s = any(string_to_array(names_key, ','))
order by id
limit 3

-- name: left_out
select id, coalesce(all_domains, domains) as domains from knit_certs where names_key is null order by id

-- name: forget_tombstone
delete from knit_tombstones where valkey_key = %(valkey_key)s

-- name: remove
-- A trigger leaves tombstones. A worker that is on it finds its attempt ended, and stops.
with gone as (
    delete from knit_certs where id = %(id)s returning id
), stopped as (
    update knit_attempts a
    set step = 'abandoned', ended_at = now(), updated_at = now(), error = 'the certificate was removed'
    from gone
    where a.cert_id = gone.id and a.ended_at is null
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

-- name: tries
select id, started_at, ended_at, step, reason, directory, order_url, error, error_class,
       nullif(retry_at, 'infinity') as retry_at
from knit_attempts
where cert_id = %(id)s
order by started_at desc
limit 20

-- name: astray
-- How many enabled certificates are not as wanted: left out, not published, published for other names or otherwise, or
-- failing.
select count(*) as found
from knit_certs c
left join knit_issued i on i.cert_id = c.id
left join knit_schedule s on s.cert_id = c.id
where c.enabled
  and (
      c.names_key is null or i.published_at is null or s.failures > 0 or c.last_error is not null
      or (c.names_key, c.valkey_key, c.cert_path, c.key_path)
         is distinct from (i.names_key, i.valkey_key, i.cert_path, i.key_path)
      or c.key_type not in ('', i.key_type) or c.profile <> coalesce(i.profile, '')
      or c.preferred_chain <> coalesce(i.preferred_chain, '')
      -- What a name stands for, and what an issuer has for its own, only processes know.
      or c.issuer not in ('', 'acme', 'imported') and not exists (
          select
          from knit_issuers n
          where n.directory = i.directory and n.name = any(regexp_split_to_array(trim(c.issuer), '\s*,\s*'))
      )
  )

-- name: listing
-- A wait, and failures, that belong to another CA than the confirmed one hold no longer. Texts that are far too long,
-- in rows that are left out, are cut.
select c.id, c.enabled, left(coalesce(c.all_domains, c.domains), 100001) as domains, c.names_key,
       left(c.provider, 5000) as provider, left(c.valkey_key, 5000) as valkey_key,
       left(c.cert_path, 5000) as cert_path, left(c.key_path, 5000) as key_path,
       c.not_after, c.last_renewed, left(c.last_error, 5000) as last_error, c.issuer, c.key_type, c.profile,
       left(c.preferred_chain, 5000) as preferred_chain,
       c.renew_before, c.reuse_key, c.allow_staging, c.requested_at, i.published_at, a.step,
       greatest(
           case when s.retry_directory <> all(n.directories) then null else s.retry_at end,
           case when a.directory <> all(n.directories) then null else a.retry_at end
       ) as retry_at,
       case when s.retry_directory <> all(n.directories) then 0 else coalesce(s.failures, 0) end as failures,
       nullif(s.check_at, '-infinity') as check_at, i.not_before, i.directory,
       coalesce(i.key_since, i.issued_at) as key_since,
       case when s.check_at > now() and a.id is null then s.no_room end as waits_for,
       c.seen is distinct from c.wanted as changed,
       r.window_start, r.window_end, r.chosen_at as suggested_at, r.checked_at as window_checked_at, r.explanation_url,
       i.published_at is not null and (i.directory, i.serial) in (
           select directory, serial from knit_revocations where state = 'revoked'
       ) as revoked,
       case when s.refusal = c.last_error then s.refusal_class end as refusal_class
from knit_certs c
left join knit_issued i on i.cert_id = c.id
left join knit_ari r on r.cert_id = c.id and r.ari_id = i.ari_id
left join knit_schedule s on s.cert_id = c.id
left join knit_attempts a on a.cert_id = c.id and a.ended_at is null
cross join (select array_agg(directory) as directories from knit_issuers) n
where %(id)s::bigint is null or c.id = %(id)s
order by c.id
