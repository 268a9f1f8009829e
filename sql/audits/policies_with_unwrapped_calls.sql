-- Policies on our tables that call auth.uid() and the like outside a subquery, and so once for every row.

with policies as (
    select
        p.*,
        -- What is left when the wrapped calls are taken away: ( SELECT auth.uid() AS uid)
        regexp_replace(concat_ws(' ', p.qual, p.with_check), '\(\s*select\s+[\w.]+\([^()]*\)[^()]*\)', '', 'gi')
            as unwrapped
    from pg_catalog.pg_policies as p
    where p.schemaname = 'integrations_private'
        or (p.schemaname = 'public' and p.tablename in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
)
select
    'policies_with_unwrapped_calls' as audit,
    'WARN' as level,
    format('%I.%I: %s', p.schemaname, p.tablename, p.policyname) as object,
    'The policy calls a function of the request for every row: reading one user''s rows slows down with the table.'
        as detail,
    'Write (select auth.uid()) for auth.uid(), and so with every call that does not depend on the row.' as remediation
from policies as p
where p.unwrapped ~* '(auth\.\w+|current_setting|integrations_private\.\w+)\('
order by object;
