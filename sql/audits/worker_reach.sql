-- What the worker's role is and touches beyond the tables it works on. (On those see grants_beyond_the_list.)

with worker as (
    select r.* from pg_catalog.pg_roles as r where r.rolname = 'integrations_worker'
),
owners as (
    select c.relowner as oid
    from pg_catalog.pg_class as c
    where c.oid = to_regclass('public.integrations')
),
findings (object, detail, remediation) as (
    select
        'role integrations_worker', format('It has the attribute %s.', a.attribute),
        format('alter role integrations_worker no%s;', a.attribute)
    from worker as w,
        lateral (values
            ('superuser', w.rolsuper), ('bypassrls', w.rolbypassrls), ('createrole', w.rolcreaterole),
            ('createdb', w.rolcreatedb), ('replication', w.rolreplication), ('inherit', w.rolinherit)
        ) as a (attribute, has)
    where a.has
    union all
    select
        'role integrations_worker', format('It is a member of %s, and may become that role.', r.rolname),
        format('revoke %I from integrations_worker;', r.rolname)
    from worker as w
    join pg_catalog.pg_auth_members as m on m.member = w.oid
    join pg_catalog.pg_roles as r on r.oid = m.roleid
    union all
    select
        'role integrations_worker', format('%s is a member of it, and may become the worker.', r.rolname),
        format('revoke integrations_worker from %I;', r.rolname)
    from worker as w
    join pg_catalog.pg_auth_members as m on m.roleid = w.oid
    join pg_catalog.pg_roles as r on r.oid = m.member
    where not r.rolsuper and r.oid not in (select o.oid from owners as o)
    union all
    select
        format('%I.%I', n.nspname, c.relname), format('The worker may %s.', lower(g.privilege_type)),
        format('revoke all on %I.%I from integrations_worker;', n.nspname, c.relname)
    from worker as w, pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    cross join lateral (
        select c.relacl as acl
        union all
        select a.attacl from pg_catalog.pg_attribute as a where a.attrelid = c.oid and a.attacl is not null
    ) as x
    cross join aclexplode(x.acl) as g
    where g.grantee = w.oid
        and not (n.nspname = 'public' and c.relname in ('integrations', 'synced_records', 'sync_cursors'))
    union all
    select
        f.oid::regprocedure::text, 'The worker may execute it.',
        format('revoke execute on function %s from integrations_worker;', f.oid::regprocedure)
    from worker as w, pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    cross join aclexplode(f.proacl) as g
    where g.grantee = w.oid and n.nspname <> 'integrations_private'
    union all
    select
        format('schema %I', n.nspname), format('The worker may %s.', lower(g.privilege_type)),
        format('revoke all on schema %I from integrations_worker;', n.nspname)
    from worker as w, pg_catalog.pg_namespace as n, aclexplode(n.nspacl) as g
    where g.grantee = w.oid
        and (n.nspname, g.privilege_type) not in (('integrations_private', 'USAGE'), ('public', 'USAGE'))
    union all
    select
        format('%I.%I', n.nspname, c.relname), 'The worker owns it.', 'Give it to another owner.'
    from worker as w
    join pg_catalog.pg_class as c on c.relowner = w.oid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
)
select 'worker_reach' as audit, 'ERROR' as level, f.object, f.detail, f.remediation
from findings as f
group by f.object, f.detail, f.remediation
order by f.object, f.detail;
