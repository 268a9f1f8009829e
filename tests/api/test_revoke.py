"""Disconnecting at a real OAuth server, and at a scripted one that wants to be told in other ways."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from supabase_integrations.configuration import Configuration
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.integrations import Integrations, open_integrations
from tests import canaries
from tests.api.serve import settings_for
from tests.consent import pass_consent, query_of
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import Answer, Asked, ScriptedService

CLIENT_ID = "canary-scripted_client-id"
GONE = Answer(200, b"")
"""RFC 7009 §2.2: whatever the token was, it does not work any more."""


@pytest.fixture
async def integrations(local_system: LocalSystem, local_environment: Mapping[str, str]) -> AsyncIterator[Integrations]:
    """The library beside the API: the one way to see a token."""
    secrets = json.loads((local_system.state_dir / "secrets.json").read_text())
    demo = {f"DEMO_CRM_CLIENT_{name.upper()}": secrets[f"demo_client_{name}"] for name in ("id", "secret")}
    configuration = Configuration.from_environment(settings_for(local_system, local_environment, **demo))
    async with open_integrations(configuration) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class DemoTokens:
    """What the demo service issued, and what it says of it."""

    url: str
    access_token: str
    refresh_token: str
    client: tuple[str, str]

    async def work(self) -> tuple[int, bool, bool]:
        """The status of an API call with the access token; whether each token is active by introspection."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            called = await http.get(f"{self.url}/me", headers={"authorization": f"Bearer {self.access_token}"})
            answers = [
                await http.post(f"{self.url}/token/introspection", data={"token": token}, auth=self.client)
                for token in (self.access_token, self.refresh_token)
            ]
        access, refresh = (answer.json()["active"] for answer in answers)
        return called.status_code, access, refresh


async def connect_demo(person: Person, **body: Any) -> dict[str, Any]:
    started = await person.initiate("demo_crm", **body)
    assert started.status_code == 200, started.text
    finished = await person.finish(params=query_of(await pass_consent(started.json()["auth_url"])))
    assert finished.status_code == 200, finished.text
    integration: dict[str, Any] = finished.json()["integration"]
    return integration


async def demo_tokens(integrations: Integrations, person: Person, row: dict[str, Any]) -> DemoTokens:
    user = await integrations.for_token(person.access_token)
    credentials = await user.get_integration_credentials(UUID(row["id"]))
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.refresh_token
    client = integrations.engine.clients["demo_crm"]
    return DemoTokens(
        person.system.demo_url,
        credentials.access_token.get_secret_value(),
        credentials.refresh_token.get_secret_value(),
        (client.client_id, client.client_secret.get_secret_value()),
    )


async def connect(
    person: Person, scripted: ScriptedService, service: str, *, wait: bool = False, **changes: object
) -> dict[str, Any]:
    """A connection to one of the scripted services; with `wait` its token has just expired."""
    reply = {
        "access_token": canaries.ACCESS_TOKEN,
        "refresh_token": canaries.REFRESH_TOKEN,
        "expires_in": 0.3 if wait else 3600,
    } | changes
    scripted.scripts["/token"] = lambda _: Answer.json(reply)
    started = await person.initiate(service)
    assert started.status_code == 200, started.text
    query = {"code": canaries.CODE, "state": query_of(started.json()["auth_url"])["state"]}
    finished = await person.finish(params=query)
    assert finished.status_code == 200, finished.text
    if wait:
        await asyncio.sleep(0.4)
    scripted.asked.clear()
    scripted.scripts["/revoke"] = lambda _: GONE
    integration: dict[str, Any] = finished.json()["integration"]
    return integration


async def revoke(person: Person, row: dict[str, Any]) -> httpx.Response:
    return await person.http.post(f"/api/integrations/{row['id']}/revoke")


async def delete(person: Person, row: dict[str, Any]) -> httpx.Response:
    return await person.http.delete(f"/api/integrations/{row['id']}")


async def stored(person: Person, row: dict[str, Any]) -> dict[str, Any]:
    """The row as its owner sees it with curl."""
    async with person.data_api() as curl:
        columns = "status,credentials,credential_version,last_error_code,next_refresh_at,refresh_lease_owner"
        (found,) = (await curl.get(f"/integrations?id=eq.{row['id']}&select={columns}")).json()
    seen: dict[str, Any] = found
    return seen


