"""Disconnecting: what the service is told, what is left in the row, and what must not stand in a deletion's way."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from supabase_integrations.core.account import Account
from supabase_integrations.core.credentials import ApiKeyCredentials, CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption_errors import DecryptionError
from supabase_integrations.core.errors import (
    ForbiddenError,
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    IntegrationPausedError,
    InvalidClientError,
    JournalUnavailableError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    RevocationRefusedError,
    ServiceNotConfiguredError,
    StoreUnavailableError,
    UnknownServiceError,
)
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.models import Caller, Integration, IntegrationChanges, IntegrationStatus
from supabase_integrations.core.revocation import RevocationOutcome
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.connections import Connection, Connections
from supabase_integrations.use_cases.revoker import Revoker
from tests.unit.conftest import EXTRA_SERVICES, World, token_reply
from tests.unit.fakes import START, FakeStore, form_of, json_reply

REVOKED, FAILED = RevocationOutcome.REVOKED, RevocationOutcome.FAILED
UNSUPPORTED, SHARED = RevocationOutcome.UNSUPPORTED, RevocationOutcome.SKIPPED_SHARED_GRANT

DEMO_REVOCATION = "http://127.0.0.1:9400/token/revocation"
UNINSTALL = "https://granting.example/uninstall"

SERVICES = """
[service.silent]
based_on = "demo_crm"
revocation_endpoint = ""

[service.granting]
display_name = "Granting"
service_type = "crm"
authorization_endpoint = "https://granting.example/authorize"
token_endpoint = "https://granting.example/token"
revocation_endpoint = "https://granting.example/uninstall"
revocation = { method = "DELETE", auth = "access_token", format = "none", ends = "grant" }
refresh = "rotating"
api_base_url = "https://granting.example"
account_id_from = { source = "request", request = "GET /me", field = "id" }
env = ["GRANTING_CLIENT_ID", "GRANTING_CLIENT_SECRET"]

[service.granting_files]
based_on = "granting"

[service.granting_elsewhere]
based_on = "granting"
env = ["OTHER_CLIENT_ID", "OTHER_CLIENT_SECRET"]

