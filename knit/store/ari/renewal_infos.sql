-- name: due
select exists (select 1 from knit_ari where next_poll_at <= now()) as due

-- name: take
-- A worker that dies before it has asked leaves them to another, ten minutes later.
with due as materialized (
    select cert_id
    from knit_ari
    where next_poll_at <= now()
    order by next_poll_at
    limit %(most)s
    for update skip locked
), taken as (
    update knit_ari r
    set next_poll_at = now() + interval '10 minutes'
    from due
    where r.cert_id = due.cert_id
    returning r.cert_id, r.ari_id, r.failures, r.checked_at is null as first
)
select t.cert_id, t.ari_id, i.issuer, i.directory, i.not_before, i.not_after, t.failures, t.first,
       c.enabled and i.published_at is not null and i.not_after > now() as wanted
from taken t
join knit_issued i on i.cert_id = t.cert_id and i.ari_id = t.ari_id
join knit_certs c on c.id = t.cert_id

-- name: give_back
update knit_ari set next_poll_at = now() where cert_id = any(%(ids)s)

-- name: keep
-- Of a certificate that has been issued anew meanwhile, nothing is kept. What another instant makes due sooner is looked at
-- then; when that is now, or an instant is gone, at once, by the pass that the scheduler asks for at planned instants.
with told as materialized (
    select *
    from jsonb_to_recordset(%(told)s) as t (
        cert_id bigint, ari_id text, next_poll_at timestamptz, window_start timestamptz, window_end timestamptz,
        chosen_at timestamptz, explanation_url text, error text
    )
), kept as (
    update knit_ari r
    set next_poll_at = t.next_poll_at,
        window_start = case when t.error is null then t.window_start else r.window_start end,
        window_end = case when t.error is null then t.window_end else r.window_end end,
        chosen_at = case when t.error is null then t.chosen_at else r.chosen_at end,
        explanation_url = case when t.error is null then t.explanation_url else r.explanation_url end,
        checked_at = case when t.error is not null then r.checked_at when t.chosen_at is not null then now() end,
        failures = case when t.error is null then 0 else least(r.failures, 1000) + 1 end,
        error = t.error
    from told t
    join knit_ari old on old.cert_id = t.cert_id
    where r.cert_id = t.cert_id and r.ari_id = t.ari_id
    returning r.cert_id, t.chosen_at, t.error is null and r.chosen_at is distinct from old.chosen_at as changed
)
update knit_schedule s
set check_at = greatest(k.chosen_at, now())
from kept k
where s.cert_id = k.cert_id and k.changed and s.check_at > greatest(k.chosen_at, now())
