-- Remove everything these migrations made, and nothing else. ALL CONNECTIONS, THEIR CREDENTIALS, THE SYNCED RECORDS AND
-- THE AUDIT TRAIL ARE LOST: revoke the tokens at the services first, on the services' own pages, or they stay valid
-- there.
-- Nothing is dropped by cascade: if an object of your own depends on ours, the whole script fails and names it.
-- Run as the role that pushed the migrations. Where they were copied into your own supabase/migrations, delete those
-- files too, or the next push applies them again.

begin;

drop table public.synced_records;
drop table public.sync_cursors;
drop table public.oauth_states;
drop table public.integrations;
drop table public.integration_events;
drop table integrations_private.seen_states;
drop function integrations_private.token_is_allowed();
drop table integrations_private.allowed_claims;

drop function integrations_private.guard_new_integration();
drop function integrations_private.guard_refresh_lease();
drop function integrations_private.guard_changed_integration();
drop function integrations_private.guard_oauth_state();
drop function integrations_private.guard_sync_cursor();
drop function integrations_private.record_integration_event();
drop function integrations_private.announce_due_refresh();
drop function integrations_private.refuse_event_flood(uuid);
drop function integrations_private.acting_role();
drop function integrations_private.lock_user(uuid);
drop function integrations_private.acting_for();
drop function integrations_private.claim_due_refreshes(integer, uuid, uuid[]);
drop function integrations_private.claim_due_syncs(integer, uuid, uuid[]);
drop function integrations_private.count_integrations_by_key();
drop function integrations_private.count_authorizations_by_key();
drop function integrations_private.list_integrations_sealed_under(text, uuid, uuid, integer);
drop function integrations_private.purge_expired_states(integer);
drop function integrations_private.purge_old_events(interval, integer);
drop schema integrations_private;

-- The role may serve other databases of this server; then it stays.
do $$
begin
    if exists (
        select
        from pg_catalog.pg_namespace as n, aclexplode(n.nspacl) as g
        where n.nspname = 'public' and g.grantee = 'integrations_worker'::regrole
    ) then
        revoke usage on schema public from integrations_worker;
    end if;
    drop role integrations_worker;
exception
    when dependent_objects_still_exist then
        raise notice 'integrations_worker stays: something else depends on it';
end
$$;

-- So that a later push applies them again.
do $$
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        delete from supabase_migrations.schema_migrations as h
        using (values
            ('20261123000100', 'create_integrations_private'),
            ('20261123000200', 'create_allowed_claims'),
            ('20261123000300', 'create_integrations'),
            ('20261123000400', 'create_integration_events'),
            ('20261123000450', 'create_event_flood_limit'),
            ('20261123000500', 'create_integration_guard'),
            ('20261123000600', 'create_integration_event_trigger'),
            ('20261123000700', 'create_oauth_states'),
            ('20261123000800', 'create_oauth_state_guard'),
            ('20261123000900', 'create_integrations_worker'),
            ('20261123001000', 'create_claim_due_refreshes'),
            ('20261123001100', 'create_key_listing'),
            ('20261123001200', 'create_purges'),
            ('20261123001300', 'widen_worker_columns'),
            ('20261123001400', 'lease_grace'),
            ('20261123001500', 'say_why_in_events'),
            ('20261123001600', 'announce_due_refreshes'),
            ('20261123001700', 'bound_claims'),
            ('20261123001800', 'count_authorizations_by_key'),
            ('20261123001850', 'compare_columns_directly'),
            ('20261123001900', 'create_synced_records'),
            ('20261123002000', 'create_sync_cursors'),
            ('20261123002100', 'create_sync_cursor_guard'),
            ('20261123002200', 'create_claim_due_syncs'),
            ('20261123002350', 'resolve_types_in_pg_catalog'),
            ('20261123002360', 'keep_waits_after_failures'),
            ('20261123002370', 'count_grace_from_server_start'),
            ('20261123002380', 'tell_discarded_credentials'),
            ('20261123002390', 'count_turns_across_claims'),
            ('20261123002400', 'count_turns_across_sync_claims')
        ) as ours (version, name)
        -- Copied into another app's migrations they have its versions, and a prefix.
        where (h.version, h.name) = (ours.version, ours.name) or h.name = 'supabase_integrations_' || ours.name;
    end if;
end
$$;

commit;
