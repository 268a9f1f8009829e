-- Roles for whom our tables have no row level security: their owner, where that is a role requests or the worker
-- arrive as, and roles with BYPASSRLS that were granted something.

with ours as (
    select c.oid, c.relowner, c.relacl, format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
        and (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
            ))
        )
),
findings (object, role, detail, remediation) as (
    select o.name, r.rolname, 'owns the table', format('alter table %s owner to the migrating role;', o.name)
    from ours as o
    join pg_catalog.pg_roles as r on r.oid = o.relowner
    where r.rolname in ('anon', 'authenticated', 'authenticator', 'service_role', 'integrations_worker')
    union
    select
        o.name, r.rolname, 'has BYPASSRLS and a privilege on the table',
        format('revoke all on %s from %I;', o.name, r.rolname)
    from ours as o
    cross join lateral (
        select o.relacl as acl
        union all
        select a.attacl from pg_catalog.pg_attribute as a where a.attrelid = o.oid and a.attacl is not null
    ) as x
    cross join aclexplode(x.acl) as g
    join pg_catalog.pg_roles as r on r.oid = g.grantee
    where r.rolbypassrls and r.oid <> o.relowner
)
select
    'roles_past_rls' as audit,
    'ERROR' as level,
    f.object,
    format('%s %s: no policy applies to it.', f.role, f.detail) as detail,
    f.remediation
from findings as f
order by f.object, f.role, f.detail;
