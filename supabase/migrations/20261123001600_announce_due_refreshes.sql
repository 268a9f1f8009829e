-- The worker looks for due connections once a minute; what becomes due before that, it hears of here. NOTIFY takes a
-- lock of the whole server at the commit and wakes every session of the database that listens to anything, so nothing
-- is announced that the next look would find in time. Any role that can connect may LISTEN: the payload is a moment,
-- and names nobody.

create function integrations_private.announce_due_refresh() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
    -- Whole seconds, rounded up: equal payloads of a transaction are sent once, and whoever waits until then is not
    -- early.
    perform pg_catalog.pg_notify('integrations_due', ceil(extract(epoch from new.next_refresh_at))::bigint::text);
    return null;
end
$$;

comment on function integrations_private.announce_due_refresh() is
    'Sends the moment of the next refresh, in epoch seconds, to the channel integrations_due.';
revoke execute on function integrations_private.announce_due_refresh()
    from public, anon, authenticated, service_role;

-- make_interval, because an interval in a trigger's condition is printed in the session's style, and the audit of
-- triggers compares what is printed.
create trigger announce_new_integration after insert on public.integrations
    for each row when (
        new.status in ('active', 'error') and new.next_refresh_at < clock_timestamp() + make_interval(secs => 60)
    )
    execute function integrations_private.announce_due_refresh();
comment on trigger announce_new_integration on public.integrations is 'See announce_due_refresh.';

create trigger announce_changed_integration after update of next_refresh_at, status on public.integrations
    for each row when (
        new.status in ('active', 'error')
        and new.next_refresh_at < clock_timestamp() + make_interval(secs => 60)
        and (new.next_refresh_at is distinct from old.next_refresh_at or old.status not in ('active', 'error'))
    )
    execute function integrations_private.announce_due_refresh();
comment on trigger announce_changed_integration on public.integrations is
    'See announce_due_refresh. A connection that was paused, or waited for its user, can be due at once.';
