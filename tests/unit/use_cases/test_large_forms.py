"""Forms and replies whose reading takes long, which must be at nobody else's expense."""

import threading

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials
from supabase_integrations.core.proxy_messages import ProxyHead, passed_form
from supabase_integrations.core.proxy_rules import ProxyRules
from supabase_integrations.core.redaction import Redactor
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service import ServiceDefinition
from supabase_integrations.use_cases import service_proxy
from supabase_integrations.use_cases.open_connections import Door
from supabase_integrations.use_cases.service_proxy import ProxyLimits, ServiceProxy
from tests.unit.conftest import World
from tests.unit.service_fakes import FakeExchange


@pytest.mark.parametrize(("escapes", "elsewhere"), [(10, False), (200_000, True)])
async def test_a_large_form_is_read_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, escapes: int, elsewhere: bool
) -> None:
    read_by: list[threading.Thread] = []

    def noting(service: ServiceDefinition, body: bytes) -> bytes:
        read_by.append(threading.current_thread())
        return passed_form(service, body)

    monkeypatch.setattr(service_proxy, "passed_form", noting)
    world, proxy, door = await opened()
    head = ProxyHead("POST", "/x", "", (("content-type", "application/x-www-form-urlencoded"),), "")
    answer = await proxy.open(door, head, b"a=" + b"%00" * escapes)
    await answer.close()
    assert [thread is not threading.main_thread() for thread in read_by] == [elsewhere]
    assert len(world.api.sent) == 1


async def test_a_reply_of_nothing_but_escapes_is_searched_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes a hundred times as long as any other, and a user may have written it into the service."""
    searched_by: list[threading.Thread] = []
    search = Redactor.search

    def noting(self: Redactor) -> bytes:
        searched_by.append(threading.current_thread())
        return search(self)

    monkeypatch.setattr(Redactor, "search", noting)
    world, proxy, door = await opened()
    escaped = b"%63anary-key"
    world.api.respond = lambda _: FakeExchange(200, (), (b"canary-key ", *[b"%41" * 20_000 + escaped] * 2, b" end"))
    answer = await proxy.open(door, ProxyHead("GET", "/x", "", (), ""), None)
    body = b"".join([chunk async for chunk in answer.chunks()])
    await answer.close()
    assert [thread is not threading.main_thread() for thread in searched_by] == [False, True, True]
    assert body == b"[redacted] " + (b"%41" * 20_000 + b"[redacted]") * 2 + b" end"


async def opened() -> tuple[World, ServiceProxy, Door]:
    """A connection with a key, and a proxy that passes everything on."""
    world = World(
        services='[service.keyed_api]\nauth = "api_key"\ndisplay_name = "K"\nservice_type = "crm"\n'
        'api_base_url = "https://api.example/v1"\n'
    )
    user = world.user(world.caller())
    row = await user.create("keyed_api", ApiKeyCredentials(SecretStr("canary-key")), service_type=None, config={})
    rules = ProxyRules.of(world.catalogue, ["keyed_api POST /**"])
    proxy = ServiceProxy(world.calls, rules, ProxyLimits(10_000_000, 10_000_000), world.catalogue)
    return world, proxy, Door(world.database.as_user(user.caller), row.ref)
