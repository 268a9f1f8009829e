"""What a renewal leaves behind when its caller, the database, the process or the service fails."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials, CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption_errors import DecryptionError, UnknownKeyError
from supabase_integrations.core.errors import (
    ForbiddenError,
    InvalidClientError,
    JournalUnavailableError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationStatus,
    SealedIntegration,
)
from tests.unit.conftest import World, token_reply
from tests.unit.fakes import START, FakeStore, form_of, json_reply
from tests.unit.use_cases.test_refresher import GRAPH, HOUR, SECOND, TOKEN_URL, connected, stored, tokens

THIRD = token_reply(access_token="canary-access-3", refresh_token="canary-refresh-3")


def spent(world: World) -> list[str]:
    """The refresh tokens the service was shown."""
    return [form_of(request)["refresh_token"] for request in world.service.asked(TOKEN_URL)]


async def claimed(world: World, caller: Caller, row: Integration) -> tuple[FakeStore, SealedIntegration, UUID]:
    """The row as the worker has it after a claim."""
    store, owner = world.database.as_worker(caller.user_id), uuid4()
    return store, await store.take_lease(row.id, owner), owner


async def after(world: World, caller: Caller, row: Integration) -> Integration:
    return world.database.rows[caller.user_id, row.id].integration


async def kept(world: World, caller: Caller) -> Integration:
    """A connection whose new tokens are in the journal alone: the service answered, and then the database was away for
    longer than anybody tries.
    """
    row = await connected(world, caller)

    def reply_and_break(_: HttpRequest) -> HttpReply:
        world.database.outages = 100
        return json_reply(SECOND)

    world.service.answers[TOKEN_URL] = reply_and_break
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).refresh_token(row.id)
    world.database.outages = 0
    return row


async def test_a_caller_that_gives_up_does_not_end_the_renewal(world: World) -> None:
    """Its client hung up while the service was rotating the token."""
    caller = world.caller()
    row = await connected(world, caller)
    is_asked, may_answer = asyncio.Event(), asyncio.Event()
    send = world.service.send

    async def slow_send(request: HttpRequest) -> HttpReply:
        is_asked.set()
        await may_answer.wait()
        return await send(request)

    world.service.send = slow_send  # type: ignore[method-assign]
    impatient = asyncio.create_task(world.user(caller).refresh_token(row.id))
    await is_asked.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    may_answer.set()
    await world.refresher.drain()
    _, written = await stored(world, caller, row.id)
    assert written.access_token.get_secret_value() == "canary-access-2"


async def test_a_renewal_that_began_under_an_ended_session_is_begun_again_by_who_still_may(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    ended, living = world.database.as_user(caller), world.database.as_user(caller)

    async def refuse(*_: object) -> SealedIntegration:
        await asyncio.sleep(0)
        raise UnauthenticatedError("token_expired", "The access token has expired.")

    ended.take_lease = refuse  # type: ignore[assignment, method-assign]
    first, second = await asyncio.gather(
        world.refresher.fresh(ended, row.id), world.refresher.fresh(living, row.id), return_exceptions=True
    )
    assert isinstance(first, UnauthenticatedError)
    assert not isinstance(second, BaseException)
    assert second.integration.credential_version == 2


@pytest.mark.parametrize("status", [429, 500, 401])
async def test_a_token_that_still_holds_is_served_when_its_renewal_fails(world: World, status: int) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_client"}, status)
    world.clock.moment += timedelta(minutes=56)
    user = world.user(caller)
    for _ in range(3):
        assert await user.get_integration_credentials(row.id) == tokens()
    assert len(world.service.asked(TOKEN_URL)) == 1
    world.clock.moment += timedelta(minutes=5)
    with pytest.raises((ProviderUnavailableError, InvalidClientError)):
        await user.get_integration_credentials(row.id)


@pytest.mark.parametrize("failures", [0, 2])
async def test_a_wait_for_our_own_connections_is_no_failure_of_the_service(world: World, failures: int) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    user = world.user(caller)
    for _ in range(failures):
        world.service.answers[TOKEN_URL] = lambda _: json_reply({}, 500)
        with pytest.raises(ProviderUnavailableError):
            await user.refresh_token(row.id)
        world.clock.moment += HOUR
    before = await after(world, caller, row)

    def none_is_free(_: HttpRequest) -> HttpReply:
        raise RateLimitedError(timedelta(seconds=5))

    world.service.answers[TOKEN_URL] = none_is_free
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            await user.refresh_token(row.id)
    now = await after(world, caller, row)
    assert now.refresh_failures == failures
    assert now.refresh_lease_owner is None
    assert now == replace(before, updated_at=now.updated_at)
    assert world.log.lines[-1] == f"skipped {row.id} rate_limited"
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    assert (await user.refresh_token(row.id)).refresh_failures == 0


async def test_a_reply_is_kept_before_it_is_written_and_forgotten_after(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).refresh_token(row.id)
    (entry,) = world.journal.written
    assert (entry.ref, entry.seen_version, entry.caller) == (row.ref, 1, caller)
    assert world.journal.kept == {}


async def test_a_token_that_was_not_rotated_is_not_kept(world: World) -> None:
    """Whoever comes next can ask with the same refresh token again."""
    caller = world.caller()
    row = await connected(world, caller)
    same = token_reply(access_token="canary-access-2", refresh_token="canary-refresh-1")
    world.service.answers[TOKEN_URL] = lambda _: json_reply(same)
    await world.user(caller).refresh_token(row.id)
    assert world.journal.written == []


async def test_what_an_outage_kept_from_the_database_is_stored_by_the_next_holder(world: World) -> None:
    """The process died after the outage; another one on this machine gets the lease and does not ask the service."""
    caller = world.caller()
    row = await kept(world, caller)
    assert world.log.lines == [f"kept {row.id}"]
    world.service.answers[TOKEN_URL] = lambda _: json_reply(THIRD)
    world.clock.moment += timedelta(seconds=75)
    found = await world.another_process().fresh(world.database.as_user(caller), row.id, requested=True)
    assert isinstance(found.payload.credentials, OAuthCredentials)
    assert found.payload.credentials.access_token.get_secret_value() == "canary-access-2"
    assert spent(world) == ["canary-refresh-1"]
    assert world.journal.kept == {}


async def test_a_kept_reply_that_has_ended_is_stored_and_renewed_then(world: World) -> None:
    """Nobody came for it until its access token had ended, as where no worker runs and its user was away."""
    caller = world.caller()
    row = await kept(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(THIRD)
    world.clock.moment += timedelta(days=1)
    credentials = await world.user(caller).get_integration_credentials(row.id)
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.access_token.get_secret_value() == "canary-access-3"
    assert spent(world) == ["canary-refresh-1", "canary-refresh-2"]
    now = await after(world, caller, row)
    assert (now.credential_version, now.refresh_lease_owner) == (3, None)
    assert world.journal.kept == {}


async def test_a_token_that_ends_at_once_is_not_asked_for_again_by_itself(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR

    world.service.answers[TOKEN_URL] = lambda _: json_reply(token_reply(expires_in=1))
    store = world.database.as_user(caller)

    async def slowly(*arguments: Any, **more: Any) -> Integration:
        world.clock.moment += timedelta(seconds=5)
        return await FakeStore.replace_credentials(store, *arguments, **more)

    store.replace_credentials = slowly  # type: ignore[method-assign]
    await world.refresher.fresh(store, row.id)
    assert len(spent(world)) == 1


async def test_a_lease_whose_answer_was_lost_is_given_back(world: World) -> None:
    """The connection to the database broke after the commit: nobody would use the lease, and everybody wait for it."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store = world.database.as_user(caller)

    async def lose(integration_id: UUID, owner: UUID) -> SealedIntegration:
        await FakeStore.take_lease(store, integration_id, owner)
        raise StoreUnavailableError

    store.take_lease = lose  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        await world.refresher.fresh(store, row.id)
    before = world.clock.now()
    renewed = await world.refresher.fresh(world.database.as_user(caller), row.id)
    assert (renewed.integration.credential_version, world.clock.now()) == (2, before)