[service.same_id_elsewhere]
based_on = "granting"
token_endpoint = "https://elsewhere.example/token"
"""


@pytest.fixture
def world() -> World:
    """The usual system with services that end tokens in several ways, all of them answering well."""
    world = World(services=EXTRA_SERVICES + SERVICES)
    world.service.answers |= {
        DEMO_REVOCATION: lambda _: HttpReply(200),
        UNINSTALL: lambda _: HttpReply(204),
        "https://granting.example/me": lambda _: json_reply({"id": "account-1"}),
        "https://granting.example/token": lambda _: json_reply(token_reply(access_token="canary-access-2")),
    }
    return world


def tokens(**changes: object) -> OAuthCredentials:
    credentials = OAuthCredentials(
        SecretStr("canary-access-1"),
        issued_at=START,
        refresh_token=SecretStr("canary-refresh-1"),
        expires_at=START + timedelta(hours=1),
    )
    return replace(credentials, **changes)  # type: ignore[arg-type]


async def connected(
    world: World, caller: Caller, service: str = "demo_crm", credentials: OAuthCredentials | None = None
) -> Integration:
    return await world.user(caller).create(service, credentials or tokens(), service_type=None, config={})


async def keyed(world: World, caller: Caller) -> Integration:
    key = ApiKeyCredentials(SecretStr("canary-key"))
    return await world.user(caller).create("keyed", key, service_type=None, config={})


async def set_status(world: World, caller: Caller, row: Integration, status: IntegrationStatus) -> None:
    await world.database.as_user(caller).update_integration(row.id, IntegrationChanges(status=status))


def stored(world: World, row: Integration) -> tuple[Integration, str | None]:
    sealed = world.database.rows[row.user_id, row.id]
    return sealed.integration, sealed.envelope


def noted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[IntegrationStatus, str | None]]:
    """Status and error code of each row at the moment of its deletion."""
    found: list[tuple[IntegrationStatus, str | None]] = []
    delete = FakeStore.delete_integration

    async def noting(store: FakeStore, integration_id: object) -> None:
        (row,) = (sealed.integration for key, sealed in world.database.rows.items() if key[1] == integration_id)
        found.append((row.status, row.last_error_code))
        await delete(store, row.id)

    monkeypatch.setattr(FakeStore, "delete_integration", noting)
    return found


async def test_a_revoked_connection_is_empty_and_stays(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    revocation = await world.user(caller).revoke_token(row.id)
    assert revocation.outcome is REVOKED
    left, envelope = stored(world, row)
    assert revocation.integration == left
    assert (left.status, left.last_error_code, envelope) == (IntegrationStatus.REVOKED, None, None)
    assert (left.expires_at, left.next_refresh_at, left.refresh_lease_owner) == (None, None, None)
    (asked,) = world.service.asked(DEMO_REVOCATION)
    assert form_of(asked) == {"token": "canary-refresh-1", "token_type_hint": "refresh_token"}


async def test_a_revoked_connection_is_neither_refreshed_nor_resumed(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    user = world.user(caller)
    await user.revoke_token(row.id)
    for attempt in (user.refresh_token(row.id), user.get_integration_credentials(row.id)):
        with pytest.raises(ReauthorizationRequiredError):
            await attempt
    with pytest.raises(IntegrationError) as error:
        await user.update(row.id, IntegrationChanges(status=IntegrationStatus.ACTIVE))
    assert error.value.code == "not_resumable"


async def test_the_second_revocation_tells_what_the_first_did_and_asks_nobody(world: World) -> None:
    caller = world.caller()
    row, other = await connected(world, caller), await keyed(world, caller)
    for connection, outcome in ((row, REVOKED), (other, UNSUPPORTED)):
        for _ in range(2):
            revocation = await world.user(caller).revoke_token(connection.id)
            assert (revocation.outcome, revocation.integration.status) == (outcome, IntegrationStatus.REVOKED)
    assert len(world.service.asked(DEMO_REVOCATION)) == 1


async def test_new_credentials_revive_a_revoked_connection(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).revoke_token(row.id)
    revived = await world.user(caller).update(row.id, IntegrationChanges(), tokens())
    assert (revived.id, revived.status, revived.last_error_code) == (row.id, IntegrationStatus.ACTIVE, None)


@pytest.mark.parametrize("service", ["keyed", "silent", "plain"])
async def test_where_nothing_can_be_told_the_row_is_emptied_and_says_so(world: World, service: str) -> None:
    caller = world.caller()
    if service == "keyed":
        row = await keyed(world, caller)
    elif service == "silent":
        row = await connected(world, caller, service)
    else:
        row = await bare(world, caller, service)
    revocation = await world.user(caller).revoke_token(row.id)
    left, envelope = stored(world, row)
    assert revocation.outcome is UNSUPPORTED
    assert (left.status, left.last_error_code, envelope) == (IntegrationStatus.REVOKED, UNSUPPORTED, None)


async def bare(world: World, caller: Caller, service: str) -> Integration:
    """A row that somebody inserted with curl: it never held credentials."""
    template = await keyed(world, caller)
    row = replace(template, id=uuid4(), service_name=service)
    sealed = world.database.rows[caller.user_id, template.id]
    world.database.rows[caller.user_id, row.id] = replace(sealed, integration=row, envelope=None)
    return row


REFUSALS = [
    (HttpReply(503, {"retry-after": "7"}), ProviderUnavailableError),
    (HttpReply(429), ProviderUnavailableError),
    (HttpReply(401), InvalidClientError),
    (json_reply({"error": "invalid_request"}, 400), RevocationRefusedError),
]


@pytest.mark.parametrize(("reply", "error"), REFUSALS)
async def test_a_refusal_keeps_the_credentials_for_another_attempt(
    world: World, reply: HttpReply, error: type[IntegrationError]
) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    before, envelope = stored(world, row)
    world.service.answers[DEMO_REVOCATION] = lambda _: reply
    with pytest.raises(error):
        await world.user(caller).revoke_token(row.id)
    after, kept = stored(world, row)
    assert kept == envelope
    assert (after.status, after.last_error_code) == (IntegrationStatus.ACTIVE, FAILED)
    assert (after.next_refresh_at, after.refresh_failures) == (before.next_refresh_at, 0)
    assert await world.user(caller).get_integration_credentials(row.id) == tokens()
    world.service.answers[DEMO_REVOCATION] = lambda _: HttpReply(200)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    assert stored(world, row)[0].last_error_code is None


async def test_a_service_that_does_not_answer_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    monkeypatch.setattr(world.service, "send", silent)
    with pytest.raises(ProviderUnavailableError, match="in time"):
        await asyncio.wait_for(world.user(caller).revoke_token(row.id), 5)
    after, envelope = stored(world, row)
    assert (after.last_error_code, envelope is None, after.refresh_lease_owner) == (FAILED, False, None)


async def silent(_: HttpRequest) -> HttpReply:
    """A service that takes a request and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_renewal_and_the_telling_share_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting")
    world.clock.moment += timedelta(hours=2)
    send = world.service.send

    async def slow_then_silent(request: HttpRequest) -> HttpReply:
        if request.url == UNINSTALL:
            return await silent(request)
        await asyncio.sleep(0.8)
        return await send(request)

    monkeypatch.setattr(world.service, "send", slow_then_silent)
    revoker = Revoker(
        world.catalogue,
        world.clients,
        world.vault,
        world.service,
        world.clock,
        journal=world.journal,
        refresher=world.refresher,
        patience=timedelta(seconds=1),
    )
    started = time.monotonic()
    with pytest.raises(ProviderUnavailableError):
        await revoker.revoke(world.database.as_user(caller), row.id)
    assert 0.9 < time.monotonic() - started < 1.5


