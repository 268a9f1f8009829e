-- Anything that anon may do with our objects: the answer is nothing, also through PUBLIC and memberships.

with visitors as (
    select r.oid from pg_catalog.pg_roles as r where r.rolname = 'anon'
),
ours as (
    select c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S')
        and (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'integration_events_id_seq', 'synced_records',
                'sync_cursors'
            ))
        )
),
may (object, what) as (
    select o.name, lower(p.privilege)
    from visitors as v, ours as o, unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) as p (privilege)
    where o.relkind <> 'S' and has_any_column_privilege(v.oid, o.oid, p.privilege)
    union all
    select o.name, lower(p.privilege)
    from visitors as v, ours as o, unnest(array['DELETE', 'TRUNCATE', 'TRIGGER']) as p (privilege)
    where o.relkind <> 'S' and has_table_privilege(v.oid, o.oid, p.privilege)
    union all
    select o.name, lower(p.privilege)
    from visitors as v, ours as o, unnest(array['USAGE', 'SELECT', 'UPDATE']) as p (privilege)
    where o.relkind = 'S' and has_sequence_privilege(v.oid, o.oid, p.privilege)
    union all
    select f.oid::regprocedure::text, 'execute'
    from visitors as v, pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    where n.nspname = 'integrations_private' and has_function_privilege(v.oid, f.oid, 'EXECUTE')
    union all
    select format('schema %I', n.nspname), lower(p.privilege)
    from visitors as v, pg_catalog.pg_namespace as n, unnest(array['USAGE', 'CREATE']) as p (privilege)
    where n.nspname = 'integrations_private' and has_schema_privilege(v.oid, n.oid, p.privilege)
)
select
    'anonymous_privileges' as audit,
    'ERROR' as level,
    m.object,
    format('Visitors who are not signed in hold: %s.', string_agg(m.what, ', ' order by m.what)) as detail,
    format(
        'revoke all on %s from public, anon;',
        case when bool_or(m.what = 'execute') then 'function ' else '' end || m.object
    ) as remediation
from may as m
group by m.object
order by m.object;
