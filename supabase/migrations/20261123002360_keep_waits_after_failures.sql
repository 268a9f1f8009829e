-- A failed refresh orders a wait, and whoever asks meanwhile is told to come back. What a service's client may write,
-- its user may write with curl: by setting refresh_failures to 0, a user could have this server ask a failing service as
-- fast as it answers, and no event of the trail would count that. Only new credentials end a row of failures now. A user
-- may still pretend that another refresh failed just now, with the least wait there is: 30 seconds.

create or replace function integrations_private.guard_changed_integration() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    clock constant timestamptz := clock_timestamp();
    -- As in guard_refresh_lease and claim_due_refreshes.
    grace constant interval := interval '15 seconds';
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

    if new.credentials is not distinct from old.credentials
        and integrations_private.acting_role() = 'authenticated' then
        new.refresh_failures := greatest(new.refresh_failures, old.refresh_failures);
        if new.refresh_failures > old.refresh_failures then
            -- A failure that was recorded, with the wait that it ordered; and never none.
            if new.next_refresh_at is null and new.status in ('active', 'error') then
                new.next_refresh_at := clock;
            end if;
        elsif new.refresh_failures > 0 then
            new.next_refresh_at := greatest(new.next_refresh_at, old.next_refresh_at);
        end if;
    end if;

    if new.next_refresh_at is distinct from old.next_refresh_at
        and new.next_refresh_at < clock + interval '30 seconds' then
        new.next_refresh_at := clock + interval '30 seconds';
    end if;
    -- A row that nobody else could lease is not due, so that such rows never stand in the way of the queue.
    if new.next_refresh_at < new.refresh_lease_until + grace then
        new.next_refresh_at := new.refresh_lease_until + grace;
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
    'Counts the version; keeps identity, times, failures and schedule honest; refuses new credentials without a lease.';
revoke execute on function integrations_private.guard_changed_integration()
    from public, anon, authenticated, service_role;
