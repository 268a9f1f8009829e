"""Offences that leave our objects alone and reach their rows another way: copies, children, roles, defaults."""

from typing import Final

from tests.database.offences import Offence

_BACKUP: Final = "create table public.backup as select * from public.integrations; grant select on public.backup to "

REACH: Final = (
    Offence(
        "child_tables",
        "public.child",
        "create table public.child () inherits (public.integrations); grant all on public.child to authenticated",
        "alter table public.child no inherit public.integrations",
    ),
    Offence(
        "child_tables",
        "public.oauth_states",
        "create table public.flows (flow text not null); alter table public.oauth_states inherit public.flows",
        "alter table public.oauth_states no inherit public.flows",
    ),
    Offence(
        "copies_within_reach",
        "public.backup",
        f"{_BACKUP} authenticated",
        "revoke all on public.backup from public, anon, authenticated, service_role",
    ),
    Offence(
        "copies_within_reach",
        "public.backup",
        f"{_BACKUP} public; alter table public.backup enable row level security",
        "revoke all on public.backup from public, anon, authenticated, service_role",
    ),
    Offence(
        "copies_within_reach",
        "extensions.flows",
        "create table extensions.flows as select s.user_id, s.state_hash, s.flow, 'x' as note"
        " from public.oauth_states as s; grant select (flow) on extensions.flows to service_role",
        "drop table extensions.flows",
    ),
    Offence(
        "memberships_past_rls",
        "role authenticated",
        "grant pg_read_all_data to authenticated",
        "revoke pg_read_all_data from authenticated",
    ),
    Offence(
        "memberships_past_rls",
        "role authenticated",
        "create role reader bypassrls; create role readers; grant reader to readers; grant readers to authenticated",
        "revoke readers from authenticated",
    ),
    Offence(
        "memberships_past_rls",
        "role authenticated",
        "revoke authenticated from postgres; grant postgres to authenticated",
        "revoke postgres from authenticated; grant authenticated to postgres",
    ),
    Offence(
        "memberships_past_rls",
        "role authenticated",
        "alter role authenticated bypassrls",
        "alter role authenticated nobypassrls",
    ),
    Offence(
        "memberships_past_rls",
        "role anon",
        "grant authenticated to anon",
        "revoke authenticated from anon",
    ),
    Offence(
        "memberships_past_rls",
        "role authenticator",
        "grant pg_write_all_data to authenticator",
        "revoke pg_write_all_data from authenticator",
    ),
    Offence(
        "memberships_past_rls",
        "role integrations_worker",
        "grant service_role to integrations_worker",
        "revoke service_role from integrations_worker",
    ),
    Offence(
        "default_privileges",
        "schema integrations_private",
        "alter default privileges in schema integrations_private grant select on tables to authenticated",
        "alter default privileges in schema integrations_private revoke select on tables from authenticated",
    ),
    Offence(
        "default_privileges",
        "schema integrations_private",
        "alter default privileges for role postgres in schema integrations_private"
        " grant execute on functions to public",
        "alter default privileges for role postgres in schema integrations_private"
        " revoke execute on functions from public",
    ),
    Offence(
        "views_past_rls",
        "public.summary",
        "create view public.connections with (security_invoker = true) as select id from public.integrations;"
        " create view public.summary as select count(*) from public.connections",
        "alter view public.summary set (security_invoker = true)",
    ),
)
