-- Turns went by claim: whoever claimed one row at a time, as a worker does whose slots become free one by one, got the
-- longest due row each time, and so all 200 of one user before anybody else's first. The worker now says whose rows it
-- claimed last, and each of them counts as a turn that its user has had.
drop function integrations_private.claim_due_refreshes(integer, uuid);

create function integrations_private.claim_due_refreshes(max_rows integer, lease_owner uuid, served uuid[] default '{}')
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
    had as (
        select s.user_id, count(*) as turns
        from unnest(served[1:500]) as s (user_id)
        group by s.user_id
    ),
    in_turns as (
        select
            d.*,
            coalesce(h.turns, 0) + row_number() over (partition by d.user_id order by d.next_refresh_at, d.id) as turn
        from due as d
        left join had as h on h.user_id = d.user_id
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

comment on function integrations_private.claim_due_refreshes(integer, uuid, uuid[]) is
    'Leases up to max_rows (1 to 500) due connections to lease_owner, fairly across users, of whom those in served had'
    ' turns before; returns owners and ids.';
revoke execute on function integrations_private.claim_due_refreshes(integer, uuid, uuid[])
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.claim_due_refreshes(integer, uuid, uuid[]) to integrations_worker;
