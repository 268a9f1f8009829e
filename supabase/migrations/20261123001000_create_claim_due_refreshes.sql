-- Which connections are due, the worker learns here: ids and owners, never credentials. A policy for due rows only
-- would not do: Postgres applies the SELECT policy to the new row of an UPDATE that reads columns, and that row is not
-- due.
--
-- Fair across users: of the longest due rows each user's first goes first, then each user's second, and so on. A user
-- whose 200 rows are always due delays nobody by more than their one row in each turn. Users cannot backdate a row
-- (the guard's floor) and a leased row is not due, so the 5,000 rows looked at are the longest due ones, whoever sent
-- them.

create function integrations_private.claim_due_refreshes(max_rows integer, lease_owner uuid)
returns table (user_id uuid, id uuid)
language plpgsql volatile security definer set search_path = '' as $$
declare
    wanted constant integer := least(greatest(coalesce(max_rows, 100), 1), 500);
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
                and (i.refresh_lease_until is null or i.refresh_lease_until <= now())
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
