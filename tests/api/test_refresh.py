"""Renewing tokens through a real OAuth server that rotates refresh tokens and revokes the family on reuse."""

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from supabase_integrations.core.refresh_policy import SHORTEST_AGE
from tests import canaries
from tests.consent import pass_consent, query_of
from tests.people import Person
from tests.scripted_service import Answer, Asked, ScriptedService

REFUSED = Answer.json({"error": "invalid_grant"}, 400)


async def connect_demo(person: Person) -> dict[str, Any]:
    started = await person.initiate("demo_crm")
    finished = await person.finish(params=query_of(await pass_consent(started.json()["auth_url"])))
    assert finished.status_code == 200, finished.text
    integration: dict[str, Any] = finished.json()["integration"]
    return integration


async def connect_scripted(person: Person, scripted: ScriptedService, **changes: object) -> dict[str, Any]:
    """A connection whose token has just expired."""
    reply = {
        "access_token": canaries.ACCESS_TOKEN,
        "refresh_token": canaries.REFRESH_TOKEN,
        "expires_in": 0.3,
    } | changes
    scripted.scripts["/token"] = lambda _: Answer.json(reply)
    started = await person.initiate("scripted")
    assert started.status_code == 200, started.text
    query = {"code": canaries.CODE, "state": query_of(started.json()["auth_url"])["state"]}
    finished = await person.finish(params=query)
    assert finished.status_code == 200, finished.text
    await asyncio.sleep(0.4)
    scripted.reset()
    integration: dict[str, Any] = finished.json()["integration"]
    return integration


async def refresh(person: Person, row: dict[str, Any]) -> httpx.Response:
    return await person.http.post(f"/api/integrations/{row['id']}/refresh-token")


def renewals(began: float) -> range:
    """How often a token may have been renewed on request since then: once, and again where that took so long that the
    new one was not young any more.
    """
    return range(1, 2 + int((time.monotonic() - began) / SHORTEST_AGE.total_seconds()))


async def version_of(person: Person, row: dict[str, Any]) -> int:
    async with person.data_api() as curl:
        (stored,) = (await curl.get(f"/integrations?id=eq.{row['id']}&select=credential_version")).json()
    version: int = stored["credential_version"]
    return version


async def test_thirty_callers_at_once_spend_one_refresh_token(ada: Person) -> None:
    """And again with the one that came of it: had an old one been sent twice, the whole family would be revoked."""
    row = await connect_demo(ada)
    for _ in range(2):
        before = await version_of(ada, row)
        await asyncio.sleep(5.1)  # a younger token is not renewed on request
        began = time.monotonic()
        replies = await asyncio.gather(*(refresh(ada, row) for _ in range(30)))
        assert {reply.status_code for reply in replies} == {200}, [reply.text for reply in replies]
        assert {reply.json()["status"] for reply in replies} == {"active"}
        assert await version_of(ada, row) - before in renewals(began)


async def test_a_token_that_was_renewed_just_now_is_kept(ada: Person, scripted: ScriptedService) -> None:
    row, began = await connect_scripted(ada, scripted), time.monotonic()
    for _ in range(5):
        assert (await refresh(ada, row)).status_code == 200
    assert len(scripted.asked_for("/token")) in renewals(began)


