-- The worker's library gives a backend the same connection that its user is shown, calls services with it, and counts
-- calls per account: it reads every column, and says when a connection was used. Which rows, the declaration in
-- integrations.acting_for decides as before; identity, version, lease end and times stay the database's.

grant select (
    service_type, external_account_id, display_name, last_sync_at, last_error_at, created_at, updated_at
) on public.integrations to integrations_worker;
grant update (last_sync_at) on public.integrations to integrations_worker;
