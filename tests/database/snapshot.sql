-- Every object, grant, comment, role and default privilege of a database, one row each, to be compared before and after.
-- Left out: the system's own schemas and the migration history, which `supabase db push` keeps for everyone.

with schemas as (
    select n.oid, n.nspname, n.nspowner, n.nspacl
    from pg_catalog.pg_namespace as n
    where n.nspname !~ '^pg_(toast|temp)'
        and n.nspname not in ('pg_catalog', 'information_schema', 'supabase_migrations')
),
relations as (
    select c.*, format('%I.%I', s.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join schemas as s on s.oid = c.relnamespace
),
objects (class, oid, part, name, facts) as (
    select 'pg_namespace', s.oid, 0, format('schema %I', s.nspname), concat_ws(' ', s.nspowner::regrole, s.nspacl)
    from schemas as s
    union all
    select
        'pg_class', r.oid, 0, format('relation %s', r.name), concat_ws(' ', r.relkind, r.relowner::regrole, r.relacl,
            r.relrowsecurity, r.relforcerowsecurity, r.reloptions, pg_get_viewdef(r.oid))
    from relations as r
    where r.relkind <> 'i'
    union all
    select 'pg_class', r.oid, 0, format('index %s', r.name), pg_get_indexdef(r.oid)
    from relations as r
    where r.relkind = 'i'
    union all
    select
        'pg_class', r.oid, a.attnum, format('column %s.%s', r.name, a.attname), concat_ws(' ', a.atttypid::regtype,
            a.attnotnull, a.attacl, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
    from relations as r
    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_attrdef as d on d.adrelid = r.oid and d.adnum = a.attnum
    where r.relkind in ('r', 'p', 'v', 'm')
    union all
    select 'pg_constraint', k.oid, 0, format('constraint %s on %s', k.conname, r.name),
        concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)
    from pg_catalog.pg_constraint as k
    join relations as r on r.oid = k.conrelid
    where k.contype <> 'n'
    union all
    select 'pg_policy', p.oid, 0, format('policy %s on %s', p.polname, r.name), concat_ws(' ', p.polcmd, p.polpermissive,
        p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_catalog.pg_policy as p
    join relations as r on r.oid = p.polrelid
    union all
    select 'pg_trigger', t.oid, 0, format('trigger %s on %s', t.tgname, r.name),
        concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
    from pg_catalog.pg_trigger as t
    join relations as r on r.oid = t.tgrelid
    where not t.tgisinternal
    union all
    select 'pg_proc', f.oid, 0, format('function %s', f.oid::regprocedure),
        concat_ws(' ', f.proowner::regrole, f.proacl, f.prosecdef, f.proconfig, md5(pg_get_functiondef(f.oid)))
    from pg_catalog.pg_proc as f
    join schemas as s on s.oid = f.pronamespace
    where f.prokind <> 'a'
    union all
    select 'pg_type', t.oid, 0, format('type %s', t.oid::regtype), concat_ws(' ', t.typowner::regrole, t.typacl)
    from pg_catalog.pg_type as t
    join schemas as s on s.oid = t.typnamespace
    union all
    select 'pg_default_acl', d.oid, 0, format('default privileges of %s', d.defaclrole::regrole),
        concat_ws(' ', d.defaclnamespace::regnamespace, d.defaclobjtype, d.defaclacl)
    from pg_catalog.pg_default_acl as d
    union all
    select 'pg_publication', p.oid, 0, format('publication %s', p.pubname), p.puballtables::text
    from pg_catalog.pg_publication as p
    union all
    select 'pg_extension', e.oid, 0, format('extension %s', e.extname), e.extversion
    from pg_catalog.pg_extension as e
    union all
    select 'pg_authid', r.oid, 0, format('role %s', r.rolname), concat_ws(' ', r.rolsuper, r.rolinherit, r.rolcreaterole,
        r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolconfig)
    from pg_catalog.pg_roles as r
    union all
    select 'pg_auth_members', 0, 0, format('member %s of %s', m.member::regrole, m.roleid::regrole), m.admin_option::text
    from pg_catalog.pg_auth_members as m
)
select
    o.name, coalesce(o.facts, '') as facts,
    case
        when o.class = 'pg_auth_members' then null
        when o.class = 'pg_authid' then shobj_description(o.oid, o.class)
        when o.part > 0 then col_description(o.oid, o.part)
        else obj_description(o.oid, o.class)
    end as comment
from objects as o
