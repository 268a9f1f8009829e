-- Our tables and their columns where they differ from the migrations': types, defaults, not-null, storage, whether a
-- table is there at all. Without the default, an insert by Supabase's roles names no owner.

with listed (object, definition) as (
    values
        ('integrations_private.allowed_claims', 'table'),
        ('integrations_private.allowed_claims.claim', 'text not null'),
        ('integrations_private.allowed_claims.created_at', 'timestamp with time zone not null default now()'),
        ('integrations_private.allowed_claims.note', $$text not null default ''::text$$),
        ('integrations_private.allowed_claims.value', 'text not null'),
        ('integrations_private.seen_states', 'table'),
        ('integrations_private.seen_states.seen_at', 'timestamp with time zone not null'),
        ('integrations_private.seen_states.state_hash', 'text not null'),
        ('integrations_private.seen_states.user_id', 'uuid not null'),
        ('public.integration_events', 'table'),
        ('public.integration_events.actor_id', 'uuid'),
        ('public.integration_events.actor_role', 'text not null'),
        ('public.integration_events.changed_columns', $$text[] not null default '{}'::text[]$$),
        ('public.integration_events.created_at', 'timestamp with time zone not null default now()'),
        ('public.integration_events.error_code', 'text'),
        ('public.integration_events.event', 'text not null'),
        ('public.integration_events.id', 'bigint not null identity a'),
        ('public.integration_events.integration_id', 'uuid not null'),
        ('public.integration_events.service_name', 'text not null'),
        ('public.integration_events.status', 'text'),
        ('public.integration_events.user_id', 'uuid not null'),
        ('public.integrations', 'table'),
        ('public.integrations.config', $$jsonb not null default '{}'::jsonb$$),
        ('public.integrations.created_at', 'timestamp with time zone not null default now()'),
        ('public.integrations.credential_version', 'integer not null default 1'),
        ('public.integrations.credentials', 'text'),
        ('public.integrations.display_name', 'text'),
        ('public.integrations.expires_at', 'timestamp with time zone'),
        ('public.integrations.external_account_id', $$text not null default ''::text$$),
        ('public.integrations.id', 'uuid not null default gen_random_uuid()'),
        ('public.integrations.last_error_at', 'timestamp with time zone'),
        ('public.integrations.last_error_code', 'text'),
        ('public.integrations.last_refreshed_at', 'timestamp with time zone'),
        ('public.integrations.last_sync_at', 'timestamp with time zone'),
        ('public.integrations.next_refresh_at', 'timestamp with time zone'),
        ('public.integrations.refresh_failures', 'integer not null default 0'),
        ('public.integrations.refresh_lease_owner', 'uuid'),
        ('public.integrations.refresh_lease_until', 'timestamp with time zone'),
        ('public.integrations.scopes', $$text[] not null default '{}'::text[]$$),
        ('public.integrations.service_name', 'text not null'),
        ('public.integrations.service_type', 'text not null'),
        ('public.integrations.status', $$text not null default 'active'::text$$),
        ('public.integrations.updated_at', 'timestamp with time zone not null default now()'),
        ('public.integrations.user_id', 'uuid not null default auth.uid()'),
        ('public.oauth_states', 'table'),
        (
            'public.oauth_states.expires_at',
            $$timestamp with time zone not null default (now() + '00:10:00'::interval)$$
        ),
        ('public.oauth_states.flow', 'text not null'),
        ('public.oauth_states.integration_id', 'uuid'),
        ('public.oauth_states.state_hash', 'text not null'),
        ('public.oauth_states.user_id', 'uuid not null default auth.uid()'),
        ('public.sync_cursors', 'table'),
        ('public.sync_cursors.changes_since', 'timestamp with time zone'),
        ('public.sync_cursors.complete_until', 'timestamp with time zone'),
        ('public.sync_cursors.created_at', 'timestamp with time zone not null default now()'),
        ('public.sync_cursors.cursor', 'text'),
        ('public.sync_cursors.failures', 'integer not null default 0'),
        ('public.sync_cursors.integration_id', 'uuid not null'),
        ('public.sync_cursors.last_error_code', 'text'),
        ('public.sync_cursors.lease_owner', 'uuid'),
        ('public.sync_cursors.lease_until', 'timestamp with time zone'),
        ('public.sync_cursors.next_run_at', 'timestamp with time zone not null default now()'),
        ('public.sync_cursors.records', 'bigint not null default 0'),
        ('public.sync_cursors.resource', 'text not null'),
        ('public.sync_cursors.skipped', 'bigint not null default 0'),
        ('public.sync_cursors.started_at', 'timestamp with time zone'),
        ('public.sync_cursors.synced_until', 'timestamp with time zone'),
        ('public.sync_cursors.user_id', 'uuid not null default auth.uid()'),
        ('public.synced_records', 'table'),
        ('public.synced_records.data', 'jsonb not null'),
        ('public.synced_records.external_id', 'text not null'),
        ('public.synced_records.integration_id', 'uuid not null'),
        ('public.synced_records.resource', 'text not null'),
        ('public.synced_records.synced_at', 'timestamp with time zone not null'),
        ('public.synced_records.user_id', 'uuid not null')
),
ours as (
    select c.*, format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
        and (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
            ))
        )
),
present (object, definition) as (
    select
        o.name,
        case
            when o.relkind <> 'r' then format('of the kind "%s"', o.relkind)
            when o.relpersistence <> 'p' then 'not a lasting table'
            else 'table'
        end
    from ours as o
    union all
    select
        format('%s.%I', o.name, a.attname),
        concat_ws(
            ' ', format_type(a.atttypid, a.atttypmod),
            case when a.attcollation <> t.typcollation then format('collate %s', a.attcollation::regcollation) end,
            case when a.attnotnull then 'not null' end,
            case when a.attidentity <> '' then format('identity %s', a.attidentity) end,
            case when a.attgenerated <> '' then 'generated' when d.oid is not null then 'default' end,
            -- As it is printed in any style of intervals.
            replace(pg_get_expr(d.adbin, d.adrelid), interval '10 minutes'::text, '00:10:00')
        )
    from ours as o
    join pg_catalog.pg_attribute as a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_type as t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef as d on d.adrelid = o.oid and d.adnum = a.attnum
)
select
    'columns_beyond_the_list' as audit,
    case when l.object is null then 'WARN' else 'ERROR' end as level,
    coalesce(p.object, l.object) as object,
    case
        when l.object is null then format('It is not one of the migrations: %s.', p.definition)
        when p.object is null then 'It is missing.'
        else format('It was changed. The migrations make: %s. It is: %s.', l.definition, p.definition)
    end as detail,
    case
        when l.object is null then 'Drop it, or keep it in a table of your own that refers to ours.'
        when p.object is null then 'Apply the migrations, or create it as they do.'
        else 'Alter it back to what the migrations make.'
    end as remediation
from listed as l
full join present as p on p.object = l.object
where p.definition is distinct from l.definition
order by object;
