-- name: ready
select {spec of c as c_},
       {issued of i as i_},
       {attempt of a as a_}, a.serial as a_serial,
       a.ari_id as a_ari_id, a.not_before as a_not_before, a.not_after as a_not_after, a.sha256 as a_sha256,
       a.generation as a_generation, a.tries as a_tries,
       exists (select 1 from knit_compromised_keys k where k.spki_sha256 = a.spki_sha256) as compromised
from knit_attempts a
left join knit_certs c on c.id = a.cert_id and c.names_key is not null
left join knit_issued i on i.cert_id = a.cert_id
where a.ended_at is null
  and (a.step = 'issued' or a.step = 'publishing' and (%(begun)s or a.updated_at < now() - interval '15 seconds'))
  and a.cert_id not in (select cert_id from knit_revocations where state = 'wanted' and copy = 'wanted')
order by a.id

-- name: publishing
-- Of two that have read the same attempt, the second finds that its generation has changed and leaves it alone; with
-- the very same generation it may be the first one again, whose answer was lost, and there is no harm in two.
update knit_attempts a
set step = 'publishing', generation = p.generation, updated_at = now()
from unnest(%(ids)s::bigint[], %(generations)s::bigint[], %(before)s::bigint[]) as p (id, generation, before)
where a.id = p.id and a.ended_at is null and a.step in ('issued', 'publishing')
  and (a.generation is not distinct from p.before or a.generation = p.generation)
  and a.cert_id not in (select cert_id from knit_revocations where state = 'wanted' and copy = 'wanted')
returning a.id

-- name: record_published
-- A certificate removed meanwhile, and a key it has moved away from, are left to the next prune. The certificate is to
-- be looked at now: the pass that the scheduler asks for because of that plans when this one has to be renewed.
-- published, unwanted and before only read, as things were before this statement. Written: ended (the attempts),
-- recorded (knit_issued), buried (tombstones), scheduled (knit_schedule), and at the end the rows of the list.
with published as (
    select * from jsonb_populate_recordset(null::knit_issued, %(published)s)
), ended as (
    update knit_attempts a
    set step = 'published', ended_at = now(), updated_at = now(), generation = p.generation, error_class = null,
        error = null, retry_at = null
    from published p
    where a.id = p.attempt_id and a.ended_at is null
    returning {issued of p}, p.attempt_id, a.started_at, a.spki_sha256
), unwanted as (
    -- Given up meanwhile, because the certificate was removed or changed: what was written is nobody's.
    select p.valkey_key, p.cert_id, p.names_key
    from published p
    join knit_attempts a on a.id = p.attempt_id
    where a.ended_at is not null and a.step <> 'published'
), before as (
    select i.cert_id, i.names_key, i.valkey_key
    from knit_issued i
    join ended e on e.cert_id = i.cert_id
    where i.valkey_key <> e.valkey_key
), recorded as (
    insert into knit_issued as i
        ({issued}, published_at, attempt_id, spki_sha256, key_since)
    select {issued of e}, now(), e.attempt_id, e.spki_sha256, e.started_at
    from ended e
    join knit_certs c on c.id = e.cert_id
    on conflict (cert_id) do update
    set {issued set from excluded}, published_at = excluded.published_at, attempt_id = excluded.attempt_id,
        spki_sha256 = excluded.spki_sha256,
        key_since = case
            when i.spki_sha256 = excluded.spki_sha256 then coalesce(i.key_since, i.issued_at)
            else excluded.key_since
        end
    where i.generation <= excluded.generation
), buried as (
    insert into knit_tombstones (valkey_key, cert_id, names_key)
    select distinct on (valkey_key) valkey_key, cert_id, names_key
    from (
        select valkey_key, cert_id, names_key from before
        union all
        select e.valkey_key, e.cert_id, e.names_key
        from ended e
        where not exists (select 1 from knit_certs c where c.id = e.cert_id)
        union all
        select valkey_key, cert_id, names_key from unwanted
    ) dead
    on conflict (valkey_key) do update set removed_at = excluded.removed_at
), scheduled as (
    insert into knit_schedule (cert_id, check_at, moving)
    select c.id, now(),
           (c.valkey_key, c.cert_path, c.key_path) is distinct from (e.valkey_key, e.cert_path, e.key_path)
    from ended e
    join knit_certs c on c.id = e.cert_id
    on conflict (cert_id) do update
    set check_at = excluded.check_at, failures = 0, retry_at = null, moving = excluded.moving
)
update knit_certs c
set not_after = e.not_after, last_renewed = now(), last_error = null,
    requested_at = case when c.requested_at > e.started_at and c.requested_at <= now() then c.requested_at end
