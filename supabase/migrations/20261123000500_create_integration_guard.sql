-- What a client must not decide about a connection, the database decides, on its own clock: version, lease, schedule,
-- quota, ids used once. Security definer because the guards look where the caller may not; as trigger functions they
-- cannot be called. A refusal ends its message with the rule's name in double quotes, as Postgres does.

create function integrations_private.guard_new_integration() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    clock constant timestamptz := clock_timestamp();
begin
    perform integrations_private.lock_user(new.user_id);
    if (select count(*) from public.integrations as i where i.user_id = new.user_id) >= 200 then
        raise exception 'too many connections: refused by "integrations_quota"' using
            errcode = 'program_limit_exceeded', constraint = 'integrations_quota',
            detail = 'A user may have at most 200 connections.', hint = 'Delete one first.';
    end if;
    -- Sealed over (id, version): a second row of the same id would let the first one's old envelopes open again.
    if exists (
        select
        from public.integration_events as e
        where e.user_id = new.user_id and e.integration_id = new.id and e.event = 'integration.created'
    ) then
        raise exception 'this id was used before: refused by "integrations_id_used_once"' using
            errcode = 'unique_violation', constraint = 'integrations_id_used_once',
            detail = 'An id names one connection forever, also after its deletion.', hint = 'Choose a fresh random id.';
    end if;

    new.credential_version := 1;
    new.refresh_lease_owner := null;
    new.refresh_lease_until := null;
    new.created_at := clock;
    new.updated_at := clock;
    if new.next_refresh_at < clock + interval '30 seconds' then
        new.next_refresh_at := clock + interval '30 seconds';
    end if;
    return new;
end
$$;

comment on function integrations_private.guard_new_integration() is
    'Sets what a client must not choose on insert; refuses a 201st row and an id that was used before.';
revoke execute on function integrations_private.guard_new_integration()
    from public, anon, authenticated, service_role;

create trigger guard_integration_insert before insert on public.integrations
    for each row execute function integrations_private.guard_new_integration();
comment on trigger guard_integration_insert on public.integrations is 'See guard_new_integration.';

-- Fires when the column is written, also with the value it has: an owner who takes its own lapsed lease again must get
-- a new end. A lease that lives is never prolonged, so its holder cannot keep a row for longer than it was given.
create function integrations_private.guard_refresh_lease() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    clock constant timestamptz := clock_timestamp();
begin
    if new.refresh_lease_owner is null then
        new.refresh_lease_until := null;
    elsif old.refresh_lease_owner is null or old.refresh_lease_until <= clock then
        -- Now, while nothing depends on it: whoever ends a lease is not refused for a flood.
        perform integrations_private.refuse_event_flood(new.user_id);
        new.refresh_lease_until := clock + interval '60 seconds';
    elsif new.refresh_lease_owner = old.refresh_lease_owner then
        new.refresh_lease_until := old.refresh_lease_until;
    else
        raise exception 'the credentials are being changed: refused by "integrations_lease_is_exclusive"' using
            errcode = 'lock_not_available', constraint = 'integrations_lease_is_exclusive',
            detail = 'Another owner holds the lease of this connection.', hint = 'Wait for it to end, then read again.';
    end if;
    return new;
end
$$;

comment on function integrations_private.guard_refresh_lease() is
    'Gives a lease of 60 seconds to one owner at a time, within the flood limit.';
revoke execute on function integrations_private.guard_refresh_lease() from public, anon, authenticated, service_role;

create trigger guard_integration_lease before update of refresh_lease_owner, refresh_lease_until on public.integrations
    for each row execute function integrations_private.guard_refresh_lease();
comment on trigger guard_integration_lease on public.integrations is
    'See guard_refresh_lease. Its name puts it before guard_integration_update, which reads the lease.';

create function integrations_private.guard_changed_integration() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    clock constant timestamptz := clock_timestamp();
begin
    if (new.user_id, new.id, new.service_name) is distinct from (old.user_id, old.id, old.service_name) then
        raise exception 'a connection cannot become another one: refused by "integrations_identity_is_fixed"' using
            errcode = 'check_violation', constraint = 'integrations_identity_is_fixed',
            detail = 'Credentials are sealed over user_id, id and service_name and would no longer open.',
            hint = 'Connect again and delete this one.';
    end if;

    new.credential_version := old.credential_version;
    if new.credentials is distinct from old.credentials then
        -- A lapsed lease is enough while nobody else took it: the token a slow provider sent at last must not be lost.
        if old.refresh_lease_owner is null or new.refresh_lease_owner <> old.refresh_lease_owner then
            raise exception 'credentials change under a lease: refused by "integrations_credentials_need_a_lease"' using
                errcode = 'object_not_in_prerequisite_state', constraint = 'integrations_credentials_need_a_lease',
                detail = 'A change without it would fence out a refresh and lose the token it brings.',
                hint = 'Set refresh_lease_owner first, then replace credentials where it is still yours.';
        end if;
        new.credential_version := old.credential_version + 1;
    end if;

    if new.next_refresh_at is distinct from old.next_refresh_at
        and new.next_refresh_at < clock + interval '30 seconds' then
        new.next_refresh_at := clock + interval '30 seconds';
    end if;
    -- A leased row is not due, so that leased rows never stand in the way of the queue.
    if new.next_refresh_at < new.refresh_lease_until then
        new.next_refresh_at := new.refresh_lease_until;
    end if;

    if new.last_refreshed_at > clock then
        new.last_refreshed_at := clock;
    end if;
    if new.last_sync_at > clock then
        new.last_sync_at := clock;
    end if;
    if new.last_error_at > clock then
        new.last_error_at := clock;
    end if;
    new.created_at := old.created_at;
    new.updated_at := clock;
    return new;
end
$$;

comment on function integrations_private.guard_changed_integration() is
    'Counts the version; keeps identity, times and schedule honest; refuses new credentials without a lease.';
revoke execute on function integrations_private.guard_changed_integration()
    from public, anon, authenticated, service_role;

create trigger guard_integration_update before update on public.integrations
    for each row execute function integrations_private.guard_changed_integration();
comment on trigger guard_integration_update on public.integrations is 'See guard_changed_integration.';
