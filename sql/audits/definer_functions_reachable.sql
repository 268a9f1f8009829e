-- Functions that run with their owner's rights, past row level security, and that API roles may call: of ours there is
-- none; of others' those count whose text names one of our tables.

with definers as (
    select
        f.oid, f.proowner, n.nspname = 'integrations_private' as ours, f.oid::regprocedure::text as name
    from pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    where f.prosecdef
        and (
            n.nspname = 'integrations_private'
            or (
                n.nspname not in ('pg_catalog', 'information_schema')
                and f.prorettype <> 'pg_catalog.trigger'::regtype
                and concat(f.prosrc, pg_get_function_sqlbody(f.oid))
                    ~ '\m(integrations|oauth_states|integration_events|integrations_private)\M'
            )
        )
),
reachable as (
    select d.ours, d.name, string_agg(r.rolname, ', ' order by r.rolname) as roles
    from definers as d
    join pg_catalog.pg_roles as r on r.rolname in ('anon', 'authenticated', 'service_role')
    where has_function_privilege(r.oid, d.oid, 'EXECUTE') and r.oid <> d.proowner
    group by d.ours, d.name
)
select
    'definer_functions_reachable' as audit,
    case when r.ours then 'ERROR' else 'WARN' end as level,
    r.name as object,
    format('%s may run this with its owner''s rights, for whom there is no row level security.', r.roles) as detail,
    format(
        'revoke execute on function %s from public, %s; or make it security invoker.', r.name, r.roles
    ) as remediation
from reachable as r
order by r.name;