from ended e
where c.id = e.cert_id

-- name: close
update knit_attempts
set step = 'abandoned', ended_at = now(), updated_at = now(), error = %(why)s
where id = %(id)s and ended_at is null

-- name: moved
select {spec of c},
       {issued of i as i_}
from knit_schedule s
join knit_issued i on i.cert_id = s.cert_id
join knit_certs c on c.id = s.cert_id
where s.moving and c.enabled and c.names_key is not null and i.published_at is not null
  and (c.valkey_key, c.cert_path, c.key_path) is distinct from (i.valkey_key, i.cert_path, i.key_path)
order by c.id

-- name: recorded
select {spec of c},
       {issued of i as i_}
from knit_issued i
join knit_certs c on c.id = i.cert_id
where i.valkey_key = any(%(keys)s) and c.enabled and c.names_key is not null
  and i.published_at is not null
order by c.id

-- name: send_back
-- Its order may still give the chain, and its key may be sound.
with sent_back as (
    update knit_attempts
    set step = 'finalizing', tries = tries + 1, updated_at = now(), error_class = %(error_class)s, error = %(error)s,
        retry_at = %(retry_at)s
    where id = %(id)s and ended_at is null and step in ('issued', 'publishing')
    returning cert_id, directory
), shown as (
    update knit_certs c set last_error = %(error)s
    from sent_back
    where c.id = sent_back.cert_id
    returning c.id, sent_back.directory
)
insert into knit_schedule as s (cert_id, failures, retry_directory)
select id, 1, directory from shown
on conflict (cert_id) do update
set failures = case when s.retry_directory <> excluded.retry_directory then 1 else s.failures + 1 end,
    retry_at = case when s.retry_directory <> excluded.retry_directory then null else s.retry_at end,
    retry_directory = excluded.retry_directory

-- name: occupied
select i.valkey_key, i.cert_id, i.sha256
from knit_issued i
join knit_certs c on c.id = i.cert_id
where i.valkey_key = any(%(keys)s) and c.enabled and i.published_at is not null

-- name: give_up
with ended as (
    update knit_attempts
    set step = 'failed', ended_at = now(), updated_at = now(), error_class = %(error_class)s, error = %(error)s,
        retry_at = %(retry_at)s
    where id = %(id)s and ended_at is null
    returning cert_id, directory
), shown as (
    update knit_certs c set last_error = %(error)s from ended where c.id = ended.cert_id returning c.id, ended.directory
)
insert into knit_schedule as s (cert_id, failures, retry_at, retry_directory)
select id, 1, %(retry_at)s::timestamptz, directory from shown
on conflict (cert_id) do update
set failures = case when s.retry_directory <> excluded.retry_directory then 1 else s.failures + 1 end,
    retry_at = excluded.retry_at, retry_directory = excluded.retry_directory, check_at = '-infinity'

-- name: complain
-- A row that somebody's transaction holds goes without: the log says it too.
update knit_certs set last_error = %(error)s
where id in (select id from knit_certs where id = any(%(ids)s) for no key update skip locked)

