-- The fifteen seconds between two owners of a lease begin anew when the server starts. An outage may last longer than a
-- lease: whoever could not write a new token then has it in its journal, and tries again every few seconds, but a worker
-- on another machine could claim the row at the first moment and spend the token that is no more. (What a partition of
-- the network ends is not seen here.)

-- Fires when the column is written, also with the value it has: an owner who takes its own lapsed lease again must get
-- a new end. A lease that lives is never prolonged, so its holder cannot keep a row for longer than it was given.
create or replace function integrations_private.guard_refresh_lease() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    clock constant timestamptz := clock_timestamp();
    -- As in guard_changed_integration and claim_due_refreshes; counted from the server's start where that was later.
    grace constant interval := interval '15 seconds';
begin
    if new.refresh_lease_owner is null then
        new.refresh_lease_until := null;
    elsif old.refresh_lease_owner is null
        or greatest(old.refresh_lease_until, pg_postmaster_start_time()) + grace <= clock
        or old.refresh_lease_until <= clock and new.refresh_lease_owner = old.refresh_lease_owner then
        -- Now, while nothing depends on it: whoever ends a lease is not refused for a flood.
        perform integrations_private.refuse_event_flood(new.user_id);
        new.refresh_lease_until := clock + interval '60 seconds';
    elsif new.refresh_lease_owner = old.refresh_lease_owner then
        new.refresh_lease_until := old.refresh_lease_until;
    else
        raise exception 'the credentials are being changed: refused by "integrations_lease_is_exclusive"' using
            errcode = 'lock_not_available', constraint = 'integrations_lease_is_exclusive',
            detail = 'Another owner holds the lease of this connection, or it, or the server''s start, is less than 15 seconds ago.',
            hint = 'Wait, then read again.';
    end if;
    return new;
end
$$;

comment on function integrations_private.guard_refresh_lease() is
    'Gives a lease of 60 seconds to one owner at a time, 15 seconds after another''s ended, within the flood limit.';
revoke execute on function integrations_private.guard_refresh_lease() from public, anon, authenticated, service_role;

-- Fair across users: of the longest due rows each user's first goes first, then each user's second, and so on. A user
-- whose 200 rows are always due delays nobody by more than their one row in each turn. Users cannot backdate a row
-- (the guard's floor) and a leased row is not due, so the 5,000 rows looked at are the longest due ones, whoever sent
-- them.
create or replace function integrations_private.claim_due_refreshes(max_rows integer, lease_owner uuid)
returns table (user_id uuid, id uuid)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_bitmapscan = off as $$
declare
    wanted constant integer := least(greatest(coalesce(max_rows, 100), 1), 500);
    -- As in guard_refresh_lease, which would refuse the lease, and with it the whole batch.
    grace constant interval := interval '15 seconds';
begin
    if lease_owner is null then
        raise exception 'a lease needs an owner' using errcode = 'null_value_not_allowed', hint = 'Pass a fresh uuid.';
    end if;
    return query
    with due as (
        select i.user_id, i.id, i.next_refresh_at
        from public.integrations as i
        where i.status in ('active', 'error') and i.next_refresh_at <= now()
        order by i.next_refresh_at
        limit 5000
    ),
    in_turns as (
        select d.*, row_number() over (partition by d.user_id order by d.next_refresh_at, d.id) as turn
        from due as d
        order by turn, d.next_refresh_at
        -- Some are being claimed by other workers at this moment, and are skipped below.
        limit wanted * 4
    ),
    free as (
        select c.user_id, c.id
        from in_turns as t
        -- Row by row, in their order, until there are enough. The conditions stand here again because this is where
        -- they are checked once more if a row changed before it could be locked.
        cross join lateral (
            select i.user_id, i.id
            from public.integrations as i
            where i.user_id = t.user_id
                and i.id = t.id
                and i.status in ('active', 'error')
                and i.next_refresh_at <= now()
                and (
                    i.refresh_lease_until is null
                    or greatest(i.refresh_lease_until, pg_postmaster_start_time()) + grace <= now()
                )
            for update skip locked
        ) as c
        limit wanted
    )
    update public.integrations as i
    set refresh_lease_owner = claim_due_refreshes.lease_owner
    from free as f
    where i.user_id = f.user_id and i.id = f.id
    returning i.user_id, i.id;
end
$$;

comment on function integrations_private.claim_due_refreshes(integer, uuid) is
    'Leases up to max_rows (1 to 500) due connections to lease_owner, fairly across users; returns owners and ids.';
revoke execute on function integrations_private.claim_due_refreshes(integer, uuid)
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.claim_due_refreshes(integer, uuid) to integrations_worker;

comment on column public.integrations.refresh_lease_owner is
    'Who may replace the credentials just now. Another owner is refused until 15 seconds after refresh_lease_until.';
comment on column public.integrations.next_refresh_at is
    'When the worker looks at it next: at least 30 seconds ahead, and 15 seconds after a lease ends. Null is never.';
