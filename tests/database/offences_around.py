"""Audits of what surrounds the tables: functions, the worker, owners, indexes, views, publications."""

from typing import Final

from tests.database.offences import Offence

SURROUNDINGS: Final = (
    Offence(
        "definer_functions_reachable",
        "integrations_private.purge_old_events(interval,integer)",
        "grant execute on function integrations_private.purge_old_events(interval, integer) to authenticated",
        "revoke execute on function integrations_private.purge_old_events(interval, integer) from authenticated",
    ),
    Offence(
        "definer_functions_reachable",
        "all_integrations()",
        "create function public.all_integrations() returns bigint language sql security definer"
        " return (select count(*) from public.integrations)",
        "alter function public.all_integrations() security invoker",
    ),
    Offence(
        "mutable_search_path",
        "integrations_private.acting_for()",
        "alter function integrations_private.acting_for() reset search_path",
        "alter function integrations_private.acting_for() set search_path = pg_catalog, pg_temp",
    ),
    Offence(
        "mutable_search_path",
        "integrations_private.lock_user(uuid)",
        "alter function integrations_private.lock_user(uuid) set search_path = ''",
        "alter function integrations_private.lock_user(uuid) set search_path = pg_catalog, pg_temp",
    ),
    Offence(
        "worker_reach",
        "role integrations_worker",
        "alter role integrations_worker bypassrls",
        "alter role integrations_worker nobypassrls",
    ),
    Offence(
        "worker_reach",
        "role integrations_worker",
        "grant pg_read_all_data to integrations_worker",
        "revoke pg_read_all_data from integrations_worker",
    ),
    Offence(
        "worker_reach",
        "role integrations_worker",
        "grant integrations_worker to authenticator",
        "revoke integrations_worker from authenticator",
    ),
    Offence(
        "worker_reach",
        "auth.users",
        "grant select (email) on auth.users to integrations_worker",
        "revoke select (email) on auth.users from integrations_worker",
    ),
    Offence(
        "worker_reach",
        "schema auth",
        "grant usage on schema auth to integrations_worker",
        "revoke usage on schema auth from integrations_worker",
    ),
    Offence(
        "worker_reach",
        "auth.uid()",
        "grant execute on function auth.uid() to integrations_worker",
        "revoke execute on function auth.uid() from integrations_worker",
    ),
    Offence(
        "worker_reach",
        "public.queue",
        "create table public.queue (id bigint); alter table public.queue owner to integrations_worker",
        "drop table public.queue",
    ),
    Offence(
        "roles_past_rls",
        "public.integrations",
        "grant select on public.integrations to service_role",
        "revoke select on public.integrations from service_role",
    ),
    Offence(
        "roles_past_rls",
        "public.oauth_states",
        "alter table public.oauth_states owner to authenticated",
        "alter table public.oauth_states owner to postgres",
    ),
    Offence(
        "foreign_keys_without_index",
        "oauth_states_integration_id_fkey on oauth_states",
        "drop index public.oauth_states_integration_id_idx",
        "create index on public.oauth_states (integration_id, user_id, expires_at)",
    ),
    Offence(
        "foreign_keys_without_index",
        "oauth_states_integration_id_fkey on oauth_states",
        "drop index public.oauth_states_integration_id_idx;"
        " create index half on public.oauth_states (user_id, integration_id) where integration_id is null",
        "create index on public.oauth_states (user_id, integration_id)",
    ),
    Offence(
        "credentials_not_sealed",
        "public.integrations 00000000-0000-4000-8000-000000000001 of 00000000-0000-4000-8000-000000000002",
        "alter table public.integrations drop constraint integrations_credentials_check;"
        " set local session_replication_role = replica;"
        " insert into public.integrations (service_name, service_type, credentials, id, user_id) values ('demo_crm',"
        " 'crm', 'canary', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002')",
        "delete from public.integrations",
    ),
    Offence(
        "views_past_rls",
        "public.connections",
        "create view public.connections as select i.id from public.integrations as i",
        "alter view public.connections set (security_invoker = true)",
    ),
    Offence(
        "views_past_rls",
        "extensions.copies",
        "create materialized view extensions.copies as select flow from public.oauth_states",
        "drop materialized view extensions.copies",
    ),
    Offence(
        "published_tables",
        "public.integrations",
        "create publication supabase_realtime for table public.integrations",
        "alter publication supabase_realtime drop table public.integrations",
    ),
)
