-- Functions of ours that do not pin their search_path to Postgres' own names, with the temporary schema last: a caller's
-- schema, or a type that the caller made, could then stand in for what is meant.

select
    'mutable_search_path' as audit,
    'ERROR' as level,
    f.oid::regprocedure::text as object,
    'The caller decides which objects or types the names in this function mean.' as detail,
    format('alter function %s set search_path = pg_catalog, pg_temp;', f.oid::regprocedure) as remediation
from pg_catalog.pg_proc as f
join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
where n.nspname = 'integrations_private'
    and f.prokind in ('f', 'p')
    and not coalesce(f.proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']
order by object;