async def test_a_kept_reply_is_replayed_under_its_own_lease(world: World) -> None:
    """At once, without waiting for the lease to end: it is the same owner."""
    caller = world.caller()
    row = await kept(world, caller)
    (entry,) = await world.journal.entries()
    worker = world.another_process()
    await worker.replay(world.database.as_worker(caller.user_id), entry)
    _, written = await stored(world, caller, row.id)
    assert written.access_token.get_secret_value() == "canary-access-2"
    assert world.journal.kept == {}
    await worker.replay(world.database.as_worker(caller.user_id), entry)
    assert (await after(world, caller, row)).credential_version == 2


async def test_a_kept_reply_never_replaces_a_newer_version(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).refresh_token(row.id)
    (entry,) = world.journal.written
    world.service.answers[TOKEN_URL] = lambda _: json_reply(THIRD)
    world.clock.moment += timedelta(seconds=10)
    await world.user(caller).refresh_token(row.id)
    await world.journal.write(entry)
    await world.refresher.replay(world.database.as_worker(caller.user_id), entry)
    _, written = await stored(world, caller, row.id)
    assert written.access_token.get_secret_value() == "canary-access-3"
    assert world.journal.kept == {}


async def test_a_kept_reply_for_a_deleted_row_is_forgotten(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).refresh_token(row.id)
    (entry,) = world.journal.written
    await world.journal.write(entry)
    await world.database.as_user(caller).delete_integration(row.id)
    await world.refresher.replay(world.database.as_worker(caller.user_id), entry)
    assert world.journal.kept == {}


