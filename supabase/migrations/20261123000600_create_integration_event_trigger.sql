-- Writes the audit trail, in the same transaction as the change. Security definer because nobody may write events.

create function integrations_private.record_integration_event() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    -- Leases, schedules and clocks are how a connection is kept alive, not what happened to it.
    silent constant text[] := array[
        'credential_version', 'last_error_at', 'last_refreshed_at', 'last_sync_at', 'next_refresh_at',
        'refresh_failures', 'refresh_lease_owner', 'refresh_lease_until', 'updated_at'
    ];
    before jsonb;
    changed text[] := '{}';
    happened text;
begin
    case tg_op
        when 'INSERT' then
            happened := 'integration.created';
        when 'DELETE' then
            happened := 'integration.deleted';
        else
            before := to_jsonb(old);
            changed := array(
                select c.key
                from jsonb_each(to_jsonb(new)) as c
                where c.value is distinct from before -> c.key and c.key <> all (silent)
                order by c.key
            );
            if changed = '{}' then
                return null;
            end if;
            happened := case
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
        user_id, integration_id, service_name, event, actor_role, actor_id, changed_columns
    ) values (
        coalesce(new.user_id, old.user_id), coalesce(new.id, old.id), coalesce(new.service_name, old.service_name),
        happened, integrations_private.acting_role(), auth.uid(), changed
    );
    return null;
end
$$;

comment on function integrations_private.record_integration_event() is
    'Adds one row to integration_events for each change worth telling, within the flood limit.';
revoke execute on function integrations_private.record_integration_event()
    from public, anon, authenticated, service_role;

create trigger record_integration_presence after insert or delete on public.integrations
    for each row execute function integrations_private.record_integration_event();
comment on trigger record_integration_presence on public.integrations is 'See record_integration_event.';

create trigger record_integration_change
    after update of service_type, external_account_id, display_name, status, credentials, config, scopes, expires_at,
        last_error_code
    on public.integrations
    for each row execute function integrations_private.record_integration_event();
comment on trigger record_integration_change on public.integrations is
    'See record_integration_event. The list spares updates that touch nothing but lease and schedule the comparison.';