async def test_credentials_that_somebody_replaced_meanwhile_are_not_thrown_away(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def overtaken(_: HttpRequest) -> HttpReply:
        sealed = world.database.rows[caller.user_id, row.id]
        newer = replace(sealed.integration, credential_version=2, refresh_lease_owner=None)
        world.database.rows[caller.user_id, row.id] = replace(sealed, integration=newer)
        return HttpReply(200)

    world.service.answers[DEMO_REVOCATION] = overtaken
    with pytest.raises(IntegrationBusyError):
        await world.user(caller).revoke_token(row.id)
    assert stored(world, row)[1] is not None


async def test_a_token_the_service_no_longer_knows_is_revoked(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[DEMO_REVOCATION] = lambda _: json_reply({"error": "invalid_token"}, 400)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED


async def test_what_does_not_open_is_left_alone(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    key = (caller.user_id, row.id)
    world.database.rows[key] = replace(world.database.rows[key], envelope="v1.00000000." + "A" * 60)
    with pytest.raises(DecryptionError):
        await world.user(caller).revoke_token(row.id)
    assert stored(world, row)[1] == "v1.00000000." + "A" * 60
    assert stored(world, row)[0] == row


async def test_an_unknown_or_unconfigured_service_keeps_its_credentials(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    client = world.clients.pop("demo_crm")
    with pytest.raises(ServiceNotConfiguredError):
        await world.user(caller).revoke_token(row.id)
    world.clients["demo_crm"] = client
    orphan = await bare(world, caller, "gone")
    world.database.rows[caller.user_id, orphan.id] = replace(
        world.database.rows[caller.user_id, orphan.id], envelope="v1.00000000." + "A" * 60
    )
    with pytest.raises(UnknownServiceError):
        await world.user(caller).revoke_token(orphan.id)
    for left in (row, orphan):
        kept, envelope = stored(world, left)
        assert (kept.status, envelope is None, kept.refresh_lease_owner) == (IntegrationStatus.ACTIVE, False, None)
    assert world.service.asked(DEMO_REVOCATION) == []


async def test_an_outage_after_the_service_was_told_is_waited_for(
    world: World,
) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def told(_: HttpRequest) -> HttpReply:
        world.database.outages = 2
        return HttpReply(200)

    world.service.answers[DEMO_REVOCATION] = told
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    assert stored(world, row)[1] is None


async def test_a_lost_answer_to_the_last_write_is_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    discard = FakeStore.discard_credentials
    answers = iter([False, True])

    async def losing(store: FakeStore, *args: object, **kwargs: object) -> Integration:
        written = await discard(store, *args, **kwargs)  # type: ignore[arg-type]
        if not next(answers):
            raise StoreUnavailableError
        return written

    monkeypatch.setattr(FakeStore, "discard_credentials", losing)
    revocation = await world.user(caller).revoke_token(row.id)
    assert (revocation.outcome, revocation.integration.status) == (REVOKED, IntegrationStatus.REVOKED)


async def test_a_renewal_that_is_kept_in_the_journal_is_what_is_ended(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    payload = world.vault.open(world.database.rows[caller.user_id, row.id], world.catalogue.get("demo_crm"))
    assert payload is not None
    newer = replace(payload, credentials=tokens(refresh_token=SecretStr("canary-refresh-2")))
    await world.journal.write(JournalEntry(row.ref, 1, uuid4(), newer, None, START))
    await world.user(caller).revoke_token(row.id)
    assert [form_of(asked)["token"] for asked in world.service.asked(DEMO_REVOCATION)] == ["canary-refresh-2"]


async def test_while_the_journal_cannot_be_read_nothing_is_claimed_to_be_revoked(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.journal.is_unreadable = True
    with pytest.raises(JournalUnavailableError):
        await world.user(caller).revoke_token(row.id)
    assert stored(world, row)[1] is not None
    assert world.service.asked(DEMO_REVOCATION) == []


async def test_an_access_token_that_has_ended_is_renewed_first(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting")
    world.clock.moment += timedelta(hours=2)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    (asked,) = world.service.asked(UNINSTALL)
    assert asked.headers["authorization"] == "Bearer canary-access-2"


async def test_where_no_token_lives_there_is_nothing_to_end(world: World) -> None:
    """The service refuses to renew: what it would be asked with is as dead as what it would end."""
    caller = world.caller()
    row = await connected(world, caller, "granting")
    world.clock.moment += timedelta(hours=2)
    world.service.answers["https://granting.example/token"] = lambda _: json_reply({"error": "invalid_grant"}, 400)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    assert world.service.asked(UNINSTALL) == []


async def test_a_renewal_that_fails_is_a_failure(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting")
    world.clock.moment += timedelta(hours=2)
    world.service.answers["https://granting.example/token"] = lambda _: HttpReply(503)
    with pytest.raises(ProviderUnavailableError):
        await world.user(caller).revoke_token(row.id)
    assert stored(world, row)[1] is not None


async def test_a_paused_connection_is_revoked_as_it_is_or_says_what_to_do(world: World) -> None:
    caller = world.caller()
    rows = [await connected(world, caller), await connected(world, caller, "granting")]
    for row in rows:
        await set_status(world, caller, row, IntegrationStatus.INACTIVE)
    world.clock.moment += timedelta(hours=2)
    assert (await world.user(caller).revoke_token(rows[0].id)).outcome is REVOKED
    with pytest.raises(IntegrationPausedError):
        await world.user(caller).revoke_token(rows[1].id)


async def test_a_grant_that_another_connection_lives_on_is_left_alone(world: World) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    assert (await world.user(caller).revoke_token(first.id)).outcome is SHARED
    left, envelope = stored(world, first)
    assert (left.status, left.last_error_code, envelope) == (IntegrationStatus.REVOKED, SHARED, None)
    assert world.service.asked(UNINSTALL) == []
    assert (await world.user(caller).revoke_token(second.id)).outcome is REVOKED
    assert len(world.service.asked(UNINSTALL)) == 1


@pytest.mark.parametrize("status", [IntegrationStatus.ACTIVE, IntegrationStatus.INACTIVE, IntegrationStatus.ERROR])
async def test_a_paused_or_stuck_connection_needs_its_grant_too(world: World, status: IntegrationStatus) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    await set_status(world, caller, second, status)
    assert (await world.user(caller).revoke_token(first.id)).outcome is SHARED


async def test_what_does_not_share_a_grant(world: World) -> None:
    """Another client, another authorization server, another account, a dead connection, another user."""
    caller = world.caller()
    row = await connected(world, caller, "granting")
    await connected(world, caller, "granting_elsewhere")
    await connected(world, caller, "same_id_elsewhere")
    dead = await connected(world, caller, "granting_files")
    await set_status(world, caller, dead, IntegrationStatus.NEEDS_REAUTHORIZATION)
    await connected(world, world.caller(), "granting_files")
    world.service.answers["https://granting.example/me"] = lambda _: json_reply({"id": "account-2"})
    await connected(world, caller, "granting")
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED


async def test_it_waits_for_whoever_holds_the_lease_and_ends_what_they_wrote(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh is under way elsewhere: its new token is the one that lives."""
    caller = world.caller()
    row = await connected(world, caller)
    store = world.database.as_user(caller)
    holder = uuid4()
    leased = await store.take_lease(row.id, holder)
    sleep, waits = world.clock.sleep, iter(range(100))

    async def refreshing(seconds: float) -> None:
        if next(waits) == 2:
            payload = world.vault.open(leased, world.catalogue.get("demo_crm"))
            assert payload is not None
            newer = replace(payload, credentials=tokens(refresh_token=SecretStr("canary-refresh-2")))
            service = world.catalogue.get("demo_crm")
            await world.vault.write(store, leased.integration, newer, service, lease_owner=holder)
        await sleep(seconds)

    monkeypatch.setattr(world.clock, "sleep", refreshing)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    assert [form_of(asked)["token"] for asked in world.service.asked(DEMO_REVOCATION)] == ["canary-refresh-2"]


async def test_a_lease_that_is_not_given_back_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await held_for_ever(world, row, monkeypatch)
    with pytest.raises(IntegrationBusyError):
        await world.user(caller).revoke_token(row.id)
    assert world.service.asked(DEMO_REVOCATION) == []


async def held_for_ever(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(_: FakeStore, __: object, ___: object) -> None:
        raise IntegrationBusyError

    monkeypatch.setattr(FakeStore, "take_lease", busy)


async def test_somebody_elses_connection_is_not_there_and_nobody_is_told(world: World) -> None:
    owner, stranger = world.caller(), world.user(world.caller())
    row = await connected(world, owner)
    for attempt in (stranger.revoke_token(row.id), stranger.delete(row.id), stranger.delete(uuid4())):
        with pytest.raises(IntegrationNotFoundError):
            await attempt
    assert world.service.asked(DEMO_REVOCATION) == []
    assert stored(world, row)[0] == row


@pytest.mark.parametrize(
    ("service", "outcome"),
    [("demo_crm", REVOKED), ("granting", REVOKED), ("silent", UNSUPPORTED)],
)
async def test_a_deletion_tells_the_service_and_notes_what_became_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, service: str, outcome: RevocationOutcome
) -> None:
    caller = world.caller()
    row = await connected(world, caller, service)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}
    assert last == [(IntegrationStatus.REVOKED, None if outcome is REVOKED else outcome)]
    with pytest.raises(IntegrationNotFoundError):
        await world.user(caller).delete(row.id)


async def test_deleting_one_of_two_connections_of_a_grant_leaves_it_to_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    last = noted(world, monkeypatch)
    await world.user(caller).delete(first.id)
    assert world.service.asked(UNINSTALL) == []
    await world.user(caller).delete(second.id)
    assert len(world.service.asked(UNINSTALL)) == 1
    assert [code for _, code in last] == [SHARED, None]


async def unreadable(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (row.user_id, row.id)
    world.database.rows[key] = replace(world.database.rows[key], envelope="v1.00000000." + "A" * 60)


async def unconfigured(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(world.clients, row.service_name)


async def gone_from_the_catalogue(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (row.user_id, row.id)
    sealed = world.database.rows[key]
    world.database.rows[key] = replace(sealed, integration=replace(sealed.integration, service_name="gone"))


async def refusing(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service.answers[DEMO_REVOCATION] = lambda _: json_reply({"error": "invalid_request"}, 400)


async def down(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service.answers[DEMO_REVOCATION] = lambda _: HttpReply(503)


async def hanging(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service, "send", silent)


async def without_a_journal(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.journal.is_unreadable = True


@pytest.mark.parametrize(
    "obstacle",
    [
        unreadable,
        unconfigured,
        gone_from_the_catalogue,
        refusing,
        down,
        hanging,
        without_a_journal,
        held_for_ever,
    ],
)
async def test_nothing_stands_in_the_way_of_a_deletion(
    world: World, monkeypatch: pytest.MonkeyPatch, obstacle: object
) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    last = noted(world, monkeypatch)
    await obstacle(world, row, monkeypatch)  # type: ignore[operator]
    await world.user(caller).delete(row.id)
    assert last == [(IntegrationStatus.REVOKED, FAILED)]
    assert world.database.rows == {}


async def test_a_paused_connection_whose_token_has_ended_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting")
    await set_status(world, caller, row, IntegrationStatus.INACTIVE)
    world.clock.moment += timedelta(hours=2)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert last == [(IntegrationStatus.REVOKED, FAILED)]


async def test_a_note_that_is_refused_does_not_keep_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    async def refused(*_: object, **__: object) -> Integration:
        raise ForbiddenError("row_level_security", "Not allowed.")

    monkeypatch.setattr(FakeStore, "discard_credentials", refused)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}
    assert len(world.service.asked(DEMO_REVOCATION)) == 1


async def test_an_outage_keeps_the_row_so_that_the_deletion_can_be_tried_again(
    world: World,
) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def told(_: HttpRequest) -> HttpReply:
        world.database.outages = 1
        return HttpReply(200)

    world.service.answers[DEMO_REVOCATION] = told
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).delete(row.id)
    world.service.answers[DEMO_REVOCATION] = lambda _: json_reply({"error": "invalid_token"}, 400)
    world.clock.moment += timedelta(minutes=2)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}


async def test_an_outage_before_the_service_was_told_keeps_row_and_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over by the time of the deletion; had that gone on, the token would live on with nobody to end it."""
    caller = world.caller()
    row = await connected(world, caller)

    async def away(*_: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(FakeStore, "take_lease", away)
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).delete(row.id)
    assert stored(world, row) == (row, stored(world, row)[1])
    assert world.service.asked(DEMO_REVOCATION) == []


async def test_deleting_a_revoked_connection_asks_nobody_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).revoke_token(row.id)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert len(world.service.asked(DEMO_REVOCATION)) == 1
    assert last == [(IntegrationStatus.REVOKED, None)]


async def test_the_token_goes_to_the_tenant_it_was_sealed_for_and_to_no_other(world: World) -> None:
    """The owner edits the row's shop with curl: the envelope no longer opens, and no shop hears of the token."""
    caller = world.caller()
    row = await shop_of(world, caller, "mine.myshopify.com")
    changed = IntegrationChanges(config={"shop": "theirs.myshopify.com"})
    await world.database.as_user(caller).update_integration(row.id, changed)
    with pytest.raises(DecryptionError):
        await world.user(caller).revoke_token(row.id)
    await world.user(caller).delete(row.id)
    assert world.service.requests == []


async def shop_of(world: World, caller: Caller, shop: str) -> Integration:
    payload = CredentialPayload("shopify", shop, tokens())
    connection = Connection(world.catalogue.get("shopify"), Account(shop, shop), payload)
    return await Connections(world.vault).insert(world.database.as_user(caller), caller.user_id, connection)


def test_the_clients_of_two_services_may_be_one(world: World) -> None:
    """What the tests of shared grants stand on."""
    assert world.clients["granting"] == world.clients["granting_files"] != world.clients["granting_elsewhere"]
