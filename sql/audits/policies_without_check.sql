-- Policies on our tables that let rows be written and do not say which.

select
    'policies_without_check' as audit,
    'ERROR' as level,
    format('%I.%I: %s', p.schemaname, p.tablename, p.policyname) as object,
    'The policy lets rows be written without saying what the new row must be.' as detail,
    format(
        'alter policy %I on %I.%I with check ((select auth.uid()) = user_id);', p.policyname, p.schemaname, p.tablename
    ) as remediation
from pg_catalog.pg_policies as p
where p.cmd in ('INSERT', 'UPDATE', 'ALL')
    and p.with_check is null
    and (
        p.schemaname = 'integrations_private'
        or (p.schemaname = 'public' and p.tablename in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
    )
order by object;
