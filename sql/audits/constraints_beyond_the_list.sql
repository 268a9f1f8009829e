-- Keys and checks of our tables that differ from the migrations': changed, dropped, not validated or added. A check by
-- the right name that allows everything lets a plaintext token be stored.

with written (object, definition) as (
    values
        (
            'allowed_claims_claim_check on integrations_private.allowed_claims',
            $$CHECK (((claim = 'client_id'::text) OR ((claim = 'is_anonymous'::text) AND (value = 'true'::text))))$$
        ),
        ('allowed_claims_pkey on integrations_private.allowed_claims', 'PRIMARY KEY (claim, value)'),
        (
            'allowed_claims_value_check on integrations_private.allowed_claims',
            'CHECK (((char_length(value) >= 1) AND (char_length(value) <= 255)))'
        ),
        (
            'integration_events_error_code_check on public.integration_events',
            $$CHECK ((error_code ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$
        ),
        ('integration_events_pkey on public.integration_events', 'PRIMARY KEY (id)'),
        (
            'integration_events_status_check on public.integration_events',
            $$CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text, 'needs_reauthorization'::text,
            'error'::text, 'revoked'::text])))$$
        ),
        ('integrations_account_key on public.integrations', 'UNIQUE (user_id, service_name, external_account_id)'),
        (
            'integrations_config_check on public.integrations',
            $$CHECK (((jsonb_typeof(config) = 'object'::text) AND (octet_length((config)::text) <= 16384) AND (NOT
            jsonb_path_exists(config, 'strict $.**{9}'::jsonpath)) AND (NOT jsonb_path_exists(config,
            'strict $.**?(@.type() == "number" && (@ > 1e308 || @ < -1e308))'::jsonpath))))$$
        ),
        (
            'integrations_credentials_check on public.integrations',
            $$CHECK (((octet_length(credentials) <= 65536) AND (credentials ~
            '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}$'::text)))$$
        ),
        (
            'integrations_display_name_check on public.integrations',
            $$CHECK (((char_length(display_name) <= 200) AND (display_name !~ '[\u0001-\u001f\u007f-\u009f]'::text)))$$
        ),
        (
            'integrations_expires_at_check on public.integrations',
            $$CHECK (((expires_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (expires_at <
            '3000-01-01 00:00:00+00'::timestamp with time zone)))$$
        ),
        (
            'integrations_external_account_id_check on public.integrations',
            $$CHECK (((char_length(external_account_id) <= 255) AND (external_account_id !~
            '[\u0001-\u001f\u007f-\u009f]'::text)))$$
        ),
        (
            'integrations_last_error_at_check on public.integrations',
            $$CHECK ((last_error_at >= '2000-01-01 00:00:00+00'::timestamp with time zone))$$
        ),
        (
            'integrations_last_error_code_check on public.integrations',
            $$CHECK ((last_error_code ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$
        ),
        (
            'integrations_last_refreshed_at_check on public.integrations',
            $$CHECK ((last_refreshed_at >= '2000-01-01 00:00:00+00'::timestamp with time zone))$$
        ),
        (
            'integrations_last_sync_at_check on public.integrations',
            $$CHECK ((last_sync_at >= '2000-01-01 00:00:00+00'::timestamp with time zone))$$
        ),
        (
            'integrations_next_refresh_at_check on public.integrations',
            $$CHECK ((next_refresh_at < '3000-01-01 00:00:00+00'::timestamp with time zone))$$
        ),
        ('integrations_pkey on public.integrations', 'PRIMARY KEY (user_id, id)'),
        (
            'integrations_refresh_failures_check on public.integrations',
            'CHECK (((refresh_failures >= 0) AND (refresh_failures <= 100000)))'
        ),
        (
            'integrations_scopes_check on public.integrations',
            $$CHECK (((cardinality(scopes) <= 100) AND (COALESCE(array_ndims(scopes), 1) = 1) AND
            (COALESCE(array_lower(scopes, 1), 1) = 1) AND (cardinality(string_to_array(array_to_string(scopes,
            ' '::text, ''::text), ' '::text)) = cardinality(scopes)) AND (array_to_string(scopes, ' '::text, ''::text) ~
            '^([!-~]+( [!-~]+)*)?$'::text) AND (array_to_string(scopes, ' '::text, ''::text) !~
            '[!-~]{255}[!-~]{2}'::text)))$$
        ),
        (
            'integrations_service_name_check on public.integrations',
            $$CHECK ((service_name ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$
        ),
        (
            'integrations_service_type_check on public.integrations',
            $$CHECK ((service_type = ANY (ARRAY['marketing'::text, 'crm'::text, 'content'::text, 'supply_chain'::text,
            'analytics'::text])))$$
        ),
        (
            'integrations_status_check on public.integrations',
            $$CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text, 'needs_reauthorization'::text,
            'error'::text, 'revoked'::text])))$$
        ),
        (
            'integrations_user_id_fkey on public.integrations',
            'FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE'
        ),
        (
            'oauth_states_flow_check on public.oauth_states',
            $$CHECK (((octet_length(flow) <= 16384) AND (flow ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}$'::text)))$$
        ),
        (
            'oauth_states_integration_id_fkey on public.oauth_states',
            'FOREIGN KEY (user_id, integration_id) REFERENCES public.integrations (user_id, id) ON DELETE CASCADE'
        ),
        ('oauth_states_pkey on public.oauth_states', 'PRIMARY KEY (user_id, state_hash)'),
        ('oauth_states_state_hash_check on public.oauth_states', $$CHECK ((state_hash ~ '^[0-9a-f]{64}$'::text))$$),
        (
            'oauth_states_user_id_fkey on public.oauth_states',
            'FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE'
        ),
        ('seen_states_pkey on integrations_private.seen_states', 'PRIMARY KEY (user_id, state_hash)'),
        (
            'seen_states_state_hash_check on integrations_private.seen_states',
            $$CHECK ((state_hash ~ '^[0-9a-f]{64}$'::text))$$
        ),
        (
            'seen_states_user_id_fkey on integrations_private.seen_states',
            'FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE'
        ),
        ('sync_cursors_cursor_check on public.sync_cursors', 'CHECK ((octet_length(cursor) <= 16384))'),
        ('sync_cursors_failures_check on public.sync_cursors', 'CHECK (((failures >= 0) AND (failures <= 100000)))'),
        (
            'sync_cursors_integration_id_fkey on public.sync_cursors',
            'FOREIGN KEY (user_id, integration_id) REFERENCES public.integrations (user_id, id) ON DELETE CASCADE'
        ),
        (
            'sync_cursors_last_error_code_check on public.sync_cursors',
            $$CHECK ((last_error_code ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$
        ),
        ('sync_cursors_pkey on public.sync_cursors', 'PRIMARY KEY (user_id, integration_id, resource)'),
        ('sync_cursors_resource_check on public.sync_cursors', $$CHECK ((resource ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$),
        (
            'synced_records_data_check on public.synced_records',
            $$CHECK (((jsonb_typeof(data) = 'object'::text) AND (octet_length((data)::text) <= 524288)))$$
        ),
        (
            'synced_records_external_id_check on public.synced_records',
            $$CHECK ((((char_length(external_id) >= 1) AND (char_length(external_id) <= 255)) AND (external_id !~
            '[\u0001-\u001f\u007f-\u009f]'::text)))$$
        ),
        (
            'synced_records_integration_id_fkey on public.synced_records',
            'FOREIGN KEY (user_id, integration_id) REFERENCES public.integrations (user_id, id) ON DELETE CASCADE'
        ),
        (
            'synced_records_pkey on public.synced_records',
            'PRIMARY KEY (user_id, integration_id, resource, external_id)'
        ),
        (
            'synced_records_resource_check on public.synced_records',
            $$CHECK ((resource ~ '^[a-z][a-z0-9_]{0,63}$'::text))$$
        )
),
-- Long ones are written on several lines.
listed (object, definition) as (
    select w.object, regexp_replace(w.definition, '\s+', ' ', 'g') from written as w
),
-- As they are printed in any time zone; and a long number short.
present (object, definition) as (
    select
        format('%s on %I.%I', k.conname, n.nspname, c.relname),
        case
            -- Whether pg_get_constraintdef qualifies the other table depends on who asks.
            when k.contype = 'f' then format(
                'FOREIGN KEY (%s) REFERENCES %I.%I (%s)%s%s', x.own, rn.nspname, r.relname, x.others,
                case k.confdeltype
                    when 'c' then ' ON DELETE CASCADE' when 'a' then '' else format(' ON DELETE "%s"', k.confdeltype)
                end,
                case when not k.convalidated then ' NOT VALID' when k.condeferrable then ' DEFERRABLE' else '' end
            )
            else replace(
                replace(
                    replace(
                        pg_get_constraintdef(k.oid),
                        timestamptz '2000-01-01 00:00:00+00'::text, '2000-01-01 00:00:00+00'
                    ),
                    timestamptz '3000-01-01 00:00:00+00'::text, '3000-01-01 00:00:00+00'
                ),
                '1' || repeat('0', 308), '1e308'
            )
        end
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_class as c on c.oid = k.conrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    left join pg_catalog.pg_class as r on r.oid = k.confrelid
    left join pg_catalog.pg_namespace as rn on rn.oid = r.relnamespace
    cross join lateral (
        select string_agg(a.attname, ', ' order by y.position), string_agg(b.attname, ', ' order by y.position)
        from unnest(k.conkey, k.confkey) with ordinality as y (attnum, other, position)
        left join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = y.attnum
        left join pg_catalog.pg_attribute as b on b.attrelid = k.confrelid and b.attnum = y.other
    ) as x (own, others)
    where (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
            ))
        )
        -- Not-null is a constraint from PostgreSQL 18 on: see columns_beyond_the_list. Triggers have an audit too.
        and k.contype not in ('n', 't')
)
select
    'constraints_beyond_the_list' as audit,
    case when l.object is null then 'WARN' else 'ERROR' end as level,
    coalesce(p.object, l.object) as object,
    case
        when l.object is null then format('It is not one of the migrations: %s.', p.definition)
        when p.object is null then 'The constraint is missing.'
        else format('The constraint was changed. The migrations make: %s. It is: %s.', l.definition, p.definition)
    end as detail,
    case
        when p.object is null then 'Add it as the migration does.'
        when l.object is null then 'Drop it, if nobody knows why it is there: it refuses what the service writes.'
        when p.definition = l.definition || ' NOT VALID' then 'Validate it: `alter table … validate constraint …`.'
        else 'Drop it and add it as the migration does; look for rows that it does not allow.'
    end as remediation
from listed as l
full join present as p on p.object = l.object
where p.definition is distinct from l.definition
order by object;
