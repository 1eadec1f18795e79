-- What nodes report: which certificate each has, and how far it has come there. No bytes of certificates.

-- `head` is the digest of the head of the last report, `parts` the digests of its parts, as they are recorded here;
-- `revision` counts the reports, so that one that was read before another was recorded is not recorded after it.
-- `last_report` is by this server's clock. `silent` says that this was told.
create table knit_nodes (
    name            text primary key,
    version         text not null default '',
    first_seen      timestamptz not null default now(),
    last_report     timestamptz not null default now(),
    report_interval interval not null default interval '10 minutes',
    head            text,
    parts           jsonb not null default '{}',
    revision        bigint not null default 1,
    silent          boolean not null default false,
    refused         text
);

-- The last report of a node that was forgotten: it lies there for a while, and only another one makes it a node again.
create table knit_nodes_forgotten (
    name text primary key,
    head text,
    at   timestamptz not null default now()
);

-- What each node said last of each certificate. `done`: the last step that its place has is behind what is in its files.
create table knit_served (
    node               text not null references knit_nodes on delete cascade,
    key                text not null,
    part               smallint not null,
    place              text not null,
    name               text not null,
    cert_id            bigint,
    generation         bigint,
    serial             text,
    fingerprint        text,
    not_after          timestamptz not null,
    published_at       timestamptz,
    written_at         timestamptz,
    reloaded_at        timestamptz,
    served_at          timestamptz,
    served_on          text,
    probed             boolean not null,
    waits              text,
    orphaned           boolean not null,
    done               boolean not null,
    failed_step        text,
    failed_error       text,
    failed_output      text,
    failed_at          timestamptz,
    next_try           timestamptz,
    rolled_back        boolean not null default false,
    failed_generation  bigint,
    primary key (node, key)
);
create index knit_served_key on knit_served (key);
create index knit_served_part on knit_served (node, part);

-- The first time of each step of each generation on each node, with what showed it: the newest five generations of each.
create table knit_served_history (
    node         text not null references knit_nodes on delete cascade,
    key          text not null,
    generation   bigint not null,
    cert_id      bigint,
    serial       text,
    fingerprint  text,
    published_at timestamptz,
    written_at   timestamptz,
    reloaded_at  timestamptz,
    served_at    timestamptz,
    served_on    text,
    failed_at    timestamptz,
    failed_step  text,
    failed_error text,
    rolled_back  boolean not null default false,
    recorded_at  timestamptz not null default now(),
    primary key (node, key, generation)
);
create index knit_served_history_recorded on knit_served_history (recorded_at);

-- When all nodes that take a certificate were first found to serve a generation: the newest one of each.
create table knit_served_everywhere (
    cert_id    bigint primary key references knit_certs on delete cascade,
    generation bigint not null,
    at         timestamptz not null default now(),
    nodes      integer not null
);

-- Every certificate that is published, on every node that takes it.
create view knit_served_now as
select s.node, s.key, i.cert_id, s.place, s.generation, i.generation as published_generation, n.last_report,
       x.silent, x.current,
       s.done and x.current and not x.silent as fine,
       case when s.probed then s.served_at else s.reloaded_at end as reached_at
from knit_served s
join knit_nodes n on n.name = s.node
join knit_issued i on i.valkey_key = s.key and i.published_at is not null
cross join lateral (
    select now() > n.last_report + 3 * n.report_interval as silent,
           coalesce(case
               when s.generation is null or i.generation is null then s.serial = i.serial
               else s.generation >= i.generation
           end, false) as current
) x
where not s.orphaned;

-- With its owner's rights, for whoever writes may have none on other tables; in the schema that it was made in.
do $do$
begin
    execute format($make$
create or replace function knit_note_served() returns trigger language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
declare
    what text;
    how  text := 'notice';
    cert bigint;
    told jsonb;
begin
    if tg_table_name = 'knit_nodes' then
        if tg_op = 'DELETE' then
            what := 'node forgotten';
            told := jsonb_build_object('node', old.name, 'last_report', old.last_report);
        elsif tg_op = 'INSERT' then
            what := 'node first seen';
            told := jsonb_build_object('node', new.name, 'version', new.version);
        elsif new.silent and not old.silent then
            what := 'node silent';
            how := 'warning';
            told := jsonb_build_object('node', new.name, 'last_report', new.last_report);
        elsif old.silent and not new.silent then
            what := 'node back';
            told := jsonb_build_object('node', new.name, 'last_report', old.last_report);
        else
            what := 'node report refused';
            how := 'warning';
            told := jsonb_build_object('node', new.name, 'error', new.refused);
        end if;
    elsif tg_table_name = 'knit_served_history' then
        what := 'deployment failed';
        how := 'error';
        cert := new.cert_id;
        told := jsonb_build_object('node', new.node, 'valkey_key', new.key, 'generation', new.generation,
                                   'step', new.failed_step, 'error', new.failed_error, 'rolled_back', new.rolled_back);
    else
        what := 'certificate served';
        how := 'info';
        cert := new.cert_id;
        told := jsonb_build_object('generation', new.generation, 'nodes', new.nodes);
    end if;
    -- A node may name any certificate.
    if cert is not null and not exists (select 1 from knit_certs c where c.id = cert) then
        cert := null;
    end if;
    insert into knit_events (kind, severity, cert_id, actor, detail)
    values (what, how, cert, knit_actor(), jsonb_strip_nulls(told));
    return null;
end
$body$
    $make$, current_schema());
end
$do$;

create trigger knit_note after insert or delete on knit_nodes for each row execute function knit_note_served();
create trigger knit_note_change after update on knit_nodes for each row
    when (old.silent <> new.silent or (new.refused is not null and new.refused is distinct from old.refused))
    execute function knit_note_served();
create trigger knit_note after insert on knit_served_history for each row
    when (new.failed_at is not null) execute function knit_note_served();
create trigger knit_note_change after update on knit_served_history for each row
    when (new.failed_at is not null and old.failed_at is null) execute function knit_note_served();
create trigger knit_note after insert on knit_served_everywhere for each row execute function knit_note_served();
create trigger knit_note_change after update on knit_served_everywhere for each row
    when (new.generation > old.generation) execute function knit_note_served();
