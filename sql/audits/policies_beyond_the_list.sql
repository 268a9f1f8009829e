-- Policies on our tables that differ from the migrations': added, changed or dropped. One more permissive policy is
-- enough to open a table, since permissive policies are alternatives.

with owner_sees (predicate) as (
    values ('(( SELECT auth.uid() AS uid) = user_id)')
),
owner_sees_unexpired (predicate) as (
    values ('((( SELECT auth.uid() AS uid) = user_id) AND (expires_at > now()))')
),
token_allowed (predicate) as (
    values ('( SELECT integrations_private.token_is_allowed() AS token_is_allowed)')
),
worker_declared (predicate) as (
    values ('(user_id = ANY (( SELECT integrations_private.acting_for() AS acting_for)::uuid[]))')
),
expected (object, command, kind, role, using_expression, check_expression) as (
    select 'public.integrations', 'SELECT', 'PERMISSIVE', 'authenticated', predicate, null from owner_sees
    union all
    select 'public.integrations', 'INSERT', 'PERMISSIVE', 'authenticated', null, predicate from owner_sees
    union all
    select 'public.integrations', 'UPDATE', 'PERMISSIVE', 'authenticated', predicate, predicate from owner_sees
    union all
    select 'public.integrations', 'DELETE', 'PERMISSIVE', 'authenticated', predicate, null from owner_sees
    union all
    select 'public.integrations', 'SELECT', 'PERMISSIVE', 'integrations_worker', predicate, null from worker_declared
    union all
    select 'public.integrations', 'UPDATE', 'PERMISSIVE', 'integrations_worker', predicate, predicate
    from worker_declared
    union all
    select 'public.oauth_states', 'SELECT', 'PERMISSIVE', 'authenticated', predicate, null from owner_sees_unexpired
    union all
    select 'public.oauth_states', 'INSERT', 'PERMISSIVE', 'authenticated', null, predicate from owner_sees
    union all
    select 'public.oauth_states', 'DELETE', 'PERMISSIVE', 'authenticated', predicate, null from owner_sees_unexpired
    union all
    select 'public.integration_events', 'SELECT', 'PERMISSIVE', 'authenticated', predicate, null from owner_sees
    union all
    select t.name, c.command, 'PERMISSIVE', 'authenticated', predicate, null
    from owner_sees, unnest(array['public.synced_records', 'public.sync_cursors']) as t (name),
        unnest(array['SELECT', 'DELETE']) as c (command)
    union all
    select 'public.sync_cursors', 'INSERT', 'PERMISSIVE', 'authenticated', null, predicate from owner_sees
    union all
    select t.name, 'SELECT', 'PERMISSIVE', 'integrations_worker', predicate, null
    from worker_declared, unnest(array['public.synced_records', 'public.sync_cursors']) as t (name)
    union all
    select t.name, 'INSERT', 'PERMISSIVE', 'integrations_worker', null, predicate
    from worker_declared, unnest(array['public.synced_records', 'public.sync_cursors']) as t (name)
    union all
    select t.name, 'UPDATE', 'PERMISSIVE', 'integrations_worker', predicate, predicate
    from worker_declared, unnest(array['public.synced_records', 'public.sync_cursors']) as t (name)
    union all
    select 'public.synced_records', 'DELETE', 'PERMISSIVE', 'integrations_worker', predicate, null
    from worker_declared
    union all
    select t.name, 'ALL', 'RESTRICTIVE', 'authenticated', predicate, predicate
    from token_allowed,
        unnest(array[
            'public.integrations', 'public.oauth_states', 'public.integration_events', 'public.synced_records',
            'public.sync_cursors'
        ]) as t (name)
    union all
    select 'integrations_private.allowed_claims', 'SELECT', 'PERMISSIVE', 'authenticated',
        '(value = (( SELECT auth.jwt() AS jwt) ->> claim))', null
    union all
    select 'integrations_private.seen_states', 'ALL', 'RESTRICTIVE', 'authenticated', 'false', 'false'
),
present as (
    select
        format('%I.%I', p.schemaname, p.tablename) as object, p.policyname, p.cmd as command, p.permissive as kind,
        array_to_string(p.roles, ', ') as role, p.qual as using_expression, p.with_check as check_expression
    from pg_catalog.pg_policies as p
    where p.schemaname = 'integrations_private'
        or (p.schemaname = 'public' and p.tablename in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
)
select
    'policies_beyond_the_list' as audit,
    'ERROR' as level,
    coalesce(p.object, e.object) as object,
    case
        when e.object is null then format('The policy "%s" is not one of the migrations', p.policyname)
        else format('A policy of the migrations is missing or was changed: %s for %s', lower(e.kind), e.role)
    end || format(
        ' (%s, using %s, with check %s).', coalesce(p.command, e.command),
        coalesce(p.using_expression, e.using_expression, 'nothing'),
        coalesce(p.check_expression, e.check_expression, 'nothing')
    ) as detail,
    case
        when e.object is null then format('drop policy %I on %s;', p.policyname, p.object)
        else 'Create it again as the migration does.'
    end as remediation
from expected as e
full join present as p
    on (p.object, p.command, p.kind, p.role) = (e.object, e.command, e.kind, e.role)
    and p.using_expression is not distinct from e.using_expression
    and p.check_expression is not distinct from e.check_expression
where e.object is null or p.object is null
order by object, detail;
