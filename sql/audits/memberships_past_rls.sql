-- Whether the roles that requests and the worker arrive as are, or may become, somebody for whom policies and grants do
-- not count. Memberships are followed to their end. The worker's other attributes are the business of worker_reach.

with recursive arriving as (
    select r.*
    from pg_catalog.pg_roles as r
    where r.rolname in ('anon', 'authenticated', 'authenticator', 'integrations_worker')
),
reaches (arrival, role) as (
    select a.oid, a.oid from arriving as a
    union
    select w.arrival, m.roleid
    from reaches as w
    join pg_catalog.pg_auth_members as m on m.member = w.role
    -- What another of them may become is found where that one is looked at.
    where w.role = w.arrival or w.role not in (select a.oid from arriving as a)
),
powers (role, power) as (
    select r.oid, 'is a superuser' from pg_catalog.pg_roles as r where r.rolsuper
    union all
    select r.oid, 'has BYPASSRLS' from pg_catalog.pg_roles as r where r.rolbypassrls
    union all
    select r.oid, 'may copy the database out by replication' from pg_catalog.pg_roles as r where r.rolreplication
    union all
    select r.oid, 'may create and grant roles' from pg_catalog.pg_roles as r where r.rolcreaterole
    union all
    select r.oid, 'reads or writes what no grant says'
    from pg_catalog.pg_roles as r
    where r.rolname in (
        'pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
        'pg_execute_server_program'
    )
    union all
    select c.relowner, 'owns our tables' from pg_catalog.pg_class as c where c.oid = to_regclass('public.integrations')
),
findings (object, detail, remediation) as (
    select
        format('role %I', a.rolname),
        case
            when r.oid = a.oid then format('It %s.', p.power)
            else format('It may become %I, which %s.', r.rolname, p.power)
        end,
        case when r.oid = a.oid then 'Take the attribute away with `alter role`.' else 'Revoke the membership.' end
    from reaches as w
    join arriving as a on a.oid = w.arrival
    join pg_catalog.pg_roles as r on r.oid = w.role
    join powers as p on p.role = w.role
    -- What the Data API does for requests that carry the project's secret key.
    where (a.rolname, r.rolname) <> ('authenticator', 'service_role')
        and (r.oid = a.oid or r.oid not in (select o.oid from arriving as o))
    union all
    select
        format('role %I', a.rolname), format('It may become %I, and do what that may.', r.rolname),
        'Revoke the membership.'
    from reaches as w
    join arriving as a on a.oid = w.arrival and a.rolname <> 'authenticator'
    join arriving as r on r.oid = w.role and r.oid <> a.oid
)
select 'memberships_past_rls' as audit, 'ERROR' as level, f.object, f.detail, f.remediation
from findings as f
group by f.object, f.detail, f.remediation
order by f.object, f.detail;
