"""Offences against what the migrations define. Names stay, and what they stand for changes."""

from typing import Final, LiteralString

from tests.database.offences import Offence

_PRIVATE: Final = "integrations_private."
_GUARDS: Final = (
    "guard_new_integration",
    "guard_refresh_lease",
    "guard_changed_integration",
    "guard_oauth_state",
    "record_integration_event",
)
_RETURN_NEW: Final = (
    "returns trigger language plpgsql security definer set search_path = '' as $$ begin return new; end $$"
)

_RESTORE: Final = "do $do$ begin execute (select k.definition from kept as k); end $do$; drop table kept"


def _replaced(function: LiteralString, by: LiteralString) -> Offence:
    """A function by its own name that does something else, and then the text it had."""
    return Offence(
        "functions_beyond_the_list",
        f"integrations_private.{function}",
        f"create temporary table kept as select pg_get_functiondef('integrations_private.{function}'::regprocedure)"
        f" as definition; create or replace function integrations_private.{function} {by}",
        _RESTORE,
    )


def _altered(function: LiteralString, to: LiteralString, back: LiteralString) -> Offence:
    """A function that keeps its text and runs otherwise."""
    alter: LiteralString = f"alter function integrations_private.{function}"
    return Offence("functions_beyond_the_list", f"integrations_private.{function}", f"{alter} {to}", f"{alter} {back}")


FUNCTIONS: Final = (
    *(_replaced(f"{guard}()", _RETURN_NEW) for guard in _GUARDS),
    _replaced("token_is_allowed()", "returns boolean language sql stable set search_path = '' return true"),
    _replaced("token_is_allowed()", "returns boolean language sql stable set search_path = '' as 'select true'"),
    _replaced(
        "acting_for()",
        "returns uuid[] language plpgsql stable set search_path = ''"
        " as $$ begin return array(select u.id from auth.users as u); end $$",
    ),
    _altered("guard_new_integration()", "security invoker", "security definer"),
    _altered("acting_for()", "immutable", "stable"),
    _altered("claim_due_refreshes(integer,uuid,uuid[])", "set row_security = off", "reset row_security"),
    _altered("guard_oauth_state()", "owner to authenticated", "owner to postgres"),
    Offence(
        "functions_beyond_the_list",
        "integrations_private.guard_oauth_state(integer)",
        "create function integrations_private.guard_oauth_state(integer) returns integer language sql return 1",
        "drop function integrations_private.guard_oauth_state(integer)",
    ),
    Offence(
        "functions_beyond_the_list",
        "integrations_private.purge_expired_states(integer)",
        "create temporary table kept as select pg_get_functiondef("
        "'integrations_private.purge_expired_states(integer)'::regprocedure) as definition;"
        " drop function integrations_private.purge_expired_states(integer)",
        f"{_RESTORE}; alter function integrations_private.purge_expired_states(integer) owner to postgres",
    ),
)

_INSERT: Final = "create trigger guard_integration_insert before insert on public.integrations for each row"
_DROP_INSERT: Final = "drop trigger guard_integration_insert on public.integrations"
_GUARD: Final = "execute function integrations_private.guard_new_integration()"
_NOTHING: Final = f"create function public.nothing() {_RETURN_NEW}"

# The one on the table of users, by which a deleted user's connections go.
_CASCADE: Final[LiteralString] = """
    do $$ begin execute (
        select format('alter table auth.users {} trigger %I', t.tgname)
        from pg_trigger as t join pg_constraint as k on k.oid = t.tgconstraint
        where k.conname = 'integrations_user_id_fkey' and t.tgrelid = 'auth.users'::regclass and t.tgtype & 8 = 8
    ); end $$
"""

