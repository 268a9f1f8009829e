"""What one signed-in user can do with their connections."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.callback import CallbackQuery
from supabase_integrations.core.credentials import ApiKeyCredentials, BasicCredentials, Credentials, OAuthCredentials
from supabase_integrations.core.encryption_errors import DecryptionError
from supabase_integrations.core.errors import (
    AccountMismatchError,
    CredentialsRejectedError,
    DuplicateIntegrationError,
    IntegrationNotFoundError,
    InvalidValueError,
    NotResumableError,
    UnauthenticatedError,
)
from supabase_integrations.core.json_types import JsonObject
from supabase_integrations.core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationStatus,
    ListQuery,
    SealedIntegration,
    ServiceType,
)
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.session_check import SessionCheck
from supabase_integrations.use_cases.oauth_manager import Initiation
from tests.unit.conftest import World
from tests.unit.fakes import START, json_reply

API_KEY = ApiKeyCredentials(SecretStr("canary-key-1"))
TOKEN = OAuthCredentials(SecretStr("canary-token-1"), issued_at=START, expires_at=START + timedelta(hours=1))
BASIC = BasicCredentials("ada", SecretStr("canary-password-1"))
ME = "http://127.0.0.1:9400/me"


async def create(
    world: World,
    caller: Caller,
    name: str = "keyed",
    credentials: Credentials = API_KEY,
    config: JsonObject | None = None,
) -> Integration:
    return await world.user(caller).create(name, credentials, service_type=None, config=config or {})


def opened(world: World, caller: Caller, integration_id: UUID) -> Credentials:
    sealed = world.database.rows[caller.user_id, integration_id]
    payload = world.vault.open(sealed, world.catalogue.get(sealed.integration.service_name))
    assert payload is not None
    return payload.credentials


async def test_an_api_key_is_stored_sealed(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller)
    assert opened(world, caller, row.id) == API_KEY
    assert "canary" not in str(world.database.rows[caller.user_id, row.id].envelope)


async def test_a_password_is_stored_with_its_tenant(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller, "basic", BASIC, {"host": "acme.example"})
    assert opened(world, caller, row.id) == BASIC
    assert row.external_account_id == "acme.example"


async def test_a_tenant_is_needed_where_the_service_has_them(world: World) -> None:
    with pytest.raises(InvalidValueError) as error:
        await create(world, world.caller(), "basic", BASIC)
    assert error.value.field == "config.host"


async def test_a_token_is_shown_to_the_service_before_it_is_stored(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller, "demo_crm", TOKEN)
    (asked,) = world.service.asked(ME)
    assert asked.headers["authorization"] == "Bearer canary-token-1"
    assert row.external_account_id == "ada"
    assert opened(world, caller, row.id) == TOKEN


async def test_a_token_that_the_service_refuses_is_not_stored(world: World) -> None:
    world.service.answers[ME] = lambda _: json_reply({}, 401)
    with pytest.raises(CredentialsRejectedError):
        await create(world, world.caller(), "demo_crm", TOKEN)
    assert world.database.rows == {}


@pytest.mark.parametrize(
    ("name", "credentials"), [("keyed", TOKEN), ("keyed", BASIC), ("basic", API_KEY), ("demo_crm", API_KEY)]
)
async def test_credentials_of_another_kind_are_refused(world: World, name: str, credentials: Credentials) -> None:
    with pytest.raises(InvalidValueError) as error:
        await create(world, world.caller(), name, credentials, {"host": "acme.example"})
    assert error.value.field == "credentials"


async def test_the_service_type_must_be_the_catalogues(world: World) -> None:
    with pytest.raises(InvalidValueError) as error:
        await world.user(world.caller()).create("keyed", API_KEY, service_type=ServiceType.CRM, config={})
    assert error.value.field == "service_type"


async def test_the_same_account_twice_is_a_duplicate(world: World) -> None:
    caller = world.caller()
    await create(world, caller)
    with pytest.raises(DuplicateIntegrationError):
        await create(world, caller)
    await create(world, world.caller())


async def test_new_credentials_are_sealed_for_the_next_version(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller)
    old = world.database.rows[caller.user_id, row.id]
    newer = ApiKeyCredentials(SecretStr("canary-key-2"))
    changed = await world.user(caller).update(row.id, IntegrationChanges(), newer)
    assert changed.credential_version == 2
    assert opened(world, caller, row.id) == newer
    put_back = SealedIntegration(changed, old.envelope)
    with pytest.raises(DecryptionError):
        world.vault.open(put_back, world.catalogue.get("keyed"))


async def test_a_change_with_credentials_is_one_change(world: World) -> None:
    """Refused as a whole, or written as a whole; and a pause stays where nobody named the status."""
    caller = world.caller()
    row = await create(world, caller)
    await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    newer = ApiKeyCredentials(SecretStr("canary-key-2"))
    changed = await world.user(caller).update(row.id, IntegrationChanges(config={"a": 1}), newer)
    assert (changed.status, changed.config, changed.credential_version) == (IntegrationStatus.INACTIVE, {"a": 1}, 2)
    resumed = await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.ACTIVE), API_KEY)
    assert (resumed.status, resumed.config) == (IntegrationStatus.ACTIVE, {"a": 1})


async def test_new_credentials_revive_what_had_stopped(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller)
    dead = IntegrationChanges(status=IntegrationStatus.NEEDS_REAUTHORIZATION)
    await world.database.as_user(caller).update_integration(row.id, dead)
    for status in (IntegrationStatus.ACTIVE, IntegrationStatus.INACTIVE):
        with pytest.raises(NotResumableError):
            await world.user(caller).update(row.id, IntegrationChanges(status=status))
    revived = await world.user(caller).update(row.id, IntegrationChanges(), API_KEY)
    assert revived.status is IntegrationStatus.ACTIVE


async def test_a_token_that_tells_no_account_is_not_taken(world: World) -> None:
    for service, config in (("google_ads", {}), ("shopify", {"shop": "canary.myshopify.com"}), ("plain", {})):
        with pytest.raises(InvalidValueError) as error:
            await create(world, world.caller(), service, TOKEN, config)
        assert error.value.field == "credentials"
    assert world.service.requests == []


async def test_a_changed_tenant_does_not_open(world: World) -> None:
    """An owner who edits the row's config with curl does not send the password to another host."""
    caller = world.caller()
    row = await create(world, caller, "basic", BASIC, {"host": "acme.example"})
    await world.database.as_user(caller).update_integration(row.id, IntegrationChanges(config={"host": "evil.example"}))
    with pytest.raises(DecryptionError):
        opened(world, caller, row.id)


