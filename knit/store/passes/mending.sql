-- name: mend
-- Rows of knit's own that were lost, or that hold what knit never writes: an instant beyond every wait that there is, a
-- number that cannot be counted on from. Each becomes as if it were new, so that nothing waits for ever. What is known
-- of a published certificate is taken from its value again.
with unscheduled as (
    insert into knit_schedule (cert_id)
    select c.id
    from knit_certs c
    where c.names_key is not null and not exists (select 1 from knit_schedule s where s.cert_id = c.id)
    on conflict do nothing
    returning cert_id
), forgotten as (
    delete from knit_issued
    where not (isfinite(not_before) and isfinite(not_after) and isfinite(issued_at) and not_before < not_after)
    returning cert_id
), generations as (
    update knit_issued set generation = extract(epoch from now())::bigint
    where generation > extract(epoch from now())::bigint + %(farthest)s
    returning cert_id
), asleep as (
    -- Later than its certificate ends, or without one and with nothing to wait for. Room may be waited for for years.
    select s.cert_id
    from knit_schedule s
    left join knit_issued i on i.cert_id = s.cert_id
    left join forgotten f on f.cert_id = s.cert_id
    where s.check_at > now() and s.no_room is null
      and case
          when i.cert_id is not null and f.cert_id is null
          then s.check_at > greatest(i.not_after, now() + interval '8 days')
          else coalesce(s.retry_at <= now(), true)
               and not exists (select 1 from knit_attempts a where a.cert_id = s.cert_id and a.ended_at is null)
               and exists (select 1 from knit_certs c where c.id = s.cert_id and c.enabled and c.names_key is not null)
      end
), refused as (
    -- A process that does not know of imported certificates has looked for their issuer, and found none.
    select s.cert_id
    from knit_schedule s
    join knit_certs c on c.id = s.cert_id
    where s.failures > 0 and s.retry_directory is null and c.issuer = 'imported'
), schedules as (
    update knit_schedule s
    set check_at = '-infinity',
        retry_at = case
            when retry_at <= now() + interval '8 days' and cert_id not in (select cert_id from refused) then retry_at
        end,
        failures = case
            when cert_id in (select cert_id from refused) then 0 else least(greatest(failures, 0), 1000)
        end
    where retry_at > now() + interval '8 days' or failures not between 0 and 1000000
       or cert_id in (select cert_id from asleep) or cert_id in (select cert_id from refused)
    returning cert_id
), attempts as (
    update knit_attempts
    set retry_at = case when retry_at <= now() + interval '8 days' then retry_at end,
        tries = least(greatest(tries, 0), 1000), starts = least(greatest(starts, 0), 1000)
    where ended_at is null
      and (
          retry_at > now() + interval '8 days' or tries not between 0 and 1000000 or starts not between 0 and 1000000
      )
    returning cert_id
), suggestions as (
    -- As if the CA had never been asked about it.
    update knit_ari
    set next_poll_at = now(), failures = 0, window_start = null, window_end = null, chosen_at = null, checked_at = null,
        explanation_url = null
    where next_poll_at > now() + interval '3 days' or failures not between 0 and 1000000
       or not (isfinite(window_start) and isfinite(window_end) and isfinite(chosen_at) and isfinite(checked_at))
    returning cert_id
), pauses as (
    update knit_pauses set until = now(), refusals = 1
    where until > now() + interval '8 days' or refusals not between 0 and 1000000
    returning issuer
), proofs as (
    delete from knit_validations where 'infinity' = any(tried) returning name
), marks as (
    delete from knit_marks where done_at > now() + interval '1 day' and name <> 'next pass' returning name
), workers as (
    delete from knit_workers where seen_at > now() + interval '1 day' returning name
)
select array(
    select cert_id from unscheduled
    union select cert_id from forgotten
    union select cert_id from generations
    union select cert_id from schedules
    union select cert_id from attempts
    union select cert_id from suggestions
    order by cert_id
) as certificates,
(select count(*) from pauses) + (select count(*) from proofs) + (select count(*) from marks)
+ (select count(*) from workers) as others