TRIGGERS: Final = (
    Offence(
        "triggers_beyond_the_list",
        "guard_integration_insert on public.integrations",
        f"{_DROP_INSERT}; {_INSERT} when (false) {_GUARD}",
        f"{_DROP_INSERT}; {_INSERT} {_GUARD}",
    ),
    Offence(
        "triggers_beyond_the_list",
        "guard_integration_insert on public.integrations",
        f"{_NOTHING}; {_DROP_INSERT}; {_INSERT} execute function public.nothing()",
        f"{_DROP_INSERT}; {_INSERT} {_GUARD}",
    ),
    Offence(
        "triggers_beyond_the_list",
        "guard_integration_insert on public.integrations",
        _DROP_INSERT,
        f"{_INSERT} {_GUARD}",
    ),
    Offence(
        "triggers_beyond_the_list",
        "zz_undo on public.integrations",
        f"{_NOTHING}; create trigger zz_undo before insert or update on public.integrations"
        " for each row execute function public.nothing()",
        "drop trigger zz_undo on public.integrations",
    ),
    Offence(
        "triggers_beyond_the_list",
        "watch on integrations_private.seen_states",
        f"{_NOTHING}; create trigger watch after insert on integrations_private.seen_states"
        " execute function public.nothing()",
        "drop trigger watch on integrations_private.seen_states",
    ),
    Offence(
        "triggers_beyond_the_list",
        "guard_integration_update on public.integrations",
        "alter table public.integrations disable trigger guard_integration_update",
        "alter table public.integrations enable trigger guard_integration_update",
    ),
    Offence(
        "triggers_beyond_the_list",
        "record_integration_change on public.integrations",
        "alter table public.integrations enable replica trigger record_integration_change",
        "alter table public.integrations enable always trigger record_integration_change",
    ),
    Offence(
        "triggers_beyond_the_list",
        "integrations_user_id_fkey on public.integrations",
        _CASCADE.format("disable"),
        _CASCADE.format("enable"),
    ),
    Offence(
        "triggers_beyond_the_list",
        "rule silence on public.integration_events",
        "create rule silence as on insert to public.integration_events do instead nothing",
        "drop rule silence on public.integration_events",
    ),
)

COLUMNS: Final = (
    Offence(
        "columns_beyond_the_list",
        "public.integrations.user_id",
        "alter table public.integrations alter column user_id drop default",
        "alter table public.integrations alter column user_id set default auth.uid()",
    ),
    Offence(
        "columns_beyond_the_list",
        "public.oauth_states.expires_at",
        "alter table public.oauth_states alter column expires_at set default now() + interval '10 years'",
        "alter table public.oauth_states alter column expires_at set default now() + interval '10 minutes'",
    ),
    Offence(
        "columns_beyond_the_list",
        "public.integration_events.user_id",
        "alter table public.integration_events alter column user_id drop not null",
        "alter table public.integration_events alter column user_id set not null",
    ),
    Offence(
        "columns_beyond_the_list",
        "public.integrations.access_token",
        "alter table public.integrations add column access_token text",
        "alter table public.integrations drop column access_token",
    ),
    Offence(
        "columns_beyond_the_list",
        "integrations_private.allowed_claims.note",
        "alter table integrations_private.allowed_claims drop column note",
        "alter table integrations_private.allowed_claims add column note text not null default ''",
    ),
    Offence(
        "columns_beyond_the_list",
        "public.integration_events",
        "alter table public.integration_events set unlogged",
        "alter table public.integration_events set logged",
    ),
)


def _constraint(name: LiteralString, table: LiteralString, made: LiteralString, offence: LiteralString) -> Offence:
    """A constraint by its own name that is another one, and then the one the migrations make."""
    alter: LiteralString = f"alter table {table} drop constraint {name}; alter table {table} add constraint {name}"
    return Offence("constraints_beyond_the_list", f"{name} on {table}", f"{alter} {offence}", f"{alter} {made}")


_ENVELOPE: Final = (
    r"check (octet_length(credentials) <= 65536 and credentials ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}$')"
)
_HASH: Final = "check (state_hash ~ '^[0-9a-f]{64}$')"
_USERS: Final = "foreign key (user_id) references auth.users (id)"

CONSTRAINTS: Final = (
    _constraint("integrations_credentials_check", "public.integrations", _ENVELOPE, "check (true)"),
    _constraint("integrations_credentials_check", "public.integrations", _ENVELOPE, f"{_ENVELOPE} not valid"),
    _constraint("oauth_states_state_hash_check", "public.oauth_states", _HASH, "check (state_hash ~ '^[0-9a-f]')"),
    _constraint("oauth_states_user_id_fkey", "public.oauth_states", f"{_USERS} on delete cascade", _USERS),
    _constraint(
        "integrations_user_id_fkey",
        "public.integrations",
        f"{_USERS} on delete cascade",
        f"{_USERS} on delete cascade not valid",
    ),
    _constraint(
        "integrations_account_key",
        "public.integrations",
        "unique (user_id, service_name, external_account_id)",
        "unique (service_name, external_account_id)",
    ),
    Offence(
        "constraints_beyond_the_list",
        "seen_states_state_hash_check on integrations_private.seen_states",
        "alter table integrations_private.seen_states drop constraint seen_states_state_hash_check",
        f"alter table integrations_private.seen_states add constraint seen_states_state_hash_check {_HASH}",
    ),
    Offence(
        "constraints_beyond_the_list",
        "no_errors on public.integrations",
        "alter table public.integrations add constraint no_errors check (last_error_code is null)",
        "alter table public.integrations drop constraint no_errors",
    ),
)

DEFINITIONS: Final = (*FUNCTIONS, *TRIGGERS, *COLUMNS, *CONSTRAINTS)
