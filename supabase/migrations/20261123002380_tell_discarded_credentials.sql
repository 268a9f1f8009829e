-- A row that is emptied, because its connection was revoked or is about to be deleted, has an event of its own. It was
-- called credentials.replaced, as if others had come. Events of before keep that name: there the status, revoked, tells
-- which of the two happened.

create or replace function integrations_private.record_integration_event() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    left_as public.integrations;
    changed text[] := '{}';
    happened text;
begin
    case tg_op
        when 'INSERT' then
            happened := 'integration.created';
            left_as := new;
        when 'DELETE' then
            happened := 'integration.deleted';
            left_as := old;
        else
            left_as := new;
            -- The columns of the trigger record_integration_change. Leases, schedules and clocks are how a connection
            -- is kept alive, not what happened to it.
            changed := array_remove(array[
                case when new.config is distinct from old.config then 'config' end,
                case when new.credentials is distinct from old.credentials then 'credentials' end,
                case when new.display_name is distinct from old.display_name then 'display_name' end,
                case when new.expires_at is distinct from old.expires_at then 'expires_at' end,
                case when new.external_account_id is distinct from old.external_account_id
                    then 'external_account_id' end,
                case when new.last_error_code is distinct from old.last_error_code then 'last_error_code' end,
                case when new.scopes is distinct from old.scopes then 'scopes' end,
                case when new.service_type is distinct from old.service_type then 'service_type' end,
                case when new.status is distinct from old.status then 'status' end
            ], null);
            if changed = '{}' then
                return null;
            end if;
            happened := case
                when 'credentials' = any (changed) and new.credentials is null then 'credentials.discarded'
                when 'credentials' = any (changed) then 'credentials.replaced'
                when 'status' = any (changed) then 'status.changed'
                else 'integration.updated'
            end;
    end case;

    -- Deleting is always possible, and cannot happen more often than creating. Nor is the end of a lease refused: it
    -- brings the token of a service that has rotated it, or the reason why there is none. The flood limit refused to
    -- give the lease, so a full trail grows by one event for each lease that was given before.
    if tg_op = 'INSERT'
        or tg_op = 'UPDATE' and (old.refresh_lease_owner is null or new.refresh_lease_owner is not null) then
        perform integrations_private.refuse_event_flood(new.user_id);
    end if;

    insert into public.integration_events (
        user_id, integration_id, service_name, event, actor_role, actor_id, changed_columns, status, error_code
    ) values (
        left_as.user_id, left_as.id, left_as.service_name, happened, integrations_private.acting_role(), auth.uid(),
        changed, left_as.status, left_as.last_error_code
    );
    return null;
end
$$;

comment on function integrations_private.record_integration_event() is
    'Adds one row to integration_events for each change worth telling, within the flood limit.';
revoke execute on function integrations_private.record_integration_event()
    from public, anon, authenticated, service_role;

comment on column public.integration_events.event is
    'integration.created, .updated or .deleted, credentials.replaced or .discarded, or status.changed.';
