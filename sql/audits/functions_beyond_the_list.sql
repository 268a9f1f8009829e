-- Functions of integrations_private that differ from the migrations': added, changed or dropped. What a guard is called
-- says nothing about what it does, so its text counts, and the rights and settings it runs with.

with written (object, definition) as (
    values
        (
            'integrations_private.acting_for()',
            'plpgsql stable security invoker set search_path=pg_catalog, pg_temp returns uuid[]
            98fed227c06dde266ae60930a85fca52'
        ),
        (
            'integrations_private.acting_role()',
            'sql stable security invoker set search_path=pg_catalog, pg_temp returns text
            3ecbffe92335610f12aab77777dc7b73'
        ),
        (
            'integrations_private.announce_due_refresh()',
            'plpgsql volatile security invoker set search_path=pg_catalog, pg_temp returns trigger
            72141c1de217fb992ac1c5d5be4dc2d9'
        ),
        (
            'integrations_private.claim_due_refreshes(integer,uuid,uuid[])',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp, enable_bitmapscan=off returns
            TABLE(user_id uuid, id uuid) 2cd96ff3d649886523e41df49bef9d58'
        ),
        (
            'integrations_private.claim_due_syncs(integer,uuid,uuid[])',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp, enable_bitmapscan=off returns
            TABLE(user_id uuid, integration_id uuid, resource text) d59775bf144092919ed7b44261a81dc5'
        ),
        (
            'integrations_private.count_authorizations_by_key()',
            'sql stable security definer set search_path=pg_catalog, pg_temp returns TABLE(key_id text, authorizations
            bigint) b62ddd0c3fb609dbcdc284c62dbb68eb'
        ),
        (
            'integrations_private.count_integrations_by_key()',
            'sql stable security definer set search_path=pg_catalog, pg_temp returns TABLE(key_id text, integrations
            bigint) ab48bfe417e32dfd02c55e185230a6ac'
        ),
        (
            'integrations_private.guard_changed_integration()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            85cf7bcb2ce26b029e2b2f4b00f85856'
        ),
        (
            'integrations_private.guard_new_integration()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            e09f1a92bc2c99e0649bff7c14fcdf0d'
        ),
        (
            'integrations_private.guard_oauth_state()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            512630af536cc34f5f5bc2901ad1f8f5'
        ),
        (
            'integrations_private.guard_refresh_lease()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            0dd5eb9ab12d3714371044b619ff4747'
        ),
        (
            'integrations_private.guard_sync_cursor()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            7475eded3d9a40ba6731e4159c5734b6'
        ),
        (
            'integrations_private.list_integrations_sealed_under(text,uuid,uuid,integer)',
            'sql stable security definer set search_path=pg_catalog, pg_temp returns TABLE(user_id uuid, id uuid)
            2c4727dca70daf9cd8ec4ffa873e4507'
        ),
        (
            'integrations_private.lock_user(uuid)',
            'sql volatile security invoker set search_path=pg_catalog, pg_temp returns void
            3b47c0a2f4f2a84f82c9fe36c127fe40'
        ),
        (
            'integrations_private.purge_expired_states(integer)',
            'sql volatile security definer set search_path=pg_catalog, pg_temp returns bigint
            ae29d0331d016f82ef229b32bb027921'
        ),
        (
            'integrations_private.purge_old_events(interval,integer)',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns bigint
            1ae3becbe266e4c0ec4db07dec9521bc'
        ),
        (
            'integrations_private.record_integration_event()',
            'plpgsql volatile security definer set search_path=pg_catalog, pg_temp returns trigger
            ab397ad2956ba885f0ccfce7d01f6d86'
        ),
        (
            'integrations_private.refuse_event_flood(uuid)',
            'plpgsql volatile security invoker set search_path=pg_catalog, pg_temp returns void
            e2fd64a2c61af8def8230a91d7f99ff6'
        ),
        (
            'integrations_private.token_is_allowed()',
            'sql stable security invoker set search_path=pg_catalog, pg_temp returns boolean
            077e72dee1457d4442018c2693e6bffd'
        )
),
-- Long ones are written on several lines.
listed (object, definition) as (
    select w.object, regexp_replace(w.definition, '\s+', ' ', 'g') from written as w
),
present (object, definition) as (
    select
        f.oid::regprocedure::text,
        concat_ws(
            ' ', l.lanname,
            case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
            case when f.prosecdef then 'security definer' else 'security invoker' end,
            'set ' || array_to_string(f.proconfig, ', '),
            case when f.proowner <> t.relowner then format('owned by %s', f.proowner::regrole) end,
            'returns ' || pg_get_function_result(f.oid),
            -- A body after `return` is kept as an expression, which versions print with other spaces.
            md5(coalesce(regexp_replace(pg_get_function_sqlbody(f.oid), '\s', '', 'g'), f.prosrc))
        )
    from pg_catalog.pg_proc as f
    join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
    join pg_catalog.pg_language as l on l.oid = f.prolang
    left join pg_catalog.pg_class as t on t.oid = to_regclass('public.integrations')
    where n.nspname = 'integrations_private'
)
select
    'functions_beyond_the_list' as audit,
    'ERROR' as level,
    coalesce(p.object, l.object) as object,
    case
        when l.object is null then format('The function is not one of the migrations: %s.', p.definition)
        when p.object is null then 'The function is missing.'
        else format('The function was changed. The migrations make: %s. It is: %s.', l.definition, p.definition)
    end as detail,
    case
        when l.object is null then format('drop function %s;', p.object)
        else 'Create it again as the migration does, with `create or replace function`, and find out who changed it.'
    end as remediation
from listed as l
full join present as p on p.object = l.object
where p.definition is distinct from l.definition
order by object;
