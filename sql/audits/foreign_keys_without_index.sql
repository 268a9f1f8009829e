-- Foreign keys of our tables that no index supports: deleting a user or a connection would scan the whole table.

select
    'foreign_keys_without_index' as audit,
    'WARN' as level,
    format('%s on %s', k.conname, k.conrelid::regclass) as object,
    format('Deleting from %s scans this table for each row.', k.confrelid::regclass) as detail,
    format(
        'create index on %s (%s);', k.conrelid::regclass,
        (
            select string_agg(quote_ident(a.attname), ', ' order by c.position)
            from unnest(k.conkey) with ordinality as c (attnum, position)
            join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = c.attnum
        )
    ) as remediation
from pg_catalog.pg_constraint as k
join pg_catalog.pg_class as t on t.oid = k.conrelid
join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
where k.contype = 'f'
    and (
        n.nspname = 'integrations_private'
        or (n.nspname = 'public' and t.relname in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
    )
    and not exists (
        select
        from pg_catalog.pg_index as i
        where i.indrelid = k.conrelid
            and i.indisvalid
            and i.indpred is null
            -- The key's columns, in any order, are the first ones of the index.
            and (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
    )
order by object;
