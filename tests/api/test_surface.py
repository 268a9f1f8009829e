"""The API as its callers see it: lists, paging, events, credentials of each kind, CORS, health, documentation, logs."""

import asyncio
import contextlib
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests import canaries
from tests.conftest import APP_ORIGIN
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService


async def connect_accounts(person: Person, scripted: ScriptedService, count: int) -> list[str]:
    """That many connections, oldest first."""
    ids = []
    for number in range(count):
        scripted.scripts["/me"] = lambda _, number=number: Answer.json({"id": f"account-{number}"})  # type: ignore[misc]
        body = {"service_name": "scripted", "credentials": {"access_token": canaries.ACCESS_TOKEN}}
        reply = await person.http.post("/api/integrations", json=body)
        assert reply.status_code == 201, reply.text
        ids.append(reply.json()["id"])
    return ids


async def page(person: Person, **query: Any) -> dict[str, Any]:
    reply = await person.http.get("/api/integrations", params=query)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


async def walk(person: Person, **query: Any) -> list[str]:
    """All ids, page by page."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = await page(person, **query, **cursor)
        ids += [row["id"] for row in body["integrations"]]
        if body["next_cursor"] is None:
            return ids
        cursor = {"cursor": body["next_cursor"]}


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 200])
async def test_pages_join_to_the_whole_list(ada: Person, scripted: ScriptedService, limit: int) -> None:
    ids = await connect_accounts(ada, scripted, 5)
    assert await walk(ada, limit=limit) == ids[::-1]
    assert await walk(ada, limit=limit, order="created_at.asc") == ids


async def test_lists_are_filtered(ada: Person, scripted: ScriptedService) -> None:
    (scripted_id,) = await connect_accounts(ada, scripted, 1)
    keyed = await ada.connect_with_key()
    await ada.http.patch(f"/api/integrations/{keyed['id']}", json={"status": "inactive"})
    assert [row["id"] for row in (await page(ada, service_type="marketing"))["integrations"]] == [scripted_id]
    assert [row["id"] for row in (await page(ada, service_name="keyed"))["integrations"]] == [keyed["id"]]
    assert [row["id"] for row in (await page(ada, status="inactive"))["integrations"]] == [keyed["id"]]
    assert (await page(ada, status="active", service_name="keyed"))["integrations"] == []


async def test_a_password_is_stored_for_services_that_want_one(ada: Person) -> None:
    body = {
        "service_name": "walled",
        "service_type": "analytics",
        "credentials": {"username": "ada", "password": canaries.PASSWORD},
        "config": {"host": "acme.walled.example", "note": "mine"},
    }
    reply = await ada.http.post("/api/integrations", json=body)
    assert reply.status_code == 201
    assert reply.headers["location"] == f"/api/integrations/{reply.json()['id']}"
    assert reply.json()["external_account_id"] == "acme.walled.example"
    assert reply.json()["config"] == body["config"]


async def test_a_token_the_user_holds_is_checked_with_the_service(ada: Person, scripted: ScriptedService) -> None:
    tokens = {
        "access_token": canaries.ACCESS_TOKEN,
        "expires_at": "2030-01-01T00:00:00+02:00",
        "scopes": ["read"],
    }
    reply = await ada.http.post("/api/integrations", json={"service_name": "scripted", "credentials": tokens})
    (asked,) = scripted.asked_for("/me")
    assert asked.headers["authorization"] == f"Bearer {canaries.ACCESS_TOKEN}"
    assert reply.json()["external_account_id"] == "account-1"
    assert reply.json()["expires_at"] == "2029-12-31T22:00:00Z"
    scripted.scripts["/me"] = lambda _: Answer(401)
    refused = await ada.http.post("/api/integrations", json={"service_name": "scripted", "credentials": tokens})
    assert (refused.status_code, refused.json()["code"]) == (422, "credentials_rejected")


async def test_new_credentials_replace_the_old_ones(ada: Person) -> None:
    row = await ada.connect_with_key()
    reply = await ada.http.patch(
        f"/api/integrations/{row['id']}", json={"credentials": {"api_key": f"{canaries.API_KEY}-2"}}
    )
    assert reply.status_code == 200
    async with ada.data_api() as curl:
        (stored,) = (await curl.get(f"/integrations?id=eq.{row['id']}")).json()
    assert stored["credential_version"] == 2
    assert stored["refresh_lease_owner"] is None


async def test_every_change_is_an_event_with_names_and_no_values_of_its_users(ada: Person) -> None:
    row = await ada.connect_with_key()
    path = f"/api/integrations/{row['id']}"
    paused = await ada.http.patch(path, json={"status": "inactive", "config": {"note": "canary-value"}})
    assert paused.status_code == 200
    await ada.http.patch(path, json={"credentials": {"api_key": f"{canaries.API_KEY}-2"}})
    events = (await ada.http.get(f"{path}/events")).json()
    assert [event["event"] for event in events["events"]] == [
        "credentials.replaced",
        "status.changed",
        "integration.created",
    ]
    assert all(event["actor_role"] == "authenticated" for event in events["events"])
    assert [event["status"] for event in events["events"]] == ["inactive", "inactive", "active"]
    assert {event["error_code"] for event in events["events"]} == {None}
    assert "canary" not in json.dumps(events)
    first = (await ada.http.get(f"{path}/events?limit=2")).json()
    second = (await ada.http.get(f"{path}/events?limit=2&cursor={first['next_cursor']}")).json()
    assert first["events"] + second["events"] == events["events"]


async def test_the_audit_trail_outlives_the_connection(ada: Person) -> None:
    row = await ada.connect_with_key()
    assert (await ada.http.delete(f"/api/integrations/{row['id']}")).status_code == 204
    assert (await ada.http.get(f"/api/integrations/{row['id']}")).status_code == 404
    events = (await ada.http.get(f"/api/integrations/{row['id']}/events")).json()["events"]
    assert [(event["event"], event["status"], event["error_code"]) for event in events] == [
        ("integration.deleted", "revoked", "revocation_unsupported"),
        ("credentials.discarded", "revoked", "revocation_unsupported"),
        ("integration.created", "active", None),
    ]


async def test_the_catalogue_says_what_can_be_connected(ada: Person) -> None:
    reply = await ada.http.get("/api/integrations/services")
    services = {service["service_name"]: service for service in reply.json()["services"]}
    assert services["demo_crm"]["configured"]
    assert services["hubspot"]["configured"]
    assert not services["google_ads"]["configured"]
    assert services["keyed"]["configured"]
    assert services["shopify"]["tenant_param"] == "shop"
    assert list(services) == sorted(services)
    assert "canary" not in reply.text


async def test_no_response_can_hold_a_credential(stranger: httpx.AsyncClient) -> None:
    """Neither by a field of its model, nor by one that could hold anything."""
    document = (await stranger.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]

    def reached(schema: Any) -> set[str]:
        names = set()
        if isinstance(schema, dict):
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                names |= {name} | reached(schemas[name])
            for value in schema.values():
                names |= reached(value)
        elif isinstance(schema, list):
            for value in schema:
                names |= reached(value)
        return names

    responses = set()
    for path in document["paths"].values():
        for operation in path.values():
            responses |= reached(operation["responses"])
    fields = {name for schema in responses for name in schemas[schema].get("properties", {})}
    assert "IntegrationView" in responses
    forbidden = {"credentials", "access_token", "refresh_token", "api_key", "password", "envelope", "client_secret"}
    assert fields & forbidden == set()
    assert not any(schemas[name].get("additionalProperties") for name in responses)


async def test_the_documentation_is_served(stranger: httpx.AsyncClient) -> None:
    document = (await stranger.get("/openapi.json")).json()
    page = (await stranger.get("/docs")).text
    scripts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(scripts) >= 2
    assert all(script.startswith("/") for script in scripts)
    assert [(await stranger.get(script)).status_code for script in scripts] == [200] * len(scripts)
    assert {
        "/api/integrations",
        "/api/integrations/{integration_id}",
        "/api/integrations/{integration_id}/events",
        "/api/integrations/{integration_id}/proxy/{path}",
        "/api/integrations/{integration_id}/refresh-token",
        "/api/integrations/{integration_id}/revoke",
        "/api/integrations/services",
        "/api/integrations/oauth/initiate",
        "/api/integrations/oauth/callback",
        "/healthz",
        "/readyz",
    } == set(document["paths"])


async def test_health_and_readiness(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    ready = await stranger.get("/readyz")
    assert ready.status_code == 200
    assert {check["name"]: check["ok"] for check in ready.json()["checks"]} == {"database": True, "auth": True}


async def test_no_answer_leads_to_a_host_that_the_request_named(stranger: httpx.AsyncClient) -> None:
    reply = await stranger.get("/api/integrations/", headers={"host": "evil.example"})
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert "evil.example" not in f"{reply.headers} {reply.text}"


async def test_answers_about_a_user_are_stored_by_nobody(ada: Person, stranger: httpx.AsyncClient) -> None:
    for reply in (await page_of(ada.http), await page_of(stranger), await ada.initiate("scripted")):
        assert reply.headers["cache-control"] == "no-store"


async def page_of(http: httpx.AsyncClient) -> httpx.Response:
    return await http.get("/api/integrations")


async def test_a_head_that_never_ends_is_hung_up_on(local_system: LocalSystem) -> None:
    host, port = urlsplit(local_system.api_url).hostname, urlsplit(local_system.api_url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Endless: ")
    answered = b""
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b"a" * 10_000)
            await writer.drain()
        answered = await reader.read()
    assert answered == b""
    assert writer.is_closing() or reader.at_eof()
    writer.close()


async def test_many_requests_on_one_connection_are_served(stranger: httpx.AsyncClient) -> None:
    for _ in range(50):
        reply = await stranger.get("/healthz", headers={"x-padding": "a" * 5000})
        assert reply.status_code == 200


async def test_cors_with_credentials_is_for_the_configured_origins_only(stranger: httpx.AsyncClient) -> None:
    async def preflight(origin: str) -> httpx.Response:
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        return await stranger.options("/api/integrations/oauth/initiate", headers=headers)

    allowed, foreign = await preflight(APP_ORIGIN), await preflight("https://evil.example")
    assert allowed.headers["access-control-allow-origin"] == APP_ORIGIN
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in foreign.headers
    for origin in ("https://evil.example", "null", f"{APP_ORIGIN}.evil.example"):
        reply = await stranger.get("/api/integrations", headers={"origin": origin})
        assert "access-control-allow-origin" not in reply.headers


async def logged(system: LocalSystem, request_id: str) -> list[dict[str, Any]]:
    """The log's lines about one request; they are written once its answer is on the way."""
    for _ in range(1200):
        whole_lines, _, _ = (system.log_dir / "api.log").read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole_lines.splitlines()]
        found = [line for line in lines if line.get("request_id") == request_id]
        if found:
            return found
        await asyncio.sleep(0.05)
    return []


async def test_every_request_is_one_line_of_the_log(ada: Person, local_system: LocalSystem) -> None:
    row = await ada.connect_with_key()
    reply = await ada.http.get(f"/api/integrations/{row['id']}", headers={"x-request-id": "canary-request-id-1"})
    assert reply.headers["x-request-id"] == "canary-request-id-1"
    (line,) = await logged(local_system, "canary-request-id-1")
    assert line["user_id"] == ada.user_id
    assert line["method"] == "GET"
    assert line["route"] == "/api/integrations/{integration_id}"
    assert line["status"] == 200
    assert line["duration_ms"] > 0


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", "<script>", "line\tbreak"])
async def test_request_ids_that_are_no_plain_words_are_replaced(stranger: httpx.AsyncClient, given: str) -> None:
    reply = await stranger.get("/healthz", headers={"x-request-id": given})
    assert len(reply.headers["x-request-id"]) == 32
