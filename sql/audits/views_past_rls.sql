-- Views and materialized views over our tables that show rows with their owner's rights instead of the reader's.

with views as (
    select distinct v.oid, v.relkind, v.reloptions, format('%I.%I', n.nspname, v.relname) as name
    from pg_catalog.pg_depend as d
    join pg_catalog.pg_rewrite as w on w.oid = d.objid
    join pg_catalog.pg_class as v on v.oid = w.ev_class and v.relkind in ('v', 'm')
    join pg_catalog.pg_namespace as n on n.oid = v.relnamespace
    where d.classid = 'pg_catalog.pg_rewrite'::regclass
        and d.refclassid = 'pg_catalog.pg_class'::regclass
        and d.refobjid in (
            to_regclass('public.integrations'), to_regclass('public.oauth_states'),
            to_regclass('public.integration_events')
        )
)
select
    'views_past_rls' as audit,
    'ERROR' as level,
    v.name as object,
    'It reads our tables with its owner''s rights: whoever may read it reads every user''s rows.' as detail,
    case
        when v.relkind = 'v' then format('alter view %s set (security_invoker = true);', v.name)
        else format('drop materialized view %s; a copy has no row level security.', v.name)
    end as remediation
from views as v
where v.relkind = 'm'
    or not coalesce(v.reloptions, '{}') && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1']
order by v.name;
