"""Hostile and careless requests: each gets a 4xx that names the field, and never a 500."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.local_system import LocalSystem
from tests.people import Person

KEYED = {"service_name": "keyed", "credentials": {"api_key": "canary-api-key-93b2"}}
WALLED = {"service_name": "walled", "credentials": {"username": "u", "password": "p"}}
SCRIPTED = {"service_name": "scripted"}
TOKEN = {"credentials": {"access_token": "canary-access-token-51d0"}}
FIRST_YEAR, LAST_YEAR = (
    urlsafe_b64encode(f"{moment}|00000000-0000-4000-8000-000000000000".encode()).decode().rstrip("=")
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
)
DEEP: Any = {}
for _ in range(12):
    DEEP = {"a": DEEP}

CREATE = [
    ({}, "service_name"),
    ({"service_name": "keyed"}, "credentials"),
    ({**KEYED, "service_name": 7}, "service_name"),
    ({**KEYED, "service_name": ""}, "service_name"),
    ({**KEYED, "service_name": "x" * 65}, "service_name"),
    ({**KEYED, "service_name": "key\0ed"}, "service_name"),
    ({**KEYED, "service_type": "other"}, "service_type"),
    ({**KEYED, "service_type": "crm"}, "service_type"),
    ({**KEYED, "unknown": 1}, "unknown"),
    ({**KEYED, "user_id": "00000000-0000-4000-8000-000000000000"}, "user_id"),
    ({**KEYED, "credentials": "canary"}, "credentials"),
    ({**KEYED, "credentials": {}}, "credentials"),
    ({**KEYED, "credentials": {"api_key": ""}}, "credentials"),
    ({**KEYED, "credentials": {"api_key": "a\0b"}}, "credentials"),
    ({**KEYED, "credentials": {"api_key": "a\r\nX-Evil: 1"}}, "credentials"),
    ({**KEYED, "credentials": {"api_key": 7}}, "credentials"),
    ({**KEYED, "credentials": {"api_key": "a", "more": "b"}}, "credentials"),
    ({**KEYED, "credentials": {"username": "a:b", "password": "p"}}, "credentials"),
    ({**SCRIPTED, "credentials": {"access_token": "a", "expires_at": "0001-01-01T00:00:00+14:00"}}, "credentials"),
    ({**SCRIPTED, "credentials": {"access_token": "a", "expires_at": "9999-12-31T23:59:59-14:00"}}, "credentials"),
    ({"service_name": "shopify", "config": {"shop": f"{'a' * 70}.myshopify.com"}, **TOKEN}, "config.shop"),
    ({**SCRIPTED, "credentials": {"access_token": "a", "refresh_token": "stolen"}}, "credentials"),
    ({**KEYED, "config": []}, "config"),
    ({**KEYED, "config": {"a": "b\0"}}, "config"),
    ({**KEYED, "config": {"a\0": 1}}, "config"),
    ({**KEYED, "config": {"a": 10**400}}, "config"),
    ({**KEYED, "config": {"a": -(2**60)}}, "config"),
    ({**KEYED, "config": DEEP}, "config"),
    ({**KEYED, "config": {"a": "x" * 20_000}}, "config"),
    (WALLED, "config.host"),
    (
        {
            "service_name": "walled",
            "credentials": {"username": "u", "password": "p"},
            "config": {"host": "evil.example"},
        },
        "config.host",
    ),
    (
        {
            "service_name": "walled",
            "credentials": {"username": "u", "password": "p"},
            "config": {"host": ["a.walled.example"]},
        },
        "config.host",
    ),
]


@pytest.fixture(scope="module")
async def ada(local_system: LocalSystem) -> AsyncIterator[Person]:
    """One user for the whole file: hardly any of these requests leaves a trace."""
    person = await Person.sign_up(local_system)
    yield person
    await person.http.aclose()


@pytest.fixture(scope="module")
async def row(ada: Person) -> dict[str, Any]:
    """A connection to be changed for the worse."""
    return await ada.connect_with_key()


def fields(reply: httpx.Response) -> list[str]:
    assert reply.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in reply.json()["errors"]]


@pytest.mark.parametrize(("body", "field"), CREATE)
async def test_create_names_the_field(ada: Person, body: dict[str, Any], field: str) -> None:
    reply = await ada.http.post("/api/integrations", json=body)
    assert reply.status_code == 422, reply.text
    assert any(named == field or named.startswith(f"{field}.") for named in fields(reply)), reply.text
    assert "canary" not in reply.text


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"\\udc00": 1}']
)
async def test_json_that_json_cannot_hold_is_refused(ada: Person, text: str) -> None:
    body = f'{{"service_name": "keyed", "credentials": {{"api_key": "k"}}, "config": {text}}}'
    reply = await ada.http.post("/api/integrations", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422, reply.text
    assert any(field.startswith("config") for field in fields(reply))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"service_name": "\xff"}', b"[" * 30_000, b"{}" * 3]
)
async def test_what_is_no_json_object_is_refused(ada: Person, content: bytes) -> None:
    reply = await ada.http.post("/api/integrations", content=content, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422), reply.text
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_other_media_types_are_refused(ada: Person, kind: str) -> None:
    reply = await ada.http.post("/api/integrations", content=json.dumps(KEYED), headers={"content-type": kind})
    assert reply.status_code in (415, 422)


@pytest.mark.parametrize("announced", [True, False])
async def test_bodies_over_64_kib_are_refused(ada: Person, announced: bool) -> None:
    body = json.dumps({**KEYED, "config": {"a": "x" * 70_000}}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    content = body if announced else pieces()
    reply = await ada.http.post("/api/integrations", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("identifier", ["x", "1", "00000000-0000-0000-0000", "%00", "..%2f..", "' or 1=1 --", "null"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_id_that_is_no_uuid_is_refused(ada: Person, method: str, identifier: str) -> None:
    reply = await ada.http.request(method, f"/api/integrations/{identifier}", json={"status": "inactive"})
    assert reply.status_code in (404, 422), reply.text
    if reply.status_code == 422:
        assert fields(reply) == ["integration_id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"status": "error"}, "status"),
        ({"status": "revoked"}, "status"),
        ({"status": None}, "status"),
        ({"config": None}, "config"),
        ({"config": 3}, "config"),
        ({"last_sync_at": "yesterday"}, "last_sync_at"),
        ({"last_sync_at": "2026-01-01T00:00:00"}, "last_sync_at"),
        ({"last_sync_at": "0001-01-01T00:00:00Z"}, "last_sync_at"),
        ({"last_sync_at": "0001-01-01T00:00:00+14:00"}, "last_sync_at"),
        ({"last_sync_at": "9999-12-31T23:59:59-14:00"}, "last_sync_at"),
        ({"credentials": {"api_key": ""}}, "credentials"),
        ({"credentials": {"username": "u", "password": "p"}}, "credentials"),
        ({"credential_version": 9}, "credential_version"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"external_account_id": "x"}, "external_account_id"),
        ({"service_name": "hubspot"}, "service_name"),
    ],
)
async def test_update_names_the_field(ada: Person, row: dict[str, Any], body: dict[str, Any], field: str) -> None:
    reply = await ada.http.patch(f"/api/integrations/{row['id']}", json=body)
    assert reply.status_code == 422, reply.text
    assert any(named == field or named.startswith(f"{field}.") for named in fields(reply)), reply.text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("service_type=other", "service_type"),
        ("status=alive", "status"),
        ("status=active%00", "status"),
        ("service_name=%00", "service_name"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("order=id", "order"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=MjAyNi0wMS0wMXwx", "cursor"),
        (f"cursor={FIRST_YEAR}", "cursor"),
        (f"cursor={LAST_YEAR}", "cursor"),
    ],
)
async def test_the_list_names_the_parameter(ada: Person, query: str, field: str) -> None:
    reply = await ada.http.get(f"/api/integrations?{query}")
    assert reply.status_code == 422, reply.text
    assert fields(reply) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "service_name"),
        ({**SCRIPTED, "redirect_to": "https://evil.example"}, "redirect_to"),
        ({**SCRIPTED, "redirect_to": "javascript:alert(1)"}, "redirect_to"),
        ({**SCRIPTED, "additional_params": {"state": "x"}}, "additional_params"),
        (
            {**SCRIPTED, "additional_params": {"redirect_uri": "https://evil.example"}},
            "additional_params",
        ),
        ({**SCRIPTED, "additional_params": {"unlisted": "x"}}, "additional_params"),
        ({**SCRIPTED, "additional_params": {"login_hint": "x" * 2000}}, "additional_params"),
        ({**SCRIPTED, "additional_params": {"login_hint": "a\0"}}, "additional_params"),
        ({**SCRIPTED, "additional_params": {"login_hint": 7}}, "additional_params"),
        ({**SCRIPTED, "additional_params": []}, "additional_params"),
        ({**SCRIPTED, "scopes": ["a b"]}, "scopes"),
        ({**SCRIPTED, "scopes": "read"}, "scopes"),
        ({**SCRIPTED, "scopes": ["x"] * 101}, "scopes"),
        ({**SCRIPTED, "integration_id": "x"}, "integration_id"),
        ({**SCRIPTED, "client_id": "mine"}, "client_id"),
        ({"service_name": "shopify"}, "config.shop"),
        ({**SCRIPTED, "config": {"a": "x" * 20_000}}, "config"),
        ({"service_name": "keyed"}, "service_name"),
    ],
)
async def test_initiate_names_the_field(ada: Person, body: dict[str, Any], field: str) -> None:
    reply = await ada.http.post("/api/integrations/oauth/initiate", json=body)
    assert reply.status_code == 422, reply.text
    assert any(named == field or named.startswith(f"{field}.") for named in fields(reply)), reply.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"handle": "x", "params": {"a": "b"}}, "invalid_request"),
        ({"handle": "x"}, "invalid_handle"),
        ({"handle": "v1.00000000." + "A" * 60}, "invalid_handle"),
        ({"handle": "x" * 40_000}, "invalid_request"),
        ({"params": {}}, "invalid_request"),
        ({"params": {"code": "c"}}, "invalid_state"),
        ({"params": {"code": "c", "state": "x"}}, "invalid_state"),
        ({"params": {"code": "c\n", "state": "x"}}, "invalid_callback"),
        ({"params": {"code": 7}}, "invalid_request"),
    ],
)
async def test_finish_says_what_is_wrong(ada: Person, body: dict[str, Any], code: str) -> None:
    reply = await ada.http.post("/api/integrations/oauth/callback", json=body)
    assert reply.status_code in (400, 422), reply.text
    assert reply.json()["code"] == code


@pytest.mark.parametrize(
    "query", ["state=a&state=b", "code=%00&state=x", "code=%0d%0a&state=x", "code=" + "x" * 9000, ""]
)
async def test_the_browsers_callback_never_breaks(stranger: httpx.AsyncClient, query: str) -> None:
    reply = await stranger.get(f"/api/integrations/oauth/callback?{query}", headers={"accept": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["integration_error"] in ("invalid_state", "invalid_callback")


@pytest.mark.usefixtures("row")
async def test_a_second_connection_of_one_account_is_a_conflict(ada: Person) -> None:
    reply = await ada.http.post("/api/integrations", json=KEYED)
    assert (reply.status_code, reply.json()["code"]) == (409, "duplicate_integration")


async def test_services_that_are_not_there(ada: Person) -> None:
    unknown = await ada.initiate("nowhere")
    unconfigured = await ada.initiate("unconfigured")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_service")
    assert (unconfigured.status_code, unconfigured.json()["code"]) == (422, "service_not_configured")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("PUT", "/api/integrations", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_what_does_not_exist_is_a_problem_too(
    ada: Person, method: str, path: str, status: int, code: str
) -> None:
    reply = await ada.http.request(method, path)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
