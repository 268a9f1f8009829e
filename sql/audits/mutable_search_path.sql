-- Functions of ours that do not pin their search_path: a caller's schema could then stand in for ours.

select
    'mutable_search_path' as audit,
    'ERROR' as level,
    f.oid::regprocedure::text as object,
    'The caller''s search_path decides which objects the names in this function mean.' as detail,
    format('alter function %s set search_path = '''';', f.oid::regprocedure) as remediation
from pg_catalog.pg_proc as f
join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
where n.nspname = 'integrations_private'
    and f.prokind in ('f', 'p')
    and not coalesce(f.proconfig, '{}') @> array['search_path=""']
order by object;
