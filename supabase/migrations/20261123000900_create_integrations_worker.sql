-- The background worker's role: no BYPASSRLS, and no login until the operator sets a password outside version control
-- (sql/operations/). It sees and changes rows only of the users it has declared in this transaction:
--     select set_config('integrations.acting_for', '{…}', true)
-- The declaration does not make the worker trustworthy; it makes a mistake, such as a forgotten filter, reach few rows.

-- Roles belong to the whole cluster, so it may be there from another database's migrations.
do $$
declare
    found_role record;
begin
    select r.* into found_role from pg_catalog.pg_roles as r where r.rolname = 'integrations_worker';
    if not found then
        create role integrations_worker nologin noinherit;
        comment on role integrations_worker is
            'Background worker of the integrations tables: declared users only, no BYPASSRLS.';
    elsif found_role.rolsuper or found_role.rolbypassrls or found_role.rolcreaterole or found_role.rolcreatedb
        or found_role.rolreplication
        or exists (select from pg_catalog.pg_auth_members as m where m.member = found_role.oid) then
        raise exception 'the role integrations_worker exists and may do more than the worker must'
            using hint = 'Take its attributes and memberships away, or rename it, then run the migrations again.';
    end if;
end
$$;

-- Everybody may look up names in `public` unless a project has revoked that: then the worker needs it for itself.
do $$
begin
    if not has_schema_privilege('integrations_worker', 'public', 'usage') then
        grant usage on schema public to integrations_worker;
    end if;
end
$$;

grant usage on schema integrations_private to integrations_worker;

create function integrations_private.acting_for() returns uuid[]
language plpgsql stable security invoker set search_path = '' as $$
declare
    declared constant uuid[] := nullif(current_setting('integrations.acting_for', true), '')::uuid[];
begin
    if cardinality(declared) > 500 then
        raise exception 'too many users at once: refused by "integrations_acting_for_limit"' using
            errcode = 'program_limit_exceeded', constraint = 'integrations_acting_for_limit',
            detail = 'The worker acts for at most 500 users in a transaction.', hint = 'Work in smaller batches.';
    end if;
    return declared;
end
$$;

comment on function integrations_private.acting_for() is
    'The users this transaction has declared in integrations.acting_for, at most 500; null where there are none.';
revoke execute on function integrations_private.acting_for() from public, anon, authenticated, service_role;
grant execute on function integrations_private.acting_for() to integrations_worker;

grant select (
    user_id, id, service_name, status, credentials, credential_version, config, scopes, expires_at, last_refreshed_at,
    last_error_code, refresh_lease_owner, refresh_lease_until, next_refresh_at, refresh_failures
) on public.integrations to integrations_worker;
grant update (
    status, credentials, scopes, expires_at, last_refreshed_at, last_error_code, last_error_at, refresh_lease_owner,
    next_refresh_at, refresh_failures
) on public.integrations to integrations_worker;

create policy "The worker sees connections of the users it declared"
    on public.integrations for select to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker changes connections of the users it declared"
    on public.integrations for update to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]))
    with check (user_id = any ((select integrations_private.acting_for())::uuid[]));

comment on policy "The worker sees connections of the users it declared" on public.integrations is
    'Without a declaration there are no rows.';
comment on policy "The worker changes connections of the users it declared" on public.integrations is
    'Within the column grants and the guard; it can neither add nor remove any.';
