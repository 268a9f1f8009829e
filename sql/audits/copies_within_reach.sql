-- Tables elsewhere that look like copies of ours, and that API roles may read: neither our policies nor our guards hold
-- there. A copy is known by its columns, so one that renamed them is not found. For views see views_past_rls.

with telling (columns) as (
    values
        (array['credential_version', 'credentials', 'user_id']),
        (array['flow', 'state_hash', 'user_id']),
        (array['data', 'external_id', 'integration_id', 'synced_at', 'user_id'])
),
elsewhere as (
    select c.oid, c.relowner, c.relrowsecurity, format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'f')
        and n.nspname <> 'integrations_private'
        and (n.nspname, c.relname) not in (
            ('public', 'integrations'), ('public', 'oauth_states'), ('public', 'synced_records')
        )
),
copies as (
    select distinct e.*
    from elsewhere as e
    join telling as t
        on t.columns <@ (
            select array_agg(a.attname::text)
            from pg_catalog.pg_attribute as a
            where a.attrelid = e.oid and a.attnum > 0 and not a.attisdropped
        )
),
reachable as (
    select c.name, c.relrowsecurity, string_agg(r.rolname, ', ' order by r.rolname) as roles
    from copies as c
    join pg_catalog.pg_roles as r on r.rolname in ('anon', 'authenticated', 'integrations_worker', 'service_role')
    where has_any_column_privilege(r.oid, c.oid, 'SELECT')
    group by c.name, c.relrowsecurity
)
select
    'copies_within_reach' as audit,
    case when r.relrowsecurity then 'WARN' else 'ERROR' end as level,
    r.name as object,
    format(
        'It has the columns of one of our tables, and %s may read it%s.', r.roles,
        case when r.relrowsecurity then ', within policies of its own' else ': every user''s rows' end
    ) as detail,
    format('Drop it, or: revoke all on %s from public, %s;', r.name, r.roles) as remediation
from reachable as r
order by r.name;
