-- What the worker may delete: what has expired. Each call deletes a bounded number of rows and says how many, so that
-- the caller repeats it while there are more; rows somebody else is working on are left for the next time.

create function integrations_private.purge_expired_states(max_rows integer) returns bigint
language sql volatile security definer set search_path = '' as $$
    with expired as (
        select s.user_id, s.state_hash
        from public.oauth_states as s
        where s.expires_at <= now()
        order by s.expires_at
        limit least(greatest(coalesce(max_rows, 1000), 1), 10000)
        for update skip locked
    ),
    forgotten as (
        select s.user_id, s.state_hash
        from integrations_private.seen_states as s
        where s.seen_at <= now() - interval '15 minutes'
        order by s.seen_at
        limit least(greatest(coalesce(max_rows, 1000), 1), 10000)
        for update skip locked
    ),
    purged_states as (
        delete from public.oauth_states as s
        using expired as e
        where s.user_id = e.user_id and s.state_hash = e.state_hash
        returning s.user_id
    ),
    purged_memory as (
        delete from integrations_private.seen_states as s
        using forgotten as f
        where s.user_id = f.user_id and s.state_hash = f.state_hash
        returning s.user_id
    )
    select (select count(*) from purged_states) + (select count(*) from purged_memory)
$$;

comment on function integrations_private.purge_expired_states(integer) is
    'Deletes expired authorizations and the memory of states past 15 minutes, up to max_rows (1 to 10,000) of each.';
revoke execute on function integrations_private.purge_expired_states(integer)
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.purge_expired_states(integer) to integrations_worker;

create function integrations_private.purge_old_events(older_than interval, max_rows integer) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
    purged bigint;
begin
    if older_than is null then
        raise exception 'how old may events become?' using
            errcode = 'null_value_not_allowed', hint = 'Pass an interval of 30 days or more.';
    end if;
    with old as (
        select e.id
        from public.integration_events as e
        -- Creations stay: they are the record of the ids that were used.
        where e.event <> 'integration.created'
            and e.created_at < now() - greatest(older_than, interval '30 days')
        order by e.created_at
        limit least(greatest(coalesce(max_rows, 1000), 1), 10000)
        for update skip locked
    )
    delete from public.integration_events as e
    using old as o
    where e.id = o.id;
    get diagnostics purged = row_count;
    return purged;
end
$$;

comment on function integrations_private.purge_old_events(interval, integer) is
    'Deletes up to max_rows (1 to 10,000) events older than the interval, at least 30 days; creations stay.';
revoke execute on function integrations_private.purge_old_events(interval, integer)
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.purge_old_events(interval, integer) to integrations_worker;
