-- How much one user may ask for. Security definer because it counts where the caller's policies do not look.

create function integrations_private.guard_sync_cursor() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
    perform integrations_private.lock_user(new.user_id);
    if (select count(*) from public.sync_cursors as c where c.user_id = new.user_id) >= 1000
        -- `on conflict do nothing` comes here too, and adds nothing.
        and not exists (
            select
            from public.sync_cursors as c
            where (c.user_id, c.integration_id, c.resource) = (new.user_id, new.integration_id, new.resource)
        ) then
        raise exception 'too many synced resources: refused by "sync_cursors_quota"' using
            errcode = 'program_limit_exceeded', constraint = 'sync_cursors_quota',
            detail = 'A user may have at most 1,000 resources synced.', hint = 'Delete one first.';
    end if;
    return new;
end
$$;

comment on function integrations_private.guard_sync_cursor() is 'Refuses a 1,001st synced resource of one user.';
revoke execute on function integrations_private.guard_sync_cursor() from public, anon, authenticated, service_role;

create trigger guard_sync_cursor_insert before insert on public.sync_cursors
    for each row execute function integrations_private.guard_sync_cursor();
comment on trigger guard_sync_cursor_insert on public.sync_cursors is 'See guard_sync_cursor.';
