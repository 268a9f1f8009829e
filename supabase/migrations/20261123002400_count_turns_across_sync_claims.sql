-- As claim_due_refreshes: a worker whose slots become free one by one says whose syncs it claimed last, and each of them
-- counts as a turn that its user has had. Otherwise one user's many due syncs would all go before anybody else's first.
drop function integrations_private.claim_due_syncs(integer, uuid);

create function integrations_private.claim_due_syncs(max_rows integer, lease_owner uuid, served uuid[] default '{}')
returns table (user_id uuid, integration_id uuid, resource text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_bitmapscan = off as $$
declare
    wanted constant integer := least(greatest(coalesce(max_rows, 1), 1), 100);
begin
    if lease_owner is null then
        raise exception 'a lease needs an owner' using errcode = 'null_value_not_allowed', hint = 'Pass a fresh uuid.';
    end if;
    -- Else paused connections would stand at the front of the queue for good.
    update public.sync_cursors as s
    set next_run_at = now() + interval '1 hour'
    from (
        select c.user_id, c.integration_id, c.resource
        from (
            select d.user_id, d.integration_id, d.resource
            from public.sync_cursors as d
            where d.next_run_at <= now()
            order by d.next_run_at
            limit 5000
        ) as front
        join public.integrations as i on i.user_id = front.user_id and i.id = front.integration_id
        join public.sync_cursors as c
            on c.user_id = front.user_id and c.integration_id = front.integration_id and c.resource = front.resource
        where i.status <> 'active'
        for update of c skip locked
    ) as paused
    where s.user_id = paused.user_id and s.integration_id = paused.integration_id and s.resource = paused.resource;
    return query
    with due as (
        select c.user_id, c.integration_id, c.resource, c.next_run_at
        from public.sync_cursors as c
        where c.next_run_at <= now()
        order by c.next_run_at
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
            coalesce(h.turns, 0)
                + row_number() over (partition by d.user_id order by d.next_run_at, d.integration_id, d.resource) as turn
        from due as d
        left join had as h on h.user_id = d.user_id
        order by turn, d.next_run_at
        limit wanted * 4
    ),
    free as (
        select f.user_id, f.integration_id, f.resource
        from in_turns as t
        cross join lateral (
            select c.user_id, c.integration_id, c.resource
            from public.sync_cursors as c
            join public.integrations as i on i.user_id = c.user_id and i.id = c.integration_id
            where c.user_id = t.user_id
                and c.integration_id = t.integration_id
                and c.resource = t.resource
                and c.next_run_at <= now()
                and (c.lease_until is null or c.lease_until <= now())
                and i.status = 'active'
            for update of c skip locked
        ) as f
        limit wanted
    )
    update public.sync_cursors as c
    set
        lease_owner = claim_due_syncs.lease_owner,
        lease_until = now() + interval '2 minutes',
        -- Behind everybody else's, should whoever claims it die.
        next_run_at = now() + interval '2 minutes'
    from free as f
    where c.user_id = f.user_id and c.integration_id = f.integration_id and c.resource = f.resource
    returning c.user_id, c.integration_id, c.resource;
end
$$;

comment on function integrations_private.claim_due_syncs(integer, uuid, uuid[]) is
    'Leases up to max_rows (1 to 100) due syncs to lease_owner for two minutes, fairly across users, of whom those in served'
    ' had turns before.';
revoke execute on function integrations_private.claim_due_syncs(integer, uuid, uuid[])
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.claim_due_syncs(integer, uuid, uuid[]) to integrations_worker;
