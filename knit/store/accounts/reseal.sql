-- name: all
select directory, issuer, private_key, next_key from knit_accounts
where %(issuer)s::text is null or issuer = %(issuer)s
order by issuer, directory

-- name: original
select '' as directory, %(issuer)s::text as issuer, private_key, null::text as next_key from knit_acme_account where private_key <> ''

-- name: seal
update knit_accounts set private_key = %(after)s, next_key = %(next_after)s
where directory = %(directory)s and issuer = %(issuer)s
  and private_key = %(private_key)s and next_key is not distinct from %(next_key)s

-- name: seal_original
update knit_acme_account set private_key = %(after)s where private_key = %(private_key)s

-- name: holding
-- Who has a snapshot from before: what it might still see stays in the file. Of other roles only some may look.
select pid from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
  and (backend_xmin is not null or backend_xid is not null)
union all
select 0 from pg_prepared_xacts where database = current_database()
union all
select 0 from pg_replication_slots where xmin is not null or catalog_xmin is not null
limit 1

-- name: keepers
-- What keeps old versions of rows in the files of tables, or in the write-ahead log, for as long as it is there.
select 'prepared transaction ' || gid as name from pg_prepared_xacts where database = current_database()
union all
select 'replication slot ' || slot_name from pg_replication_slots
order by name

-- name: file
select pg_relation_filenode(%(table)s::regclass) as node

-- name: rewrite_knit_accounts
vacuum full knit_accounts

-- name: rewrite_knit_acme_account
vacuum full knit_acme_account