-- name: record_refreshed
-- Only in place of what was read before the value was written. What was written in vain is to be removed, unless
-- another certificate's or a newer publication's key it is: that a removal sees.
with before as (
    select cert_id, names_key, valkey_key from knit_issued where cert_id = %(cert_id)s
), recorded as (
    update knit_issued
    set generation = %(generation)s, valkey_key = %(valkey_key)s, cert_path = %(cert_path)s, key_path = %(key_path)s,
        published_at = now()
    where cert_id = %(cert_id)s and generation = %(before)s and sha256 = %(sha256)s
    returning cert_id
), buried as (
    insert into knit_tombstones (valkey_key, cert_id, names_key)
    select before.valkey_key, before.cert_id, before.names_key
    from before
    join recorded on recorded.cert_id = before.cert_id
    where before.valkey_key <> %(valkey_key)s
    union all
    select %(valkey_key)s, %(cert_id)s, %(names_key)s
    where not exists (select 1 from recorded)
    on conflict (valkey_key) do update set removed_at = excluded.removed_at
), scheduled as (
    update knit_schedule s
    set moving = (c.valkey_key, c.cert_path, c.key_path) is distinct from (%(valkey_key)s, %(cert_path)s, %(key_path)s)
    from recorded
    join knit_certs c on c.id = recorded.cert_id
    where s.cert_id = recorded.cert_id
    returning s.cert_id, s.failures
), shown as (
    update knit_certs c
    set last_error = null
    from scheduled
    where c.id = scheduled.cert_id and c.last_error is not null and scheduled.failures = 0
)
select cert_id from recorded

-- name: wanted_keys
-- Also where a certificate is still published while its move to another key is under way, or while nobody has looked
-- at a change of its row yet, or its row has been left out since. These are few: each is looked up by itself, where a
-- join would read all that is published.
select (select string_agg(knit_line(valkey_key), E'\n') from knit_certs where enabled) as wanted,
       (
           select string_agg(
               (
                   select knit_line(i.valkey_key)
                   from knit_issued i
                   join knit_certs c on c.id = i.cert_id
                   where i.cert_id = x.id and c.enabled
               ),
               E'\n'
           )
           from (
               select cert_id as id from knit_schedule where moving
               union select id from knit_certs where seen is distinct from wanted
           ) as x
       ) as moving

-- name: removals
-- Not what is still to be copied, because it is to be revoked.
with dead as (
    select valkey_key from knit_tombstones
    union select i.valkey_key
    from knit_certs c
    join knit_issued i on i.cert_id = c.id
    where not c.enabled and i.published_at is not null
    union select c.valkey_key
    from knit_certs c
    where not c.enabled and not exists (select 1 from knit_issued i where i.cert_id = c.id)
)
select string_agg(knit_line(dead.valkey_key), E'\n') as keys, clock_timestamp() as at,
       exists (select 1 from knit_unexplained) as noted,
       (
           select string_agg(knit_line(i.valkey_key), E'\n')
           from (select distinct cert_id from knit_compromised_keys) k
           join knit_issued i on i.cert_id = k.cert_id
           join knit_certs c on c.id = k.cert_id
           where c.enabled
       ) as suspects
from dead
where dead.valkey_key not in (select valkey_key from knit_revocations where state = 'wanted' and copy = 'wanted')
  and not exists (select 1 from knit_certs c where c.enabled and c.valkey_key = dead.valkey_key)
  and not exists (
      select 1
      from knit_issued i
      join knit_certs c on c.id = i.cert_id
      where i.valkey_key = dead.valkey_key and c.enabled
  )

-- name: clear_removals
-- Only what was asked for when the values were looked at.
with cleared as (
    delete from knit_tombstones where valkey_key = any(%(keys)s) and removed_at <= %(at)s
)
update knit_issued i
set published_at = null
from knit_certs c
where c.id = i.cert_id and not c.enabled and i.valkey_key = any(%(keys)s) and i.published_at <= %(at)s