async def test_credentials_of_another_account_are_refused(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller, "demo_crm", TOKEN)
    world.service.answers[ME] = lambda _: json_reply({"sub": "grace"})
    with pytest.raises(AccountMismatchError):
        await world.user(caller).update(row.id, IntegrationChanges(), TOKEN)


async def test_the_tenant_stays_in_the_config(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller, "basic", BASIC, {"host": "acme.example"})
    kept = await world.user(caller).update(row.id, IntegrationChanges(config={"note": "mine"}))
    assert kept.config == {"note": "mine", "host": "acme.example"}
    with pytest.raises(InvalidValueError) as error:
        await world.user(caller).update(row.id, IntegrationChanges(config={"host": "evil.example"}))
    assert error.value.field == "config.host"


async def test_a_connection_is_paused_and_resumed(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller)
    paused = await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    resumed = await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.ACTIVE))
    assert (paused.status, resumed.status) == (IntegrationStatus.INACTIVE, IntegrationStatus.ACTIVE)


async def test_a_dead_connection_is_not_resumed_by_calling_it_active(world: World) -> None:
    caller = world.caller()
    row = await create(world, caller)
    dead = IntegrationChanges(status=IntegrationStatus.NEEDS_REAUTHORIZATION)
    await world.database.as_user(caller).update_integration(row.id, dead)
    with pytest.raises(NotResumableError):
        await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.ACTIVE))


async def test_somebody_elses_id_looks_like_an_unknown_one(world: World) -> None:
    owner, stranger = world.caller(), world.user(world.caller())
    row = await create(world, owner)
    messages = set()
    for integration_id in (row.id, uuid4()):
        for attempt in (
            stranger.get(integration_id),
            stranger.update(integration_id, IntegrationChanges(config={})),
            stranger.update(integration_id, IntegrationChanges(), API_KEY),
            stranger.delete(integration_id),
            stranger.revoke_token(integration_id),
            stranger.events(integration_id),
        ):
            with pytest.raises(IntegrationNotFoundError) as error:
                await attempt
            messages.add(str(error.value))
    assert len(messages) == 1
    assert (owner.user_id, row.id) in world.database.rows


async def back_from_demo(world: World, caller: Caller) -> CallbackQuery:
    """What the demo service sends the browser back with, after this caller's consent."""
    started = await world.user(caller).initiate_auth(Initiation("demo_crm"))
    (state,) = parse_qs(urlsplit(started.auth_url).query)["state"]
    return CallbackQuery.parse((("code", "canary-code"), ("state", state), ("iss", "http://127.0.0.1:9400")))


SENSITIVE = {"create", "replace", "delete", "initiate", "finish", "refresh", "revoke", "credentials"}


@pytest.mark.parametrize(
    ("mode", "checked"),
    [
        (SessionCheck.OFF, set()),
        (SessionCheck.SENSITIVE, SENSITIVE),
        (SessionCheck.ALWAYS, SENSITIVE | {"list", "get", "pause", "events"}),
    ],
)
async def test_a_signed_out_user_is_refused_what_the_setting_names(
    world: World, mode: SessionCheck, checked: set[str]
) -> None:
    caller = world.caller()
    row = await create(world, caller)
    granted = await world.user(caller).handle_callback(await back_from_demo(world, caller))
    pending = await back_from_demo(world, caller)
    world.session_mode = mode
    world.sessions.error = UnauthenticatedError("session_ended", "The session has ended.")
    user = world.user(caller)
    refused = set()
    attempts = {
        "list": lambda: user.list(ListQuery()),
        "get": lambda: user.get(row.id),
        "events": lambda: user.events(row.id),
        "refresh": lambda: user.refresh_token(granted.id),
        "credentials": lambda: user.get_integration_credentials(row.id),
        "finish": lambda: user.handle_callback(pending),
        "pause": lambda: user.update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE)),
        "initiate": lambda: user.initiate_auth(Initiation("demo_crm")),
        "create": lambda: user.create("basic", BASIC, service_type=None, config={"host": "acme.example"}),
        "replace": lambda: user.update(row.id, IntegrationChanges(), API_KEY),
        "revoke": lambda: user.revoke_token(row.id),
        "delete": lambda: user.delete(row.id),
    }
    for name, attempt in attempts.items():
        try:
            await attempt()  # type: ignore[no-untyped-call]
        except UnauthenticatedError:
            refused.add(name)
    assert refused == checked
