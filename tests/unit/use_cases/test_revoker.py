"""Revoking: what the service is told, and what is left in the row."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from supabase_integrations.core.encryption_errors import DecryptionError, UnknownKeyError
from supabase_integrations.core.errors import (
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
from supabase_integrations.core.models import Integration, IntegrationChanges, IntegrationStatus
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.revoker import Revoker
from tests.unit.conftest import World
from tests.unit.fakes import START, FakeStore, form_of, json_reply
from tests.unit.use_cases.disconnecting import (
    DEMO_REVOCATION,
    FAILED,
    REVOKED,
    UNINSTALL,
    UNSUPPORTED,
    bare,
    connected,
    disconnecting_world,
    held_for_ever,
    keyed,
    set_status,
    shop_of,
    silent,
    stored,
    tokens,
)
from tests.unit.virtual_time import clock, in_virtual_time


@pytest.fixture
def world() -> World:
    """The usual system, with services that end tokens in several ways."""
    return disconnecting_world()


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


async def test_an_access_token_without_an_end_is_shown_to_its_service_as_it_is(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting", tokens(expires_at=None, refresh_token=None))
    world.clock.moment += timedelta(days=365)
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED
    (asked,) = world.service.asked(UNINSTALL)
    assert asked.headers["authorization"] == "Bearer canary-access-1"


async def test_a_revoked_connection_is_neither_refreshed_nor_resumed(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    user = world.user(caller)
    await user.revoke_token(row.id)
    for attempt in (user.refresh_token(row.id), user.get_integration_credentials(row.id)):
        with pytest.raises(ReauthorizationRequiredError, match="This connection was revoked: connect again with POST"):
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


@pytest.mark.parametrize("ending", ["revoke_token", "delete"])
async def test_a_caller_who_goes_away_leaves_no_ended_tokens_behind(world: World, ending: str) -> None:
    """Cancelled between the service's answer and the write, which would leave a row that looks connected."""
    caller = world.caller()
    row = await connected(world, caller)
    is_asked, may_answer = asyncio.Event(), asyncio.Event()
    send = world.service.send

    async def slow_send(request: HttpRequest) -> HttpReply:
        reply = await send(request)
        is_asked.set()
        await may_answer.wait()
        return reply

    world.service.send = slow_send  # type: ignore[method-assign]
    impatient = asyncio.create_task(getattr(world.user(caller), ending)(row.id))
    await is_asked.wait()
    impatient.cancel()
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert len(world.service.asked(DEMO_REVOCATION)) == 1
    left = world.database.rows.get((row.user_id, row.id))
    if ending == "delete":
        assert left is None
    else:
        assert left is not None
        assert (left.integration.status, left.envelope) == (IntegrationStatus.REVOKED, None)


async def test_a_caller_who_goes_away_while_it_waits_for_its_turn_revokes_nothing(world: World) -> None:
    """Somebody else is renewing the tokens; whoever asked for their end has given up before anything was done."""
    caller = world.caller()
    row = await connected(world, caller)
    owner, waits = uuid4(), asyncio.Event()
    await world.database.as_user(caller).take_lease(row.id, owner)

    async def sleep(seconds: float) -> None:
        waits.set()
        await asyncio.sleep(0.02)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    impatient = asyncio.create_task(world.user(caller).revoke_token(row.id))
    await waits.wait()
    impatient.cancel()
    await asyncio.sleep(0)
    await world.database.as_user(caller).release_lease(row.id, owner)
    with pytest.raises(asyncio.CancelledError):
        await impatient
    left = world.database.rows[row.user_id, row.id]
    assert (left.integration.status, left.integration.refresh_lease_owner) == (IntegrationStatus.ACTIVE, None)
    assert left.envelope is not None
    assert world.service.asked(DEMO_REVOCATION) == []


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


@in_virtual_time
async def test_a_service_that_does_not_answer_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    monkeypatch.setattr(world.service, "send", silent)
    with pytest.raises(ProviderUnavailableError, match="in time"):
        await asyncio.wait_for(world.user(caller).revoke_token(row.id), 11)
    after, envelope = stored(world, row)
    assert (after.last_error_code, envelope is None, after.refresh_lease_owner) == (FAILED, False, None)


@in_virtual_time
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
    started = clock()
    with pytest.raises(ProviderUnavailableError):
        await revoker.revoke(world.database.as_user(caller), row.id)
    assert clock() - started == pytest.approx(1.0)


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


async def test_while_a_key_for_a_kept_reply_is_missing_nothing_is_claimed_to_be_revoked(world: World) -> None:
    """The tokens that live are in that reply: ending those of the row would end nothing."""
    caller = world.caller()
    row = await connected(world, caller)
    payload = world.vault.open(world.database.rows[caller.user_id, row.id], world.catalogue.get("demo_crm"))
    assert payload is not None
    await world.journal.write(JournalEntry(row.ref, 1, uuid4(), payload, None, START))
    world.journal.unknown_key = "0ddba11d"
    with pytest.raises(UnknownKeyError, match="0ddba11d"):
        await world.user(caller).revoke_token(row.id)
    after, envelope = stored(world, row)
    assert (after.refresh_lease_owner, envelope is None) == (None, False)
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


async def test_somebody_elses_connection_is_not_there_and_nobody_is_told(world: World) -> None:
    owner, stranger = world.caller(), world.user(world.caller())
    row = await connected(world, owner)
    for attempt in (stranger.revoke_token(row.id), stranger.delete(row.id), stranger.delete(uuid4())):
        with pytest.raises(IntegrationNotFoundError):
            await attempt
    assert world.service.asked(DEMO_REVOCATION) == []
    assert stored(world, row)[0] == row


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