@pytest.mark.parametrize("trouble", ["is_full", "is_unreadable"])
async def test_a_rotating_token_is_not_spent_where_its_reply_could_not_be_kept(world: World, trouble: str) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.journal.room = trouble != "is_full"
    world.journal.is_unreadable = trouble == "is_unreadable"
    with pytest.raises(JournalUnavailableError):
        await world.user(caller).refresh_token(row.id)
    assert world.service.asked(TOKEN_URL) == []
    assert (await after(world, caller, row)).refresh_lease_owner is None


async def unopened(world: World, caller: Caller) -> Integration:
    """A connection whose renewal met an outage of the database, and whose reply waits for a key that is gone."""
    row = await kept(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_grant"}, 400)
    world.clock.moment += timedelta(seconds=75)
    world.journal.unknown_key = "0ddba11d"
    world.log.lines.clear()
    return row


async def test_a_token_is_not_spent_again_while_a_key_for_its_reply_is_missing(world: World) -> None:
    caller = world.caller()
    row = await unopened(world, caller)
    before = await after(world, caller, row)
    for process in (world.refresher, world.another_process()):
        with pytest.raises(UnknownKeyError, match="0ddba11d"):
            await process.fresh(world.database.as_user(caller), row.id, requested=True)
    now = await after(world, caller, row)
    assert spent(world) == ["canary-refresh-1"]
    assert replace(now, next_refresh_at=before.next_refresh_at) == replace(
        before, refresh_lease_owner=None, refresh_lease_until=None
    )

    world.journal.unknown_key = None
    opened = await world.refresher.fresh(world.database.as_user(caller), row.id, requested=True)
    assert opened.integration.credential_version == 2
    assert (spent(world), world.journal.kept) == (["canary-refresh-1"], {})


async def test_a_token_that_holds_is_served_while_a_key_for_its_replacement_is_missing(world: World) -> None:
    caller = world.caller()
    row = await unopened(world, caller)
    world.clock.moment = START + timedelta(minutes=56)
    opened = await world.refresher.fresh(world.database.as_user(caller), row.id)
    assert opened.integration.credential_version == 1
    assert spent(world) == ["canary-refresh-1"]


async def test_a_worker_comes_back_to_such_a_row_in_ten_minutes(world: World) -> None:
    caller = world.caller()
    row = await unopened(world, caller)
    world.clock.moment += HOUR
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert now.next_refresh_at == world.clock.now() + timedelta(minutes=10)
    assert (now.status, now.refresh_failures, now.refresh_lease_owner) == (IntegrationStatus.ACTIVE, 0, None)
    assert now.credential_version == 1
    assert world.log.lines == [f"skipped {row.id} unknown_encryption_key"]
    assert spent(world) == ["canary-refresh-1"]


async def test_a_reply_that_is_here_is_stored_even_if_the_disk_fails(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.journal.is_broken = True
    assert (await world.user(caller).refresh_token(row.id)).credential_version == 2
    assert world.log.lines[0] == f"not_kept {row.id}"


async def test_a_refused_client_is_asked_about_a_few_times_for_all_its_connections(world: World) -> None:
    """A wrong secret after a deployment: ten thousand connections must not become ten thousand requests."""
    callers = [world.caller() for _ in range(20)]
    rows = [await connected(world, caller) for caller in callers]
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_client"}, 401)
    refusals = await asyncio.gather(
        *(world.user(caller).refresh_token(row.id) for caller, row in zip(callers, rows, strict=True)),
        return_exceptions=True,
    )
    assert [type(refusal) for refusal in refusals] == [InvalidClientError] * 3 + [ProviderUnavailableError] * 17
    assert len(world.service.asked(TOKEN_URL)) == 3
    assert (await after(world, callers[0], rows[0])).status is IntegrationStatus.ERROR
    assert (await after(world, callers[9], rows[9])).status is IntegrationStatus.ACTIVE
    world.clock.moment += timedelta(minutes=11)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    for caller, row in zip(callers, rows, strict=True):
        assert (await world.user(caller).refresh_token(row.id)).status is IntegrationStatus.ACTIVE


async def test_one_user_cannot_make_a_service_look_as_if_it_refused_this_server(world: World) -> None:
    """They bring tokens of another client, which some services answer with `unauthorized_client`."""
    mallory, ada = world.caller(), world.caller()
    theirs = await connected(world, mallory)
    hers = await connected(world, ada)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "unauthorized_client"}, 400)
    for _ in range(5):
        with pytest.raises(InvalidClientError):
            await world.user(mallory).refresh_token(theirs.id)
        world.clock.moment += timedelta(minutes=11)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    assert (await world.user(ada).refresh_token(hers.id)).credential_version == 2


