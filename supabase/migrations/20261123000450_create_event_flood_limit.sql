-- How fast one user may grow the audit trail: about 1,000 events an hour. Triggers ask before a change, and before a
-- lease is given; what a lease holder writes at the end is not refused, because a token that a service has rotated
-- exists nowhere else.

-- Inside a security definer function current_user is its owner, so the role setting is read, or else the login.
create function integrations_private.acting_role() returns text
language sql stable security invoker set search_path = ''
return coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), session_user);

comment on function integrations_private.acting_role() is 'Who acts, also inside a security definer function.';
revoke execute on function integrations_private.acting_role() from public, anon, authenticated, service_role;

create function integrations_private.refuse_event_flood(owner uuid) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
    if integrations_private.acting_role() = 'authenticated' and (
        select count(*)
        from (
            select
            from public.integration_events as e
            where e.user_id = owner and e.created_at > now() - interval '1 hour'
            limit 1000
        ) as recent
    ) >= 1000 then
        raise exception 'too many changes: refused by "integration_events_flood"' using
            errcode = 'program_limit_exceeded', constraint = 'integration_events_flood',
            detail = 'A user may change connections about 1,000 times an hour.', hint = 'Try again later.';
    end if;
end
$$;

comment on function integrations_private.refuse_event_flood(uuid) is
    'Raises if the caller is a user''s client and the owner''s trail has 1,000 events of the last hour.';
revoke execute on function integrations_private.refuse_event_flood(uuid)
    from public, anon, authenticated, service_role;
