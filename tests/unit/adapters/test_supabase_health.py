"""What a project's answers to a stranger say about it."""

import asyncio

import httpx
import pytest

from supabase_integrations.adapters.supabase_health import PATIENCE, SupabaseHealth
from tests.unit.virtual_time import in_virtual_time

NO_KEYS = httpx.Response(200, json={"keys": []})
CLOSED = httpx.Response(401, json={"code": "42501", "message": "permission denied for table integrations"})


async def check(tables: httpx.Response | Exception, auth: httpx.Response | Exception) -> dict[str, tuple[bool, str]]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["apikey"] == "sb_publishable_x"
        assert "authorization" not in request.headers
        given = tables if request.url.path == "/rest/v1/integrations" else auth
        if isinstance(given, Exception):
            raise given
        return given

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        results = await SupabaseHealth(http, "https://ref.example", "sb_publishable_x").check()
    return {result.name: (result.ok, result.detail) for result in results}


async def test_a_closed_table_is_a_good_one() -> None:
    results = await check(CLOSED, httpx.Response(200, json={"keys": [{"kid": "a"}, {"kid": "b"}]}))
    assert results["database"][0]
    assert results["auth"] == (True, "2 public keys: tokens are verified here.")
    results = await check(CLOSED, httpx.Response(200, json={"keys": [{"kid": "a"}]}))
    assert results["auth"] == (True, "1 public key: tokens are verified here.")


async def test_an_open_table_is_an_alarm() -> None:
    ok, detail = (await check(httpx.Response(200, json=[]), NO_KEYS))["database"]
    assert not ok
    assert "integrations audit" in detail


@pytest.mark.parametrize("code", ["PGRST205", "42P01"])
async def test_missing_tables_name_the_command(code: str) -> None:
    ok, detail = (await check(httpx.Response(404, json={"code": code}), NO_KEYS))["database"]
    assert not ok
    assert "integrations migrate" in detail


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.ConnectError("canary"), "SUPABASE_URL"),
        (httpx.Response(401, json={"message": "Invalid API key"}), "SUPABASE_PUBLISHABLE_KEY"),
        (httpx.Response(503, text="canary"), "503"),
    ],
)
async def test_what_does_not_work_is_told_with_its_setting(answer: httpx.Response | Exception, told: str) -> None:
    ok, detail = (await check(answer, NO_KEYS))["database"]
    assert not ok
    assert told in detail
    assert "canary" not in detail


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("canary"),
        httpx.Response(404, json={}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": 3}),
    ],
)
async def test_auth_that_publishes_no_keys_is_not_ready(answer: httpx.Response | Exception) -> None:
    ok, detail = (await check(CLOSED, answer))["auth"]
    assert not ok
    assert "SUPABASE_URL" in detail


@in_virtual_time
async def test_a_project_that_does_not_answer_is_told_within_the_patience_of_a_load_balancer() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    clock = asyncio.get_running_loop().time
    began = clock()
    async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as http:
        results = await SupabaseHealth(http, "https://ref.example", "sb_publishable_x").check()

    assert clock() - began <= PATIENCE.total_seconds()
    assert [(result.name, result.ok) for result in results] == [("database", False), ("auth", False)]
    assert all("cannot be reached" in result.detail for result in results)
