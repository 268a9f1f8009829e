"""The published keys are fetched rarely, and neither invented key ids nor an outage can change that."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from supabase_integrations.adapters.jwks import PublishedKeys
from supabase_integrations.core.errors import AuthUnavailableError, UnauthenticatedError
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, key_set, signing_key
from tests.unit.adapters.conftest import FakeProject
from tests.unit.fakes import FakeClock

MINUTES_10 = timedelta(minutes=10)


@pytest.fixture
def keys(http: httpx.AsyncClient, clock: FakeClock) -> PublishedKeys:
    return PublishedKeys(http, PROJECT, PUBLISHABLE_KEY, clock)


async def refusal(keys: PublishedKeys, key_id: str) -> str:
    with pytest.raises((UnauthenticatedError, AuthUnavailableError)) as error:
        await keys.key(key_id)
    return error.value.code


async def until_asked(project: FakeProject, times: int) -> None:
    async with asyncio.timeout(60):
        while project.key_fetches < times:  # noqa: ASYNC110 - the project counts and does not tell
            await asyncio.sleep(0)


async def test_nothing_is_fetched_before_a_key_is_needed(keys: PublishedKeys, project: FakeProject) -> None:
    assert project.key_fetches == 0
    assert (await keys.key("current")).algorithm == "ES256"
    assert project.requests[0].headers["apikey"] == PUBLISHABLE_KEY


async def test_fifty_cold_requests_share_one_fetch(keys: PublishedKeys, project: FakeProject) -> None:
    project.gate.clear()
    requests = [asyncio.create_task(keys.key("current")) for _ in range(50)]
    await until_asked(project, 1)
    project.gate.set()

    found = await asyncio.gather(*requests)

    assert project.key_fetches == 1
    assert set(map(id, found)) == {id(found[0])}


async def test_keys_are_used_for_ten_minutes_and_then_asked_for_again(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    clock.moment += MINUTES_10 - timedelta(seconds=1)
    await keys.key("current")
    assert project.key_fetches == 1
    clock.moment += timedelta(seconds=1)
    await keys.key("current")
    assert project.key_fetches == 2


async def test_a_withdrawn_key_is_refused_after_ten_minutes(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    project.publish(key_set(signing_key("ES256", "next")))
    clock.moment += MINUTES_10
    assert await refusal(keys, "current") == "token_key_unknown"
    assert (await keys.key("next")).algorithm == "ES256"


async def test_a_key_that_was_just_published_is_found_at_once(keys: PublishedKeys, project: FakeProject) -> None:
    await keys.key("current")
    project.publish(key_set(signing_key(), signing_key("ES256", "next")))
    found = await asyncio.gather(*[keys.key("next") for _ in range(20)])
    assert {key.algorithm for key in found} == {"ES256"}
    assert project.key_fetches == 2


async def test_a_flood_of_invented_key_ids_causes_one_fetch_in_thirty_seconds(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    clock.moment += timedelta(seconds=1)
    codes = {await refusal(keys, f"invented-{number}") for number in range(200)}
    assert codes == {"token_key_unknown"}
    assert project.key_fetches == 2
    clock.moment += timedelta(seconds=29)
    await refusal(keys, "invented")
    assert project.key_fetches == 2
    clock.moment += timedelta(seconds=1)
    await refusal(keys, "invented")
    assert project.key_fetches == 3


async def test_a_flood_that_meets_no_keys_yet_causes_one_fetch(keys: PublishedKeys, project: FakeProject) -> None:
    await asyncio.gather(*[refusal(keys, f"invented-{number}") for number in range(50)])
    assert project.key_fetches == 1


async def test_a_known_key_does_not_wait_for_the_fetch_that_an_unknown_one_caused(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    clock.moment += timedelta(seconds=1)
    project.gate.clear()
    stranger = asyncio.create_task(refusal(keys, "invented"))
    await until_asked(project, 2)

    async with asyncio.timeout(60):
        await keys.key("current")

    assert not stranger.done()
    project.gate.set()
    assert await stranger == "token_key_unknown"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"upstream unavailable"),
        (200, b"<html>maintenance</html>"),
        (200, b'{"keys": "none"}'),
        (200, b'{"keys": [' + b" " * 65_536 + b"]}"),
        (302, b""),
        (404, b'{"keys": []}'),
    ],
    ids=["error", "html", "not a set", "oversized", "redirect", "not found"],
)
async def test_keys_go_on_being_used_while_auth_does_not_answer_with_keys(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock, status: int, body: bytes
) -> None:
    await keys.key("current")
    project.publish(body, status)
    clock.moment += timedelta(hours=3)
    assert (await keys.key("current")).algorithm == "ES256"
    assert project.key_fetches == 2


async def test_an_outage_is_asked_about_every_five_seconds_and_not_by_every_request(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    project.answer("/auth/v1/.well-known/jwks.json", httpx.ConnectError("refused"))
    clock.moment += MINUTES_10
    for _ in range(20):
        await keys.key("current")
    assert project.key_fetches == 2
    clock.moment += timedelta(seconds=5)
    await keys.key("current")
    await until_asked(project, 3)


async def test_during_an_outage_nobody_with_a_known_key_waits_for_auth(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    project.publish(b"", 503)
    clock.moment += MINUTES_10
    await keys.key("current")
    project.gate.clear()
    clock.moment += timedelta(seconds=5)
    async with asyncio.timeout(60):
        await asyncio.gather(*[keys.key("current") for _ in range(20)])
    await until_asked(project, 3)
    project.gate.set()


async def test_after_an_outage_the_keys_are_fresh_again(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    await keys.key("current")
    project.publish(b"", 503)
    clock.moment += MINUTES_10
    await keys.key("current")
    project.publish(key_set(signing_key("ES256", "next")))
    clock.moment += timedelta(seconds=5)
    assert (await keys.key("next")).algorithm == "ES256"
    assert await refusal(keys, "current") == "token_key_unknown"


async def test_while_auth_does_not_answer_an_unknown_key_is_not_called_unknown(
    keys: PublishedKeys, project: FakeProject, clock: FakeClock
) -> None:
    project.publish(b"", 503)
    assert await refusal(keys, "current") == "auth_unavailable"
    assert await refusal(keys, "current") == "auth_unavailable"
    assert project.key_fetches == 1
    project.publish(key_set(signing_key()))
    clock.moment += timedelta(seconds=5)
    assert (await keys.key("current")).algorithm == "ES256"


async def test_a_project_without_published_keys_knows_none(keys: PublishedKeys, project: FakeProject) -> None:
    project.publish(key_set())
    assert await refusal(keys, "current") == "token_key_unknown"


async def test_a_waiter_that_is_cancelled_does_not_end_the_fetch_for_others(
    keys: PublishedKeys, project: FakeProject
) -> None:
    project.gate.clear()
    impatient, patient = (asyncio.create_task(keys.key("current")) for _ in range(2))
    await until_asked(project, 1)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    project.gate.set()

    assert (await patient).algorithm == "ES256"
    assert impatient.cancelled()
    assert project.key_fetches == 1
