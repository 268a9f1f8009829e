-- Views and materialized views over our tables that show rows with their owner's rights instead of the reader's.

with recursive reading (oid) as (
    select c.oid::oid
    from unnest(array['public.integrations', 'public.oauth_states', 'public.integration_events']) as o (name)
    cross join lateral (select to_regclass(o.name)) as c (oid)
    union
    -- Also by way of another view: the outermost one's owner is who then reads.
    select w.ev_class
    from reading as r
    join pg_catalog.pg_depend as d on d.refobjid = r.oid
    join pg_catalog.pg_rewrite as w on w.oid = d.objid
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
),
views as (
    select v.oid, v.relkind, v.reloptions, format('%I.%I', n.nspname, v.relname) as name
    from reading as r
    join pg_catalog.pg_class as v on v.oid = r.oid and v.relkind in ('v', 'm')
    join pg_catalog.pg_namespace as n on n.oid = v.relnamespace
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
