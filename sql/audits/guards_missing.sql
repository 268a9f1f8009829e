-- Tables, triggers and checks that the protection rests on, where they are missing, switched off or not validated.

with tables (name) as (
    values
        ('public.integrations'), ('public.oauth_states'), ('public.integration_events'),
        ('integrations_private.allowed_claims'), ('integrations_private.seen_states')
),
triggers (table_name, name) as (
    values
        ('public.integrations', 'guard_integration_insert'),
        ('public.integrations', 'guard_integration_lease'),
        ('public.integrations', 'guard_integration_update'),
        ('public.integrations', 'record_integration_presence'),
        ('public.integrations', 'record_integration_change'),
        ('public.oauth_states', 'guard_oauth_state_insert')
),
constraints (table_name, name) as (
    values
        ('public.integrations', 'integrations_pkey'),
        ('public.integrations', 'integrations_user_id_fkey'),
        ('public.integrations', 'integrations_account_key'),
        ('public.integrations', 'integrations_service_name_check'),
        ('public.integrations', 'integrations_service_type_check'),
        ('public.integrations', 'integrations_external_account_id_check'),
        ('public.integrations', 'integrations_display_name_check'),
        ('public.integrations', 'integrations_status_check'),
        ('public.integrations', 'integrations_credentials_check'),
        ('public.integrations', 'integrations_config_check'),
        ('public.integrations', 'integrations_scopes_check'),
        ('public.integrations', 'integrations_expires_at_check'),
        ('public.integrations', 'integrations_last_refreshed_at_check'),
        ('public.integrations', 'integrations_last_sync_at_check'),
        ('public.integrations', 'integrations_last_error_code_check'),
        ('public.integrations', 'integrations_last_error_at_check'),
        ('public.integrations', 'integrations_next_refresh_at_check'),
        ('public.integrations', 'integrations_refresh_failures_check'),
        ('public.oauth_states', 'oauth_states_pkey'),
        ('public.oauth_states', 'oauth_states_user_id_fkey'),
        ('public.oauth_states', 'oauth_states_integration_id_fkey'),
        ('public.oauth_states', 'oauth_states_state_hash_check'),
        ('public.oauth_states', 'oauth_states_flow_check'),
        ('integrations_private.seen_states', 'seen_states_pkey'),
        ('integrations_private.seen_states', 'seen_states_user_id_fkey'),
        ('integrations_private.seen_states', 'seen_states_state_hash_check'),
        ('integrations_private.allowed_claims', 'allowed_claims_claim_check')
),
findings (object, detail, remediation) as (
    select t.name, 'The table is missing.', 'Apply the migrations.'
    from tables as t
    where to_regclass(t.name) is null
    union all
    select
        format('%s on %s', t.name, t.table_name),
        case when p.oid is null then 'The trigger is missing.' else 'The trigger does not fire for everyone.' end,
        case
            when p.oid is null then 'Create it as the migration does.'
            else format('alter table %s enable trigger %I;', t.table_name, t.name)
        end
    from triggers as t
    left join pg_catalog.pg_trigger as p on p.tgrelid = to_regclass(t.table_name) and p.tgname = t.name
    where to_regclass(t.table_name) is not null and (p.oid is null or p.tgenabled not in ('O', 'A'))
    union all
    select
        format('%s on %s', c.name, c.table_name),
        case when p.oid is null then 'The constraint is missing.' else 'The constraint is not validated.' end,
        case
            when p.oid is null then 'Create it as the migration does.'
            else format('alter table %s validate constraint %I;', c.table_name, c.name)
        end
    from constraints as c
    left join pg_catalog.pg_constraint as p on p.conrelid = to_regclass(c.table_name) and p.conname = c.name
    where to_regclass(c.table_name) is not null and (p.oid is null or not p.convalidated)
)
select 'guards_missing' as audit, 'ERROR' as level, f.object, f.detail, f.remediation
from findings as f
order by f.object;