async def history(person: Person, row: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """What happened to a connection, newest first: event, status and error code."""
    events = (await person.http.get(f"/api/integrations/{row['id']}/events")).json()["events"]
    return [(event["event"], event["status"], event["error_code"]) for event in events]


async def test_a_revoked_token_does_not_work_any_more(integrations: Integrations, ada: Person) -> None:
    row = await connect_demo(ada)
    tokens = await demo_tokens(integrations, ada, row)
    assert await tokens.work() == (200, True, True)

    revoked = await revoke(ada, row)

    assert revoked.status_code == 200, revoked.text
    assert revoked.json()["revocation"] == "revoked"
    shown = revoked.json()["integration"]
    assert (shown["id"], shown["status"], shown["last_error_code"], shown["expires_at"]) == (
        row["id"],
        "revoked",
        None,
        None,
    )
    assert await tokens.work() == (401, False, False)
    left = await stored(ada, row)
    assert (left["credentials"], left["next_refresh_at"], left["refresh_lease_owner"]) == (None, None, None)
    assert (await history(ada, row))[0] == ("credentials.discarded", "revoked", None)
    assert not {tokens.access_token, tokens.refresh_token} & set(revoked.text.split('"'))


async def test_a_revoked_connection_is_connected_again_under_its_id(integrations: Integrations, ada: Person) -> None:
    row = await connect_demo(ada)
    await revoke(ada, row)
    refused = await ada.http.post(f"/api/integrations/{row['id']}/refresh-token")
    assert (refused.status_code, refused.json()["code"]) == (409, "reauthorization_required")
    assert refused.json()["detail"].startswith("This connection was revoked: connect again with POST")

    again = await connect_demo(ada, integration_id=row["id"])

    assert (again["id"], again["status"], again["last_error_code"]) == (row["id"], "active", None)
    assert await (await demo_tokens(integrations, ada, again)).work() == (200, True, True)


async def test_a_deletion_ends_the_tokens_first(integrations: Integrations, ada: Person) -> None:
    row = await connect_demo(ada)
    tokens = await demo_tokens(integrations, ada, row)
    assert (await delete(ada, row)).status_code == 204
    assert await tokens.work() == (401, False, False)
    missing = await delete(ada, row)
    assert (missing.status_code, missing.json()["code"]) == (404, "integration_not_found")
    assert (await history(ada, row))[:2] == [
        ("integration.deleted", "revoked", None),
        ("credentials.discarded", "revoked", None),
    ]


async def test_a_refreshed_token_is_the_one_that_ends(integrations: Integrations, ada: Person) -> None:
    row = await connect_demo(ada)
    old = await demo_tokens(integrations, ada, row)
    await asyncio.sleep(5.1)  # a younger token is not renewed on request
    assert (await ada.http.post(f"/api/integrations/{row['id']}/refresh-token")).status_code == 200
    new = await demo_tokens(integrations, ada, row)
    assert new.refresh_token != old.refresh_token
    assert (await revoke(ada, row)).json()["revocation"] == "revoked"
    assert await new.work() == (401, False, False)


def bearer(asked: Asked) -> str:
    return asked.headers.get("authorization", "")


BASIC = "Basic Y2FuYXJ5LXNjcmlwdGVkX2NsaWVudC1pZDpjYW5hcnktY2xpZW50LXNlY3JldC04YzFm"
FORM = (
    f"token={canaries.REFRESH_TOKEN}&token_type_hint=refresh_token"
    f"&client_id={CLIENT_ID}&client_secret={canaries.CLIENT_SECRET}"
)


@pytest.mark.parametrize("verb", [revoke, delete])
@pytest.mark.parametrize(
    ("service", "method", "authorization", "query", "body"),
    [
        (
            "revoking",
            "POST",
            "",
            {},
            FORM,
        ),
        ("revoking_json", "DELETE", BASIC, {}, f'{{"token":"{canaries.REFRESH_TOKEN}"}}'),
        ("revoking_query", "POST", "", {"token": canaries.REFRESH_TOKEN}, ""),
        ("revoking_account", "POST", f"Client {canaries.CLIENT_SECRET}", {}, "account=account-1"),
        ("granting", "DELETE", f"Bearer {canaries.ACCESS_TOKEN}", {}, ""),
    ],
)
async def test_each_service_is_told_in_its_own_way(
    ada: Person,
    scripted: ScriptedService,
    verb: Any,
    service: str,
    method: str,
    authorization: str,
    query: dict[str, str],
    body: str,
) -> None:
    row = await connect(ada, scripted, service)
    assert (await verb(ada, row)).is_success
    (asked,) = scripted.asked_for("/revoke")
    assert (asked.method, bearer(asked), asked.query, asked.body.decode()) == (method, authorization, query, body)
    assert (await history(ada, row))[0][1:] == ("revoked", None)


@pytest.mark.parametrize(
    ("answer", "code", "retry_after"),
    [
        (Answer(503, b"down", {"retry-after": "7"}), "provider_unavailable", "7"),
        (Answer(429, b"{}"), "provider_unavailable", None),
        (Answer.json({"error": "invalid_client"}, 401), "invalid_client", None),
        (Answer.json({"error": "not_today"}, 400), "revocation_failed", None),
        (Answer(302, b"", {"location": "http://127.0.0.1:1/elsewhere"}), "revocation_failed", None),
    ],
)
async def test_a_refusal_keeps_the_credentials_and_another_attempt_ends_them(
    ada: Person, scripted: ScriptedService, answer: Answer, code: str, retry_after: str | None
) -> None:
    row = await connect(ada, scripted, "revoking")
    before = await stored(ada, row)
    scripted.scripts["/revoke"] = lambda _: answer
    failed = await revoke(ada, row)
    assert (failed.status_code, failed.json()["code"]) == (502, code)
    assert failed.headers.get("retry-after") == retry_after
    after = await stored(ada, row)
    assert after == before | {"last_error_code": "revocation_failed"}
    scripted.scripts["/revoke"] = lambda _: Answer.json({"error": "invalid_token"}, 400)
    again = await revoke(ada, row)
    assert (again.status_code, again.json()["revocation"]) == (200, "revoked")
    assert again.json()["integration"]["last_error_code"] is None


async def test_a_deletion_does_not_depend_on_the_service(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking")
    scripted.scripts["/revoke"] = lambda _: Answer(503, b"down")
    assert (await delete(ada, row)).status_code == 204
    assert (await history(ada, row))[:2] == [
        ("integration.deleted", "revoked", "revocation_failed"),
        ("credentials.discarded", "revoked", "revocation_failed"),
    ]


async def test_a_slow_service_is_waited_for_for_ten_seconds(
    ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    kept, deleted = await connect(ada, scripted, "revoking"), await connect(mallory, scripted, "revoking")
    scripted.scripts["/revoke"] = lambda _: Answer(200, b"", delay=40)
    started = time.monotonic()
    failed, done = await asyncio.gather(revoke(ada, kept), delete(mallory, deleted))
    assert 9 < time.monotonic() - started < 25
    assert (failed.status_code, failed.json()["code"]) == (502, "provider_unavailable")
    assert done.status_code == 204
    left = await stored(ada, kept)
    assert (left["status"], left["last_error_code"], left["refresh_lease_owner"]) == (
        "active",
        "revocation_failed",
        None,
    )
    assert (await history(mallory, deleted))[0] == ("integration.deleted", "revoked", "revocation_failed")


@pytest.mark.parametrize("verb", [revoke, delete])
async def test_a_refresh_under_way_is_waited_for_and_its_token_ended(
    ada: Person, scripted: ScriptedService, verb: Any
) -> None:
    row = await connect(ada, scripted, "revoking", wait=True)
    newer = {"access_token": "canary-newer", "refresh_token": "canary-newer-refresh", "expires_in": 3600}
    asked = threading.Event()

    def slowly(_: Asked) -> Answer:
        asked.set()
        return Answer.json(newer, delay=2)

    scripted.scripts["/token"] = slowly
    refreshing = asyncio.create_task(ada.http.post(f"/api/integrations/{row['id']}/refresh-token"))
    assert await asyncio.to_thread(asked.wait, 10)
    assert (await verb(ada, row)).is_success
    assert (await refreshing).status_code == 200
    assert [told.form["token"] for told in scripted.asked_for("/revoke")] == ["canary-newer-refresh"]


async def test_two_at_once_tell_the_service_once(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking")
    scripted.scripts["/revoke"] = lambda _: Answer(200, b"", delay=0.5)
    replies = await asyncio.gather(*(revoke(ada, row) for _ in range(5)))
    assert [(reply.status_code, reply.json()["revocation"]) for reply in replies] == [(200, "revoked")] * 5
    assert len(scripted.asked_for("/revoke")) == 1


async def test_two_deletions_at_once_tell_the_service_once(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking")
    scripted.scripts["/revoke"] = lambda _: Answer(200, b"", delay=0.5)
    replies = await asyncio.gather(*(delete(ada, row) for _ in range(3)))
    assert sorted(reply.status_code for reply in replies) == [204, 404, 404]
    assert len(scripted.asked_for("/revoke")) == 1


async def test_an_expired_access_token_is_renewed_to_end_the_grant(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "granting", wait=True)
    scripted.scripts["/token"] = lambda _: Answer.json({"access_token": "canary-newer", "expires_in": 3600})
    assert (await revoke(ada, row)).json()["revocation"] == "revoked"
    assert [bearer(asked) for asked in scripted.asked_for("/revoke")] == ["Bearer canary-newer"]


async def test_a_grant_is_spared_while_another_connection_lives_on_it(ada: Person, scripted: ScriptedService) -> None:
    first = await connect(ada, scripted, "granting")
    second = await connect(ada, scripted, "granting_files")
    skipped = await revoke(ada, first)
    assert skipped.json()["revocation"] == "revocation_skipped_shared_grant"
    assert skipped.json()["integration"]["last_error_code"] == "revocation_skipped_shared_grant"
    assert (await stored(ada, first))["credentials"] is None
    assert scripted.asked_for("/revoke") == []
    assert (await delete(ada, second)).status_code == 204
    assert len(scripted.asked_for("/revoke")) == 1


async def test_another_users_connection_to_the_account_is_not_seen(
    ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    """Whoever could see it could ask about any account, for users choose the account's id with curl."""
    row = await connect(ada, scripted, "granting")
    await connect(mallory, scripted, "granting_files")
    assert (await revoke(ada, row)).json()["revocation"] == "revoked"


async def test_a_key_is_forgotten_here_and_a_new_one_revives_the_connection(ada: Person) -> None:
    row = await ada.connect_with_key()
    revoked = await revoke(ada, row)
    assert (revoked.status_code, revoked.json()["revocation"]) == (200, "revocation_unsupported")
    assert (await stored(ada, row))["credentials"] is None
    path = f"/api/integrations/{row['id']}"
    assert (await ada.http.patch(path, json={"status": "active"})).json()["code"] == "not_resumable"
    revived = await ada.http.patch(path, json={"credentials": {"api_key": canaries.API_KEY}})
    assert (revived.json()["status"], revived.json()["last_error_code"]) == ("active", None)


@pytest.mark.parametrize("verb", [revoke, delete])
async def test_a_strangers_attempt_reaches_neither_row_nor_service(
    ada: Person, mallory: Person, scripted: ScriptedService, verb: Any
) -> None:
    row = await connect(ada, scripted, "revoking")
    before = await stored(ada, row)
    assert (await verb(mallory, row)).status_code == 404
    assert scripted.asked == []
    assert await stored(ada, row) == before


async def test_an_account_named_with_curl_is_not_disconnected(
    ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    """At a service that is told an account, not a token: an account counts only with credentials that open."""
    own = await connect(mallory, scripted, "revoking_account")
    async with mallory.data_api() as curl:
        envelope: dict[str, str]
        (envelope,) = (await curl.get(f"/integrations?id=eq.{own['id']}&select=credentials")).json()
        for number, credentials in enumerate((dict[str, str](), envelope)):
            made = {
                "id": str(uuid4()),
                "service_name": "revoking_account",
                "service_type": "marketing",
                "external_account_id": f"account-of-ada-{number}",
            }
            inserted = await curl.post("/integrations", json=made | credentials)
            assert inserted.is_success, inserted.text
            await revoke(mallory, made)
            await delete(mallory, made)
    assert scripted.asked_for("/revoke") == []


async def test_an_old_envelope_put_back_ends_nothing_and_can_be_deleted(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking", wait=True)
    async with ada.data_api() as curl:
        path = f"/integrations?id=eq.{row['id']}"
        (old,) = (await curl.get(f"{path}&select=credentials")).json()
        assert (await ada.http.post(f"/api/integrations/{row['id']}/refresh-token")).status_code == 200
        assert (await curl.patch(path, json={"refresh_lease_owner": str(uuid4())})).is_success
        assert (await curl.patch(path, json={**old, "refresh_lease_owner": None})).is_success
    before = await stored(ada, row)
    refused = await revoke(ada, row)
    assert (refused.status_code, refused.json()["code"]) == (503, "wrong_credential_version")
    assert await stored(ada, row) == before
    assert (await delete(ada, row)).status_code == 204
    assert (await history(ada, row))[0] == ("integration.deleted", "revoked", "revocation_failed")
    assert scripted.asked_for("/revoke") == []


async def test_an_address_that_must_not_be_called_gets_no_token(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking_inward")
    refused = await revoke(ada, row)
    assert (refused.status_code, refused.json()["code"]) == (502, "forbidden_address")
    assert (await delete(ada, row)).status_code == 204


async def test_a_paused_connection_can_be_ended(ada: Person, scripted: ScriptedService) -> None:
    row = await connect(ada, scripted, "revoking")
    await ada.http.patch(f"/api/integrations/{row['id']}", json={"status": "inactive"})
    assert (await revoke(ada, row)).json()["revocation"] == "revoked"
    assert len(scripted.asked_for("/revoke")) == 1
