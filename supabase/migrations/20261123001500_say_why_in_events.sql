-- Why a connection stopped, and what became of a revocation: an event also says in which status the change left the
-- connection and which error code stood there. Both are words that checks allow, so the trail still holds nothing that
-- identifies an account. Null in events of before; an error code is also null where there was none.

alter table public.integration_events
    add column status text,
    add column error_code text,
    add constraint integration_events_status_check check (
        status in ('active', 'inactive', 'needs_reauthorization', 'error', 'revoked')
    ),
    add constraint integration_events_error_code_check check (error_code ~ '^[a-z][a-z0-9_]{0,63}$');

comment on column public.integration_events.status is
    'The connection''s status after the change; the last one where it was deleted; null in events of before.';
comment on column public.integration_events.error_code is
    'The connection''s last_error_code after the change; the last one where it was deleted.';
comment on constraint integration_events_status_check on public.integration_events is 'A state of a connection.';
comment on constraint integration_events_error_code_check on public.integration_events is 'A word, not a message.';

create or replace function integrations_private.record_integration_event() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    -- Leases, schedules and clocks are how a connection is kept alive, not what happened to it.
    silent constant text[] := array[
        'credential_version', 'last_error_at', 'last_refreshed_at', 'last_sync_at', 'next_refresh_at',
        'refresh_failures', 'refresh_lease_owner', 'refresh_lease_until', 'updated_at'
    ];
    before jsonb;
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
