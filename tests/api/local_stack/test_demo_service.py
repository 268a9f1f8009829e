"""The demo service behaves as the big ones do: PKCE, consent, rotation with reuse detection, revocation, an API."""

import asyncio
import base64
import hashlib
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.demo import DemoService
from supabase_integrations.local.processes import Processes
from supabase_integrations.local.state import StateDirectory
from tests.local_system import free_ports

REDIRECT_URI = "http://127.0.0.1:8000/api/integrations/oauth/callback"
SCOPE = "openid offline_access contacts:read"
CLIENT = ("demo-canary", "canary-client-secret")
BRIEF_CLIENT = ("brief-canary", "canary-client-secret")


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """The service, and what it takes to kill and start it again."""

    service: DemoService
    processes: Processes

    @property
    def url(self) -> str:
        return self.service.url

    async def kill_and_start_again(self) -> None:
        os.kill(self.processes.pids["demo_crm"], signal.SIGKILL)
        await self.processes.stop_all()
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            await self.service.start(self.processes, http)

    async def token(self, client: tuple[str, str] = CLIENT, **form: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            return await http.post(f"{self.url}/token", data=form, auth=client)

    async def get(self, path: str, access_token: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            return await http.get(self.url + path, headers={"Authorization": f"Bearer {access_token}"})


@pytest.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningDemo]:
    """A service of this file's own, with a second client whose access tokens live for a second."""
    state = StateDirectory(tmp_path_factory.mktemp("demo"))
    brief = {
        "client_id": BRIEF_CLIENT[0],
        "client_secret": BRIEF_CLIENT[1],
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "access_token_seconds": 1,
    }
    service = DemoService(
        port=free_ports(1)[0],
        client_id=SecretStr(CLIENT[0]),
        client_secret=SecretStr(CLIENT[1]),
        redirect_uri=REDIRECT_URI,
        store=state.demo_store,
        more_clients=[brief],
    )
    running = RunningDemo(service, Processes(state))
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        await service.start(running.processes, http)
    yield running
    await running.processes.stop_all()


class Person:
    """A browser with a person in front of it."""

    def __init__(self, demo: RunningDemo) -> None:
        self._demo = demo
        self.http = httpx.AsyncClient(trust_env=False, timeout=60, base_url=demo.url)
        self.seen: list[str] = []
        self.verifier = secrets.token_urlsafe(32)

    async def authorize(
        self, name: str, *, allow: bool = True, client: tuple[str, str] = CLIENT, **parameters: str
    ) -> dict[str, str]:
        """Pass the pages that are shown and return the query of the redirect back to the client."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": client[0],
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "state": "canary-state",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **parameters,
        }
        reply = await self.http.get("/auth", params=query)
        while not reply.headers.get("location", "").startswith(REDIRECT_URI):
            if reply.is_redirect:
                reply = await self.http.get(reply.headers["location"])
            else:
                reply = await self._answer(reply.text, name, allow=allow)
        return dict(httpx.URL(reply.headers["location"]).params)

    async def connect(self, name: str, *, client: tuple[str, str] = CLIENT) -> dict[str, Any]:
        """Authorize, and exchange the code as the client would."""
        back = await self.authorize(name, client=client)
        reply = await self._demo.token(
            client,
            grant_type="authorization_code",
            code=back["code"],
            redirect_uri=REDIRECT_URI,
            code_verifier=self.verifier,
        )
        assert reply.status_code == 200, reply.text
        tokens: dict[str, Any] = reply.json()
        return tokens

    async def _answer(self, page: str, name: str, *, allow: bool) -> httpx.Response:
        self.seen.append(_first(r"<h1>(.*?)</h1>", page))
        action = _first(r'action="([^"]+)"', page)
        if action.endswith("/login"):
            return await self.http.post(action, data={"login": name})
        return await self.http.post(action if allow else action.replace("/allow", "/cancel"))


def _first(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found, page
    return unescape(found[1])


@pytest.fixture
async def person(demo: RunningDemo) -> AsyncIterator[Person]:
    """Somebody with a fresh browser."""
    person = Person(demo)
    yield person
    await person.http.aclose()


async def test_the_client_learns_who_it_is_after_sign_in_and_consent(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada")

    assert person.seen == ["Sign in to Demo CRM", "Connect Your app?"]
    assert (await demo.get("/me", tokens["access_token"])).json() == {"sub": "ada", "name": "ada"}
    assert tokens["refresh_token"]


async def test_the_redirect_back_names_the_issuer(demo: RunningDemo, person: Person) -> None:
    back = await person.authorize("ada")

    assert back["iss"] == demo.url
    assert back["state"] == "canary-state"


async def test_consent_is_asked_every_time_and_another_account_can_be_chosen(demo: RunningDemo, person: Person) -> None:
    await person.connect("ada")

    await person.authorize("ada")
    await person.authorize("grace", prompt="login")
    tokens = await person.connect("nobody asks for a name again")

    assert person.seen[2:] == ["Connect Your app?", "Sign in to Demo CRM", "Connect Your app?", "Connect Your app?"]
    assert (await demo.get("/me", tokens["access_token"])).json()["sub"] == "grace"


async def test_who_cancels_sends_the_client_an_error(demo: RunningDemo, person: Person) -> None:
    back = await person.authorize("ada", allow=False)

    assert back["error"] == "access_denied"
    assert "code" not in back


@pytest.mark.parametrize("name", ["", "x" * 65, "<script>", "two words"])
async def test_a_name_that_is_none_is_asked_for_again(demo: RunningDemo, name: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60, base_url=demo.url, follow_redirects=True) as http:
        query = {"client_id": CLIENT[0], "response_type": "code", "redirect_uri": REDIRECT_URI, "scope": SCOPE}
        page = await http.get("/auth", params=query | {"code_challenge": "c" * 43, "code_challenge_method": "S256"})
        again = await http.post(_first(r'action="([^"]+)"', page.text), data={"login": name})

    assert again.status_code == 400
    assert "1 to 64 letters" in again.text
    assert "<script>" not in again.text


async def test_a_code_needs_the_verifier_it_was_asked_for_with(demo: RunningDemo, person: Person) -> None:
    back = await person.authorize("ada")

    reply = await demo.token(
        grant_type="authorization_code", code=back["code"], redirect_uri=REDIRECT_URI, code_verifier="v" * 43
    )

    assert reply.json()["error"] == "invalid_grant"


async def test_an_authorization_without_pkce_is_refused(demo: RunningDemo) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        query = {"client_id": CLIENT[0], "response_type": "code", "redirect_uri": REDIRECT_URI, "scope": SCOPE}
        reply = await http.get(f"{demo.url}/auth", params=query)

    assert "error=invalid_request" in reply.headers["location"]


async def test_an_unregistered_redirect_uri_is_not_followed(demo: RunningDemo) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        query = {"client_id": CLIENT[0], "response_type": "code", "redirect_uri": "https://example.com/"}
        reply = await http.get(f"{demo.url}/auth", params=query)

    assert reply.status_code == 400
    assert "location" not in reply.headers


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_connection(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada")

    fresh = await demo.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    reused = await demo.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    after = await demo.token(grant_type="refresh_token", refresh_token=fresh.json()["refresh_token"])

    assert fresh.status_code == 200
    assert fresh.json()["refresh_token"] != tokens["refresh_token"]
    assert reused.json()["error"] == "invalid_grant"
    assert after.json()["error"] == "invalid_grant"
    assert (await demo.get("/me", fresh.json()["access_token"])).status_code == 401


async def test_a_killed_service_remembers_its_connections(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada")
    fresh = (await demo.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()

    await demo.kill_and_start_again()

    assert (await demo.get("/me", fresh["access_token"])).status_code == 200
    again = await demo.token(grant_type="refresh_token", refresh_token=fresh["refresh_token"])
    assert again.status_code == 200


async def test_a_torn_last_line_of_the_store_is_no_obstacle(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada")
    with demo.service.store.open("a") as store:
        store.write('{"key":"AccessToken:half')

    await demo.kill_and_start_again()

    assert (await demo.get("/me", tokens["access_token"])).status_code == 200


async def test_the_store_is_readable_by_its_owner_only(demo: RunningDemo) -> None:
    assert _mode(demo.service.store) == 0o600


async def test_a_revoked_token_is_dead_and_introspection_says_so(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada")
    async with httpx.AsyncClient(trust_env=False, timeout=60, auth=CLIENT) as http:
        before = await http.post(f"{demo.url}/token/introspection", data={"token": tokens["refresh_token"]})
        await http.post(f"{demo.url}/token/revocation", data={"token": tokens["refresh_token"]})
        after = await http.post(f"{demo.url}/token/introspection", data={"token": tokens["refresh_token"]})

    assert before.json()["active"] is True
    assert after.json() == {"active": False}
    assert (await demo.get("/me", tokens["access_token"])).status_code == 401


async def test_contacts_come_in_pages_to_who_may_read_them(demo: RunningDemo, person: Person) -> None:
    access_token = (await person.connect("ada"))["access_token"]

    first = (await demo.get("/api/contacts?limit=20", access_token)).json()
    last = (await demo.get(f"/api/contacts?limit=20&cursor={first['next_cursor']}", access_token)).json()

    assert len(first["contacts"]) == 20
    assert len(last["contacts"]) == 5
    assert last["next_cursor"] is None
    assert not {contact["id"] for contact in first["contacts"]} & {contact["id"] for contact in last["contacts"]}


async def test_contacts_are_refused_without_a_token_and_without_the_scope(demo: RunningDemo, person: Person) -> None:
    back = await person.authorize("ada", scope="openid")
    reply = await demo.token(
        grant_type="authorization_code",
        code=back["code"],
        redirect_uri=REDIRECT_URI,
        code_verifier=person.verifier,
    )

    assert (await demo.get("/api/contacts", "canary-token")).status_code == 401
    assert (await demo.get("/api/contacts", reply.json()["access_token"])).status_code == 403


async def test_a_client_may_get_access_tokens_that_expire_soon(demo: RunningDemo, person: Person) -> None:
    tokens = await person.connect("ada", client=BRIEF_CLIENT)
    assert tokens["expires_in"] == 1

    await asyncio.sleep(1.1)

    assert (await demo.get("/me", tokens["access_token"])).status_code == 401


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