async def test_waiting_callers_make_no_request_of_their_own(ada: Person, scripted: ScriptedService) -> None:
    row = await connect_scripted(ada, scripted)
    scripted.scripts["/token"] = lambda _: Answer.json({"access_token": "canary-new", "expires_in": 3600}, delay=1.5)
    replies = await asyncio.gather(*(refresh(ada, row) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert len(scripted.asked_for("/token")) == 1
    assert await version_of(ada, row) == 2


async def test_two_users_do_not_wait_for_each_other(ada: Person, mallory: Person, scripted: ScriptedService) -> None:
    slow, quick = await connect_scripted(ada, scripted), await connect_demo(mallory)
    begun, renewed = threading.Event(), threading.Event()

    def when_the_other_is(_: Asked) -> Answer:
        begun.set()
        renewed.wait(20)
        return Answer.json({"access_token": "canary-new", "expires_in": 3600})

    scripted.scripts["/token"] = when_the_other_is
    waiting = asyncio.create_task(refresh(ada, slow))
    try:
        assert await asyncio.to_thread(begun.wait, 30)
        assert (await refresh(mallory, quick)).status_code == 200
        assert not waiting.done()
    finally:
        renewed.set()
    assert (await waiting).status_code == 200


@pytest.mark.parametrize(
    ("answer", "http_status", "code", "status", "error"),
    [
        (REFUSED, 409, "reauthorization_required", "needs_reauthorization", "invalid_grant"),
        (Answer.json({"error": "invalid_client"}, 401), 502, "invalid_client", "error", "invalid_client"),
        (Answer(503, b"down"), 502, "provider_unavailable", "active", "provider_unavailable"),
        (Answer(200, b"<html>"), 502, "malformed_token_response", "active", "malformed_token_response"),
    ],
)
async def test_each_failure_says_whose_turn_it_is(
    ada: Person, scripted: ScriptedService, answer: Answer, http_status: int, code: str, status: str, error: str
) -> None:
    row = await connect_scripted(ada, scripted)
    scripted.scripts["/token"] = lambda _: answer
    failed = await refresh(ada, row)
    assert (failed.status_code, failed.json()["code"]) == (http_status, code)
    after = (await ada.http.get(f"/api/integrations/{row['id']}")).json()
    assert (after["status"], after["last_error_code"]) == (status, error)
    again = await refresh(ada, row)
    assert again.status_code in (409, 502)
    assert len(scripted.asked_for("/token")) == 1
    assert await version_of(ada, row) == 1


@pytest.mark.parametrize(
    ("error", "status", "resumed"),
    [("invalid_client", "inactive", 200), ("invalid_grant", "needs_reauthorization", 409)],
)
async def test_a_pause_while_the_service_answers_gives_way_to_what_its_user_has_to_mend_alone(
    ada: Person, scripted: ScriptedService, error: str, status: str, resumed: int
) -> None:
    row = await connect_scripted(ada, scripted)
    path = f"/api/integrations/{row['id']}"
    is_asked, is_paused = threading.Event(), threading.Event()

    def refuse_when_paused(_: Asked) -> Answer:
        is_asked.set()
        is_paused.wait(20)
        return Answer.json({"error": error}, 400)

    scripted.scripts["/token"] = refuse_when_paused
    refreshing = asyncio.create_task(refresh(ada, row))
    assert await asyncio.to_thread(is_asked.wait, 60)
    assert (await ada.http.patch(path, json={"status": "inactive"})).json()["status"] == "inactive"
    is_paused.set()
    assert (await refreshing).status_code in (409, 502)

    after = (await ada.http.get(path)).json()
    assert (after["status"], after["last_error_code"]) == (status, error)
    assert (await ada.http.patch(path, json={"status": "active"})).status_code == resumed
    assert await version_of(ada, row) == 1


async def test_a_failed_service_is_left_alone_for_as_long_as_it_asks(ada: Person, scripted: ScriptedService) -> None:
    row = await connect_scripted(ada, scripted)
    scripted.scripts["/token"] = lambda _: Answer(429, b"{}", {"retry-after": "90"})
    first, second = await refresh(ada, row), await refresh(ada, row)
    assert first.headers["retry-after"] == "90"
    assert 60 < int(second.headers["retry-after"]) <= 90
    assert len(scripted.asked_for("/token")) == 1


async def test_what_cannot_be_renewed_says_so(ada: Person, scripted: ScriptedService) -> None:
    keyed = await ada.connect_with_key()
    without = await connect_scripted(ada, scripted, refresh_token=None)
    assert (await refresh(ada, keyed)).json()["code"] == "not_refreshable"
    refused = await refresh(ada, without)
    assert (refused.status_code, refused.json()["code"]) == (409, "reauthorization_required")
    assert "oauth/initiate" in refused.json()["detail"]
    await ada.http.patch(f"/api/integrations/{without['id']}", json={"status": "inactive"})
    assert (await refresh(ada, without)).json()["code"] == "integration_paused"
    assert scripted.asked_for("/token") == []


async def test_an_envelope_put_back_is_refused_and_left_alone(ada: Person, scripted: ScriptedService) -> None:
    """Its owner restores yesterday's ciphertext with curl: it is of another version, and does not open."""
    row = await connect_scripted(ada, scripted)
    async with ada.data_api() as curl:
        path = f"/integrations?id=eq.{row['id']}"
        (old,) = (await curl.get(f"{path}&select=credentials")).json()
        assert (await refresh(ada, row)).status_code == 200
        lease = {"refresh_lease_owner": "00000000-0000-4000-8000-000000000001"}
        assert (await curl.patch(path, json=lease)).is_success
        assert (await curl.patch(path, json={**old, "refresh_lease_owner": None})).is_success
    refused = await refresh(ada, row)
    assert (refused.status_code, refused.json()["code"]) == (503, "wrong_credential_version")
    assert len(scripted.asked_for("/token")) == 1


async def test_a_key_that_is_not_here_is_named_and_the_row_left_as_it_is(
    ada: Person, scripted: ScriptedService
) -> None:
    """As after a key was dropped too early: whoever has it can put it back, so nothing may be lost until then."""
    row = await connect_scripted(ada, scripted)
    path = f"/integrations?id=eq.{row['id']}"
    async with ada.data_api() as curl:
        (stored,) = (await curl.get(f"{path}&select=credentials")).json()
        version, _, sealed = stored["credentials"].split(".")
        lease = {"refresh_lease_owner": "00000000-0000-4000-8000-000000000001"}
        assert (await curl.patch(path, json=lease)).is_success
        foreign = {"credentials": f"{version}.0ddba11d.{sealed}", "refresh_lease_owner": None}
        assert (await curl.patch(path, json=foreign)).is_success
        before = (await curl.get(path)).json()
        for request in ("refresh-token", "revoke"):
            refused = await ada.http.post(f"/api/integrations/{row['id']}/{request}")
            told = refused.json()
            assert (refused.status_code, told["code"], told["key_id"]) == (503, "unknown_encryption_key", "0ddba11d")
            assert "ENCRYPTION_KEYS_RETIRED" in told["detail"]
        after = (await curl.get(path)).json()
    # The lease that was taken to look, and given back, moved the clock of the row and nothing else.
    assert after == [before[0] | {"updated_at": after[0]["updated_at"]}]
    assert scripted.asked_for("/token") == []
