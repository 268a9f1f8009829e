"""A signed-in user who mixes our API with the Data API, to have this server ask a service more often than it should."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import uuid4

import httpx

from integrations_api.dependencies import WAITING
from tests.api.test_refresh import connect_scripted, refresh, renewals
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService


async def test_a_wait_after_a_failure_is_not_ended_by_curl(ada: Person, scripted: ScriptedService) -> None:
    row = await connect_scripted(ada, scripted)
    scripted.scripts["/token"] = lambda _: Answer.json({"error": "server_error"}, 503)
    attempts: tuple[dict[str, object], ...] = (
        {"refresh_failures": 0, "next_refresh_at": None},
        {"next_refresh_at": datetime.now(UTC).isoformat()},
        {"refresh_failures": 0, "next_refresh_at": None, "status": "inactive"},
        {"refresh_failures": 0, "next_refresh_at": None, "status": "active", "last_error_code": None},
        {"refresh_lease_owner": str(ada.user_id)},
        {"refresh_failures": 0, "next_refresh_at": None, "refresh_lease_owner": None},
        {"refresh_failures": 100_000, "next_refresh_at": None},
    )
    async with ada.data_api() as curl:
        assert (await refresh(ada, row)).status_code == 502
        for attempt in attempts:
            changed = await curl.patch(f"/integrations?id=eq.{row['id']}", json=attempt)
            assert changed.status_code == 204, changed.text
            if "refresh_lease_owner" not in attempt or attempt["refresh_lease_owner"] is None:
                assert (await refresh(ada, row)).status_code in (409, 502)
    assert len(scripted.asked_for("/token")) == 1


async def test_whoever_keeps_a_lease_with_curl_holds_no_more_than_a_share_of_the_connections(
    ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    """Every request for such a row waits for 40 seconds, and the server takes 2,000 connections in all."""
    row, too_many = await connect_scripted(mallory, scripted), 30
    limits = httpx.Limits(max_connections=None)
    headers = {"authorization": mallory.http.headers["authorization"]}
    async with (
        mallory.data_api() as curl,
        httpx.AsyncClient(base_url=mallory.http.base_url, headers=headers, limits=limits, timeout=60) as crowd,
    ):
        kept = await curl.patch(f"/integrations?id=eq.{row['id']}", json={"refresh_lease_owner": str(uuid4())})
        assert kept.status_code == 204, kept.text
        asking = [
            asyncio.create_task(crowd.post(f"/api/integrations/{row['id']}/refresh-token"))
            for _ in range(WAITING + too_many)
        ]
        waiting = set(asking)
        while len(waiting) > WAITING:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert (await ada.http.get("/api/integrations")).status_code == 200
        began = time.monotonic()
        released = await curl.patch(f"/integrations?id=eq.{row['id']}", json={"refresh_lease_owner": None})
        assert released.status_code == 204, released.text
        replies = await asyncio.gather(*asking)
    refused = [reply for reply in replies if reply.status_code == 429]
    assert len(refused) == too_many
    assert {(reply.json()["code"], reply.headers["retry-after"]) for reply in refused} == {("rate_limited", "1")}
    assert {reply.status_code for reply in replies} == {200, 429}
    assert len(scripted.asked_for("/token")) in renewals(began)
