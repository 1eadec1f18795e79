-- Certificates that are to be revoked, and those that were: what of them is told by, and no bytes of them. One row is open
-- for each. `copy` says where the bytes are that the CA is shown: still only where they are published (`wanted`), in a
-- copy beside it (`kept`), nowhere (`none`). With `replace`, another certificate is published first.
create table knit_revocations (
    id          bigint generated always as identity primary key,
    cert_id     bigint not null,
    names_key   text not null,
    serial      text not null,
    fingerprint text,
    issuer      text not null,
    directory   text not null,
    valkey_key  text not null,
    not_after   timestamptz not null,
    reason      text not null,
    replace     boolean not null,
    asked_at    timestamptz not null default now(),
    asked_by    text not null default knit_actor(),
    state       text not null default 'wanted' check (state in ('wanted', 'revoked', 'refused')),
    copy        text not null default 'wanted' check (copy in ('wanted', 'kept', 'none')),
    tries       integer not null default 0,
    next_try_at timestamptz not null default now(),
    error_class text,
    error       text,
    ended_at    timestamptz
);
create unique index knit_revocations_open on knit_revocations (directory, serial) where state = 'wanted';
create index knit_revocations_copied on knit_revocations (ended_at) where state <> 'wanted' and copy = 'kept';
create index knit_revocations_cert on knit_revocations (cert_id, id);

-- Open ones that wait for another certificate to be published. One that is removed or disabled gets none.
create view knit_revocations_waiting as
select r.id
from knit_revocations r
join knit_certs c on c.id = r.cert_id and c.enabled
where r.state = 'wanted' and r.replace
  and not exists (
      select 1
      from knit_issued i
      where i.cert_id = r.cert_id and i.published_at is not null
        and (i.directory, i.serial) is distinct from (r.directory, r.serial)
  );

-- Those with something to do now: a copy to be made, a CA to be asked, a copy that nobody needs any more. A refused one
-- keeps its copy for a week, so that it can be asked for again.
create view knit_revocations_due as
select r.id
from knit_revocations r
where r.state = 'wanted'
  and (r.copy = 'wanted' or r.next_try_at <= now() and r.id not in (select id from knit_revocations_waiting))
union all
select r.id
from knit_revocations r
where r.state <> 'wanted' and r.copy = 'kept' and (r.state = 'revoked' or r.ended_at < now() - interval '7 days');

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note_revocation() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    told jsonb := jsonb_build_object('serial', new.serial, 'issuer', new.issuer, 'reason', new.reason);
begin
    insert into knit_events (kind, severity, cert_id, actor, detail)
    values (
        case
            when new.state = 'revoked' then 'certificate revoked'
            when new.state = 'refused' then 'revocation refused'
            when tg_op = 'UPDATE' and new.tries > old.tries then 'revocation failed'
            else 'revocation requested'
        end,
        case
            when new.state = 'refused' or (tg_op = 'UPDATE' and new.state = 'wanted' and new.tries > old.tries) then 'error'
            else 'notice'
        end,
        new.cert_id, knit_actor(),
        told || jsonb_strip_nulls(case
            when new.state = 'refused' then jsonb_build_object('class', new.error_class, 'error', new.error)
            when new.state = 'revoked' then '{}'
            when tg_op = 'UPDATE' and new.tries > old.tries then
                jsonb_build_object('class', new.error_class, 'error', new.error, 'next_try', new.next_try_at)
            else jsonb_build_object('replace', new.replace)
        end)
    );
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_note after insert on knit_revocations for each row execute function knit_note_revocation();
create trigger knit_note_change after update on knit_revocations for each row
    when (new.state <> old.state or new.tries > old.tries
          or (new.reason, new.replace) is distinct from (old.reason, old.replace))
    execute function knit_note_revocation();
