-- Who may do what to every object outside the system's own schemas, as (object, fact) rows that can be compared
-- between two databases. `supabase_lite` is the local Auth and Data API server, which no hosted database has.

with objects as (
    select
        c.oid, 'relation ' || c.oid::regclass as object, c.relnamespace as schema, c.relowner as owner,
        coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner)) as acl
    from pg_catalog.pg_class c
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select
        p.oid, 'function ' || p.oid::regprocedure, p.pronamespace, p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_catalog.pg_proc p
    union all
    select
        n.oid, 'schema ' || n.oid::regnamespace, n.oid, n.nspowner,
        coalesce(n.nspacl, acldefault('n', n.nspowner))
    from pg_catalog.pg_namespace n
    where n.nspname <> 'public'
),
ours as (
    select o.*
    from objects o
    join pg_catalog.pg_namespace n on n.oid = o.schema
    where n.nspname !~ '^pg_'
        and n.nspname not in ('information_schema', 'auth', 'extensions', 'supabase_migrations')
),
columns as (
    select o.oid, o.object, a.attname, a.attnum, a.attacl
    from ours o
    join pg_catalog.pg_attribute a on a.attrelid = o.oid
    where o.object ^@ 'relation ' and a.attnum > 0 and not a.attisdropped
),
facts as (
    select o.object, g.grantee, 'may ' || lower(g.privilege_type) || case when g.is_grantable then ' and grant it' else '' end
        as fact
    from ours o, aclexplode(o.acl) g
    union all
    select c.object, g.grantee, 'may ' || lower(g.privilege_type) || ' its column ' || c.attname
    from columns c, aclexplode(c.attacl) g
    union all
    select o.object, null, 'belongs to ' || o.owner::regrole
    from ours o
    union all
    select o.object, null, format('has row security %s', case
        when c.relforcerowsecurity and c.relrowsecurity then 'forced' when c.relrowsecurity then 'on' else 'off' end)
    from ours o
    join pg_catalog.pg_class c on c.oid = o.oid and o.object ^@ 'relation ' and c.relkind in ('r', 'p')
    union all
    select o.object, null, format('has the %s policy %I for %s to %s using (%s) with check (%s)',
        lower(p.permissive), p.policyname, lower(p.cmd), p.roles, p.qual, p.with_check)
    from ours o
    join pg_catalog.pg_class c on c.oid = o.oid and o.object ^@ 'relation '
    join pg_catalog.pg_policies p on p.schemaname = c.relnamespace::regnamespace::text and p.tablename = c.relname
    union all
    select o.object, null, format('has the trigger %s, firing mode %s', pg_get_triggerdef(t.oid), t.tgenabled)
    from ours o
    join pg_catalog.pg_trigger t on t.tgrelid = o.oid and not t.tgisinternal
    where o.object ^@ 'relation '
)
select
    f.object,
    case when f.grantee is null then f.fact else case f.grantee when 0 then 'everyone' else f.grantee::regrole::text end || ' ' || f.fact end
        as fact
from facts f
where f.grantee is null or f.grantee = 0 or f.grantee::regrole::text <> 'supabase_lite'
