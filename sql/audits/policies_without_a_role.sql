-- Policies on our tables that name no role, and so apply to anon too.

select
    'policies_without_a_role' as audit,
    'WARN' as level,
    format('%I.%I: %s', p.schemaname, p.tablename, p.policyname) as object,
    'The policy applies to every role, also to anon: only the missing grants keep them out.' as detail,
    format('alter policy %I on %I.%I to authenticated;', p.policyname, p.schemaname, p.tablename) as remediation
from pg_catalog.pg_policies as p
where p.roles = array['public'::name]
    and (
        p.schemaname = 'integrations_private'
        or (p.schemaname = 'public' and p.tablename in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
    )
order by object;
