"""What makes an audit fire and what silences it again. These offend against row level security, policies and grants."""

from dataclasses import dataclass
from typing import Final, LiteralString


@dataclass(frozen=True)
class Offence:
    """Something somebody did to a database, and its undoing."""

    audit: str
    finds: LiteralString
    """The object the audit must name."""
    offend: LiteralString
    fix: LiteralString


_OTHER_FUNCTION: Final = (
    "create function public.all_integrations() returns bigint language sql security definer return "
)

ACCESS: Final = (
    Offence(
        "tables_without_rls",
        "public.integrations",
        "alter table public.integrations disable row level security",
        "alter table public.integrations enable row level security",
    ),
    Offence(
        "tables_without_rls",
        "integrations_private.seen_states",
        "alter table integrations_private.seen_states disable row level security",
        "alter table integrations_private.seen_states enable row level security",
    ),
    Offence(
        "policies_without_a_role",
        "public.integrations: Everyone's",
        'create policy "Everyone\'s" on public.integrations for select using (false)',
        'alter policy "Everyone\'s" on public.integrations to authenticated',
    ),
    Offence(
        "policies_with_unwrapped_calls",
        "public.integrations: Owners see their connections",
        'alter policy "Owners see their connections" on public.integrations using (auth.uid() = user_id)',
        'alter policy "Owners see their connections" on public.integrations using ((select auth.uid()) = user_id)',
    ),
    Offence(
        "policies_with_unwrapped_calls",
        "public.oauth_states: Settings",
        'create policy "Settings" on public.oauth_states for insert to authenticated'
        " with check (current_setting('app.open') = 'yes')",
        'drop policy "Settings" on public.oauth_states',
    ),
    Offence(
        "policies_with_unwrapped_calls",
        "public.integrations: Tokens of apps and anonymous users need the operator's leave",
        'alter policy "Tokens of apps and anonymous users need the operator\'s leave" on public.integrations'
        " using (integrations_private.token_is_allowed())",
        'alter policy "Tokens of apps and anonymous users need the operator\'s leave" on public.integrations'
        " using ((select integrations_private.token_is_allowed()))",
    ),
    Offence(
        "policies_without_check",
        "public.integrations: Half",
        'create policy "Half" on public.integrations for update to authenticated using ((select auth.uid()) = user_id)',
        'alter policy "Half" on public.integrations with check ((select auth.uid()) = user_id)',
    ),
    Offence(
        "policies_beyond_the_list",
        "public.integrations",
        'create policy "Support" on public.integrations for select to authenticated using (true)',
        'drop policy "Support" on public.integrations',
    ),
    Offence(
        "policies_beyond_the_list",
        "public.integration_events",
        'drop policy "Owners read what happened to their connections" on public.integration_events',
        'create policy "Owners read what happened to their connections" on public.integration_events'
        " for select to authenticated using ((select auth.uid()) = user_id)",
    ),
    Offence(
        "policies_beyond_the_list",
        "public.oauth_states",
        'alter policy "Owners consume their authorizations until they expire" on public.oauth_states'
        " using ((select auth.uid()) = user_id)",
        'alter policy "Owners consume their authorizations until they expire" on public.oauth_states'
        " using ((select auth.uid()) = user_id and expires_at > now())",
    ),
    Offence(
        "anonymous_privileges",
        "public.integrations",
        "grant select on public.integrations to anon",
        "revoke select on public.integrations from anon",
    ),
    Offence(
        "anonymous_privileges",
        "public.oauth_states",
        "grant update (flow) on public.oauth_states to public",
        "revoke update (flow) on public.oauth_states from public",
    ),
    Offence(
        "anonymous_privileges",
        "public.integration_events_id_seq",
        "grant usage on sequence public.integration_events_id_seq to anon",
        "revoke usage on sequence public.integration_events_id_seq from anon",
    ),
    Offence(
        "anonymous_privileges",
        "integrations_private.purge_expired_states(integer)",
        "grant execute on function integrations_private.purge_expired_states(integer) to public",
        "revoke execute on function integrations_private.purge_expired_states(integer) from public",
    ),
    Offence(
        "anonymous_privileges",
        "schema integrations_private",
        "grant usage on schema integrations_private to anon",
        "revoke usage on schema integrations_private from anon",
    ),
    Offence(
        "grants_beyond_the_list",
        "public.integrations",
        "grant insert (user_id), update (credential_version) on public.integrations to authenticated",
        "revoke insert (user_id), update (credential_version) on public.integrations from authenticated",
    ),
    Offence(
        "grants_beyond_the_list",
        "public.oauth_states",
        "grant all on public.oauth_states to service_role",
        "revoke all on public.oauth_states from service_role",
    ),
    Offence(
        "grants_beyond_the_list",
        "public.integration_events",
        "grant delete on public.integration_events to authenticator",
        "revoke delete on public.integration_events from authenticator",
    ),
    Offence(
        "grants_beyond_the_list",
        "integrations_private.acting_for()",
        "revoke execute on function integrations_private.acting_for() from integrations_worker",
        "grant execute on function integrations_private.acting_for() to integrations_worker",
    ),
)
