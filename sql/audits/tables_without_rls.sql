-- Tables of ours without row level security. Without it a grant is a grant on every row.

select
    'tables_without_rls' as audit,
    'ERROR' as level,
    format('%I.%I', n.nspname, c.relname) as object,
    'Row level security is off: whoever holds a privilege on this table holds it on every row.' as detail,
    format('alter table %I.%I enable row level security;', n.nspname, c.relname) as remediation
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
    and not c.relrowsecurity
    and (
        n.nspname = 'integrations_private'
        or (n.nspname = 'public' and c.relname in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
    )
order by object;