async def test_two_processes_that_find_a_token_expired_fail_once(world: World) -> None:
    """The second one read the row before the first one's failure was written, and got the lease after it."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    world.service.answers[TOKEN_URL] = lambda _: json_reply({}, 503)
    slow = world.database.as_user(caller)
    read = slow.get_sealed
    waits_until = []

    async def read_then_somebody_fails(integration_id: UUID) -> SealedIntegration:
        sealed = await read(integration_id)
        slow.get_sealed = read  # type: ignore[method-assign]
        with pytest.raises(ProviderUnavailableError):
            await world.another_process().fresh(world.database.as_user(caller), row.id)
        waits_until.append((await after(world, caller, row)).next_refresh_at)
        return sealed

    slow.get_sealed = read_then_somebody_fails  # type: ignore[method-assign]
    with pytest.raises(ProviderUnavailableError):
        await world.refresher.fresh(slow, row.id)
    assert len(world.service.asked(TOKEN_URL)) == 1
    failed = await after(world, caller, row)
    assert (failed.refresh_failures, [failed.next_refresh_at]) == (1, waits_until)
    assert failed.refresh_lease_owner is None


async def test_a_lease_that_was_only_looked_under_ends_no_wait(world: World) -> None:
    """After a failure, a third process reads the row while a second one holds the lease for a moment."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    world.service.answers[TOKEN_URL] = lambda _: json_reply({}, 503)
    with pytest.raises(ProviderUnavailableError):
        await world.refresher.fresh(world.database.as_user(caller), row.id)
    second, third, owner = world.database.as_user(caller), world.database.as_user(caller), uuid4()
    await second.take_lease(row.id, owner)
    read = third.get_sealed

    async def read_then_it_is_given_back(integration_id: UUID) -> SealedIntegration:
        sealed = await read(integration_id)
        await second.release_lease(integration_id, owner)
        return sealed

    third.get_sealed = read_then_it_is_given_back  # type: ignore[method-assign]
    with pytest.raises(ProviderUnavailableError):
        await world.another_process().fresh(third, row.id)
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_claimed_row_is_renewed_under_the_workers_lease(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += timedelta(minutes=56)
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert (now.credential_version, now.refresh_lease_owner) == (2, None)
    assert world.journal.written[0].caller is None
    assert world.log.lines == [f"refreshed {row.id} expires_soon"]


async def test_callers_at_both_doors_share_one_renewal(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += timedelta(minutes=56)
    doors = (world.database.as_user(caller), world.database.as_worker(caller.user_id))
    renewed = await asyncio.gather(*(world.oauth.refresh_token(door, row.id) for door in doors))
    assert {now.credential_version for now in renewed} == {2}
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_claimed_row_that_is_not_due_is_put_off_to_when_it_is(world: World) -> None:
    """Its owner says with curl that it is due, again and again: nobody is asked."""
    caller = world.caller()
    row = await connected(world, caller)
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert now.next_refresh_at == row.next_refresh_at
    assert now.refresh_lease_owner is None
    assert world.service.requests[1:] == []


async def test_a_row_that_was_paused_after_its_claim_keeps_its_schedule(world: World) -> None:
    """Without one, no worker would look at it again once its user resumes it."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store, _, owner = await claimed(world, caller, row)
    await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    await world.refresher.refresh_claimed(store, await store.get_sealed(row.id), owner)
    left = await after(world, caller, row)
    assert (left.next_refresh_at, left.refresh_lease_owner) == (row.next_refresh_at, None)
    assert row.next_refresh_at is not None
    assert world.service.asked(TOKEN_URL) == []


async def test_a_claimed_row_whose_token_ended_for_good_needs_its_user(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, tokens(refresh_token=None))
    assert row.next_refresh_at == row.expires_at
    world.clock.moment += HOUR
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert (now.status, now.last_error_code) == (
        IntegrationStatus.NEEDS_REAUTHORIZATION,
        ReauthorizationRequiredError.code,
    )
    assert now.next_refresh_at is None


async def test_a_claimed_row_that_does_not_open_is_looked_at_again_in_an_hour(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    store, sealed, owner = await claimed(world, caller, row)
    broken = SealedIntegration(sealed.integration, f"v1.00000000.{'A' * 60}")
    await world.refresher.refresh_claimed(store, broken, owner)
    now = await after(world, caller, row)
    assert now.next_refresh_at == world.clock.now() + HOUR
    assert (now.status, now.refresh_lease_owner) == (IntegrationStatus.ACTIVE, None)
    assert now.credential_version == row.credential_version
    assert world.log.lines == [f"skipped {row.id} unknown_encryption_key"]


async def test_a_claimed_row_whose_settings_name_a_tenant_longer_than_any_does_not_open_either(world: World) -> None:
    """Its owner writes that with curl; an error that nobody foresaw would be an alarm each time."""
    caller = world.caller()
    world.service.answers["https://a.tenants.example/me"] = lambda _: json_reply({"id": "77"})
    row = await world.user(caller).create("tenanted", tokens(), service_type=None, config={"shop": "a.tenants.example"})
    sealed = world.database.rows[caller.user_id, row.id]
    edited = replace(sealed.integration, config={"shop": "a" * 5_000})
    world.database.rows[caller.user_id, row.id] = replace(sealed, integration=edited)
    world.clock.moment += HOUR
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert (now.next_refresh_at, now.refresh_lease_owner) == (world.clock.now() + HOUR, None)
    assert world.log.lines == [f"skipped {row.id} decryption_failed"]
    with pytest.raises(DecryptionError):
        await world.user(caller).refresh_token(row.id)
    assert world.service.asked("https://a.tenants.example/token") == []


async def test_a_worker_without_a_services_client_says_so(world: World) -> None:
    """Its environment lacks what the server's has: nothing else would tell before the tokens have ended."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    del world.clients["demo_crm"]
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert (now.status, now.refresh_failures, now.refresh_lease_owner) == (IntegrationStatus.ACTIVE, 0, None)
    assert world.log.lines == [f"skipped {row.id} service_not_configured"]


async def test_a_claimed_key_is_never_due_again(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    store, sealed, owner = await claimed(world, caller, row)
    credentials = ApiKeyCredentials(tokens().access_token)
    payload = CredentialPayload("demo_crm", "", credentials)
    envelope = world.vault.seal(payload, integration_id=row.id, user_id=row.user_id, credential_version=1)
    await world.refresher.refresh_claimed(store, replace(sealed, envelope=envelope), owner)
    assert (await after(world, caller, row)).next_refresh_at is None


@pytest.mark.parametrize("answer", [{"error": "invalid_grant"}, {"hello": "world"}, {"error": "slow_down"}])
async def test_what_a_service_does_wrong_ends_no_worker(world: World, answer: dict[str, str]) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    world.service.answers[TOKEN_URL] = lambda _: json_reply(answer, 400)
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    now = await after(world, caller, row)
    assert (now.refresh_failures, now.refresh_lease_owner) == (1, None)


async def test_a_token_that_the_database_refuses_is_told_and_the_row_put_off(world: World) -> None:
    """Such as after an operator took a privilege away: the worker must not ask the service again and again."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store, sealed, owner = await claimed(world, caller, row)

    async def refuse(*_: object, **__: object) -> Integration:
        raise ForbiddenError("permission_denied", "The database does not let the worker do this.")

    store.replace_credentials = refuse  # type: ignore[method-assign]
    await world.refresher.refresh_claimed(store, sealed, owner)
    assert f"refused {row.id} permission_denied" in world.log.lines
    left = await after(world, caller, row)
    assert (left.next_refresh_at, left.refresh_lease_owner) == (world.clock.now() + timedelta(minutes=10), None)


async def test_a_worker_hears_of_an_outage_of_the_database(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    claim = await claimed(world, caller, row)
    world.database.outages = 100
    with pytest.raises(StoreUnavailableError):
        await world.refresher.refresh_claimed(*claim)


async def test_metas_token_is_traded_by_the_worker_too(world: World) -> None:
    caller = world.caller()
    credentials = replace(tokens(timedelta(days=60), refresh_token=None))
    row = await connected(world, caller, credentials, "meta_ads")
    url = f"{GRAPH}/oauth/access_token"
    world.service.answers[url] = lambda _: json_reply({"access_token": "canary-access-9", "expires_in": 5_184_000})
    world.clock.moment += timedelta(days=60) - timedelta(minutes=3)
    await world.refresher.refresh_claimed(*await claimed(world, caller, row))
    assert form_of(world.service.asked(url)[0])["fb_exchange_token"] == "canary-access-1"
    assert (await after(world, caller, row)).credential_version == 2
