"""What a signed-out user's token still opens under each SESSION_CHECK, and what is served while Auth is not there."""

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import httpx
import pytest

from supabase_integrations.core.session_check import SessionCheck
from tests import canaries
from tests.api.serve import serving, settings_for, wait_for
from tests.consent import query_of
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import ScriptedService

CALLBACK: Final = "/api/integrations/oauth/callback"
PASSED_ON: Final = ("apikey", "authorization", "content-type", "accept", "prefer", "range", "range-unit")


@dataclass(frozen=True, slots=True)
class Belongings:
    """What the user had before the session ended: two connections and two authorizations that were started."""

    keyed: str
    scripted: str
    states: tuple[str, str]
    cookie: str
    """Binds the second authorization to the browser."""


Attempt = Callable[[httpx.AsyncClient, Belongings], Awaitable[httpx.Response]]

INSENSITIVE: Final[Mapping[str, Attempt]] = {
    "list": lambda api, _: api.get("/api/integrations"),
    "read": lambda api, own: api.get(f"/api/integrations/{own.keyed}"),
    "events": lambda api, own: api.get(f"/api/integrations/{own.keyed}/events"),
    "pause": lambda api, own: api.patch(f"/api/integrations/{own.keyed}", json={"status": "inactive"}),
}
SENSITIVE: Final[Mapping[str, Attempt]] = {
    "create": lambda api, _: api.post(
        "/api/integrations",
        json={
            "service_name": "walled",
            "credentials": {"username": "ada", "password": canaries.PASSWORD},
            "config": {"host": "acme.walled.example"},
        },
    ),
    "replace": lambda api, own: api.patch(
        f"/api/integrations/{own.keyed}", json={"credentials": {"api_key": canaries.API_KEY}}
    ),
    "initiate": lambda api, _: api.post("/api/integrations/oauth/initiate", json={"service_name": "scripted"}),
    "refresh": lambda api, own: api.post(f"/api/integrations/{own.scripted}/refresh-token"),
    "call the service": lambda api, own: api.get(f"/api/integrations/{own.scripted}/proxy/me"),
    "finish in the app": lambda api, own: api.post(
        CALLBACK, json={"params": {"code": canaries.CODE, "state": own.states[0]}}
    ),
    "revoke": lambda api, own: api.post(f"/api/integrations/{own.keyed}/revoke"),
    "delete": lambda api, own: api.delete(f"/api/integrations/{own.keyed}"),
}
BROWSER: Final[Mapping[str, Attempt]] = {
    "finish in the browser": lambda api, own: api.get(
        CALLBACK,
        params={"code": canaries.CODE, "state": own.states[1]},
        headers={"cookie": own.cookie, "accept": "application/json"},
    ),
}
"""Refuses nobody: where the session cannot be relied on, the app has to finish, with a token that can."""
ATTEMPTS: Final = {**INSENSITIVE, **BROWSER, **SENSITIVE}


@pytest.fixture(scope="module")
def apis(local_system: LocalSystem, local_environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The URL of one process for each setting, and of one that reaches the Data API but not Auth."""
    with ExitStack() as stack:
        without_auth = stack.enter_context(_supabase_without_auth(local_system.supabase_url))
        changes = {mode.value: {"SESSION_CHECK": mode.value} for mode in SessionCheck}
        changes["without_auth"] = {"SUPABASE_URL": without_auth}
        urls = {
            name: stack.enter_context(
                serving(local_system, f"session-{name}", settings_for(local_system, local_environment, **changes[name]))
            )
            for name in changes
        }
        for url in urls.values():
            wait_for(url)
        yield urls


@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        (SessionCheck.OFF, set()),
        (SessionCheck.SENSITIVE, set(SENSITIVE)),
        (SessionCheck.ALWAYS, {*INSENSITIVE, *SENSITIVE}),
    ],
)
async def test_a_signed_out_users_token_is_refused_where_the_setting_says(
    apis: Mapping[str, str], ada: Person, scripted: ScriptedService, mode: SessionCheck, refused: set[str]
) -> None:
    own = await _belongings(ada, scripted)
    await _sign_out(ada)
    replies = await _attempt_everything(apis[mode.value], ada, own)
    outcomes = {name: _outcome(reply) for name, reply in replies.items()}
    assert outcomes == _expected(refused, (401, "session_ended"))
    assert bool(scripted.asked_for("/token")) is (mode is SessionCheck.OFF), "the service was asked for a token"


async def test_while_auth_cannot_be_asked_only_what_needs_its_word_is_refused(
    apis: Mapping[str, str], ada: Person, scripted: ScriptedService
) -> None:
    own = await _belongings(ada, scripted)
    replies = await _attempt_everything(apis["without_auth"], ada, own)
    outcomes = {name: _outcome(reply) for name, reply in replies.items()}
    assert outcomes == _expected(set(SENSITIVE), (503, "auth_unavailable"))
    assert scripted.asked_for("/token") == []


def _expected(refused: set[str], refusal: tuple[int, str]) -> dict[str, object]:
    expected: dict[str, object] = {name: refusal if name in refused else "served" for name in ATTEMPTS}
    return expected | dict.fromkeys(BROWSER, "handed on" if refused else "served")


def _outcome(reply: httpx.Response) -> object:
    if not reply.is_success:
        return reply.status_code, reply.json()["code"]
    return "handed on" if "integration_handle" in reply.text else "served"


async def _attempt_everything(url: str, person: Person, own: Belongings) -> dict[str, httpx.Response]:
    bearer = {"authorization": f"Bearer {person.access_token}"}
    async with httpx.AsyncClient(base_url=url, headers=bearer, timeout=30, trust_env=False) as api:
        return {name: await attempt(api, own) for name, attempt in ATTEMPTS.items()}


async def _belongings(person: Person, scripted: ScriptedService) -> Belongings:
    keyed = await person.connect_with_key()
    started = [await person.initiate("scripted") for _ in range(3)]
    done, *states = (query_of(reply.json()["auth_url"])["state"] for reply in started)
    finished = await person.finish(params={"code": canaries.CODE, "state": done})
    assert finished.status_code == 200, finished.text
    scripted.asked.clear()
    cookie = started[2].headers["set-cookie"].partition(";")[0]
    return Belongings(keyed["id"], finished.json()["integration_id"], (states[0], states[1]), cookie)


async def _sign_out(person: Person) -> None:
    headers = {"apikey": person.system.publishable_key, "authorization": f"Bearer {person.access_token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        reply = await http.post(f"{person.system.supabase_url}/auth/v1/logout", headers=headers)
    assert reply.status_code == 204


@contextmanager
def _supabase_without_auth(supabase_url: str) -> Iterator[str]:
    """The project as it looks when Auth is down: its connections are dropped, all others pass."""

    class Gateway(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            if self.path.startswith("/auth/"):
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name in PASSED_ON if (value := self.headers.get(name))}
            reply = http.request(self.command, f"{supabase_url}{self.path}", headers=headers, content=body)
            self.send_response(reply.status_code)
            self.send_header("content-type", reply.headers.get("content-type", "application/json"))
            self.send_header("content-length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_POST = do_PATCH = do_DELETE = pass_on  # noqa: N815 - the standard library's names

        def log_request(self, *_: object) -> None:
            """Say nothing."""

    with httpx.Client(trust_env=False, timeout=60) as http, ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
