-- What roles may do with our tables, functions and schema, against the list of the migrations. Each table's owner may
-- do everything. Of roles that are neither the API's nor the worker's only what reads, writes or runs something
-- counts.

with listed (grantee, object, privilege, columns) as (
    values
        ('authenticated', 'public.integrations', 'SELECT', null),
        ('authenticated', 'public.integrations', 'DELETE', null),
        ('authenticated', 'public.integrations', 'INSERT', array[
            'id', 'service_name', 'service_type', 'external_account_id', 'display_name', 'status', 'credentials',
            'config', 'scopes', 'expires_at', 'next_refresh_at'
        ]),
        ('authenticated', 'public.integrations', 'UPDATE', array[
            'display_name', 'status', 'credentials', 'config', 'scopes', 'expires_at', 'last_refreshed_at',
            'last_sync_at', 'last_error_code', 'last_error_at', 'refresh_lease_owner', 'next_refresh_at',
            'refresh_failures'
        ]),
        ('authenticated', 'public.oauth_states', 'SELECT', null),
        ('authenticated', 'public.oauth_states', 'DELETE', null),
        ('authenticated', 'public.oauth_states', 'INSERT', array['state_hash', 'flow', 'integration_id']),
        ('authenticated', 'public.integration_events', 'SELECT', null),
        ('authenticated', 'public.synced_records', 'SELECT', null),
        ('authenticated', 'public.synced_records', 'DELETE', null),
        ('authenticated', 'public.sync_cursors', 'SELECT', null),
        ('authenticated', 'public.sync_cursors', 'DELETE', null),
        ('authenticated', 'public.sync_cursors', 'INSERT', array['integration_id', 'resource']),
        ('authenticated', 'integrations_private.allowed_claims', 'SELECT', array['claim', 'value']),
        ('authenticated', 'integrations_private.token_is_allowed()', 'EXECUTE', null),
        ('integrations_worker', 'schema integrations_private', 'USAGE', null),
        ('integrations_worker', 'public.integrations', 'SELECT', array[
            'user_id', 'id', 'service_name', 'service_type', 'external_account_id', 'display_name', 'status',
            'credentials', 'credential_version', 'config', 'scopes', 'expires_at', 'last_refreshed_at', 'last_sync_at',
            'last_error_code', 'last_error_at', 'refresh_lease_owner', 'refresh_lease_until', 'next_refresh_at',
            'refresh_failures', 'created_at', 'updated_at'
        ]),
        ('integrations_worker', 'public.integrations', 'UPDATE', array[
            'status', 'credentials', 'scopes', 'expires_at', 'last_refreshed_at', 'last_sync_at', 'last_error_code',
            'last_error_at', 'refresh_lease_owner', 'next_refresh_at', 'refresh_failures'
        ]),
        ('integrations_worker', 'public.synced_records', 'SELECT', array[
            'user_id', 'integration_id', 'resource', 'external_id', 'synced_at'
        ]),
        ('integrations_worker', 'public.synced_records', 'INSERT', array[
            'user_id', 'integration_id', 'resource', 'external_id', 'data', 'synced_at'
        ]),
        ('integrations_worker', 'public.synced_records', 'UPDATE', array['data', 'synced_at']),
        ('integrations_worker', 'public.synced_records', 'DELETE', null),
        ('integrations_worker', 'public.sync_cursors', 'SELECT', null),
        ('integrations_worker', 'public.sync_cursors', 'INSERT', array['user_id', 'integration_id', 'resource']),
        ('integrations_worker', 'public.sync_cursors', 'UPDATE', array[
            'cursor', 'started_at', 'changes_since', 'records', 'skipped', 'synced_until', 'complete_until',
            'last_error_code', 'failures', 'next_run_at', 'lease_owner', 'lease_until'
        ]),
        ('integrations_worker', 'integrations_private.acting_for()', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.claim_due_refreshes(integer,uuid,uuid[])', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.claim_due_syncs(integer,uuid,uuid[])', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.count_authorizations_by_key()', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.count_integrations_by_key()', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.list_integrations_sealed_under(text,uuid,uuid,integer)',
            'EXECUTE', null),
        ('integrations_worker', 'integrations_private.purge_expired_states(integer)', 'EXECUTE', null),
        ('integrations_worker', 'integrations_private.purge_old_events(interval,integer)', 'EXECUTE', null)
),
expected as (
    select l.grantee, l.object, l.privilege, c.name as column_name
    from listed as l
    left join lateral unnest(l.columns) as c (name) on true
),
relations as (
    select c.oid, c.relowner, c.relacl, format('%I.%I', n.nspname, c.relname) as object
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S')
        and (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'integration_events_id_seq', 'synced_records',
                'sync_cursors'
            ))
        )
),
acls (object, owner, column_name, acl) as (
    select r.object, r.relowner, null::text, r.relacl from relations as r
    union all
    select r.object, r.relowner, a.attname::text, a.attacl
    from relations as r
    join pg_catalog.pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    union all
    select f.oid::regprocedure::text, f.proowner, null, coalesce(f.proacl, acldefault('f', f.proowner))
    from pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    where n.nspname = 'integrations_private'
    union all
    select format('schema %I', n.nspname), n.nspowner, null, n.nspacl
    from pg_catalog.pg_namespace as n
    where n.nspname = 'integrations_private'
),
granted as (
    select coalesce(r.rolname::text, 'public') as grantee, a.object, g.privilege_type as privilege, a.column_name
    from acls as a, aclexplode(a.acl) as g
    left join pg_catalog.pg_roles as r on r.oid = g.grantee
    where g.grantee <> a.owner
        and (
            g.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'EXECUTE')
            or g.grantee = 0
            or r.rolname in ('anon', 'authenticated', 'service_role', 'integrations_worker')
        )
),
differences as (
    select
        coalesce(g.grantee, e.grantee) as grantee, coalesce(g.object, e.object) as object,
        coalesce(g.privilege, e.privilege) as privilege, e.object is null as beyond,
        string_agg(coalesce(g.column_name, e.column_name), ', ' order by coalesce(g.column_name, e.column_name))
            as columns
    from granted as g
    full join expected as e
        on (e.grantee, e.object, e.privilege) = (g.grantee, g.object, g.privilege)
        and e.column_name is not distinct from g.column_name
    where g.object is null or e.object is null
    group by 1, 2, 3, 4
)
select
    'grants_beyond_the_list' as audit,
    case when d.beyond then 'ERROR' else 'WARN' end as level,
    d.object,
    format(
        case when d.beyond then '%s may %s%s, which the migrations do not grant.' else '%s may not %s%s any more.' end,
        d.grantee, lower(d.privilege), ' (' || d.columns || ')'
    ) as detail,
    format(
        case when d.beyond then 'revoke %s%s on %s from %s;' else 'grant %s%s on %s to %s;' end,
        lower(d.privilege), ' (' || d.columns || ')',
        case when d.privilege = 'EXECUTE' then 'function ' else '' end || d.object, d.grantee
    ) as remediation
from differences as d
order by d.object, d.grantee, d.privilege;
