"""Connections to be disconnected: services that end tokens in several ways, and users who are connected to them."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from supabase_integrations.core.account import Account
from supabase_integrations.core.credentials import ApiKeyCredentials, CredentialPayload, OAuthCredentials
from supabase_integrations.core.errors import IntegrationBusyError
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.models import Caller, Integration, IntegrationChanges, IntegrationStatus
from supabase_integrations.core.revocation import RevocationOutcome
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.connections import Connection, Connections
from tests.unit.conftest import EXTRA_SERVICES, World, token_reply
from tests.unit.fakes import START, FakeStore, json_reply

REVOKED, FAILED = RevocationOutcome.REVOKED, RevocationOutcome.FAILED
UNSUPPORTED, SHARED = RevocationOutcome.UNSUPPORTED, RevocationOutcome.SKIPPED_SHARED_GRANT

DEMO_REVOCATION = "http://127.0.0.1:9400/token/revocation"
UNINSTALL = "https://granting.example/uninstall"

SERVICES = """
[service.silent]
based_on = "demo_crm"
revocation_endpoint = ""

[service.granting]
display_name = "Granting"
service_type = "crm"
authorization_endpoint = "https://granting.example/authorize"
token_endpoint = "https://granting.example/token"
revocation_endpoint = "https://granting.example/uninstall"
revocation = { method = "DELETE", auth = "access_token", format = "none", ends = "grant" }
refresh = "rotating"
api_base_url = "https://granting.example"
account_id_from = { source = "request", request = "GET /me", field = "id" }
env = ["GRANTING_CLIENT_ID", "GRANTING_CLIENT_SECRET"]

[service.granting_files]
based_on = "granting"

[service.granting_elsewhere]
based_on = "granting"
env = ["OTHER_CLIENT_ID", "OTHER_CLIENT_SECRET"]

[service.same_id_elsewhere]
based_on = "granting"
token_endpoint = "https://elsewhere.example/token"
"""


def disconnecting_world() -> World:
    """The usual system with services that end tokens in several ways, all of them answering well."""
    world = World(services=EXTRA_SERVICES + SERVICES)
    world.service.answers |= {
        DEMO_REVOCATION: lambda _: HttpReply(200),
        UNINSTALL: lambda _: HttpReply(204),
        "https://granting.example/me": lambda _: json_reply({"id": "account-1"}),
        "https://granting.example/token": lambda _: json_reply(token_reply(access_token="canary-access-2")),
    }
    return world


def tokens(**changes: object) -> OAuthCredentials:
    credentials = OAuthCredentials(
        SecretStr("canary-access-1"),
        issued_at=START,
        refresh_token=SecretStr("canary-refresh-1"),
        expires_at=START + timedelta(hours=1),
    )
    return replace(credentials, **changes)  # type: ignore[arg-type]


async def connected(
    world: World, caller: Caller, service: str = "demo_crm", credentials: OAuthCredentials | None = None
) -> Integration:
    return await world.user(caller).create(service, credentials or tokens(), service_type=None, config={})


async def keyed(world: World, caller: Caller) -> Integration:
    key = ApiKeyCredentials(SecretStr("canary-key"))
    return await world.user(caller).create("keyed", key, service_type=None, config={})


async def set_status(world: World, caller: Caller, row: Integration, status: IntegrationStatus) -> None:
    await world.database.as_user(caller).update_integration(row.id, IntegrationChanges(status=status))


def stored(world: World, row: Integration) -> tuple[Integration, str | None]:
    sealed = world.database.rows[row.user_id, row.id]
    return sealed.integration, sealed.envelope


def noted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[IntegrationStatus, str | None]]:
    """Status and error code of each row at the moment of its deletion."""
    found: list[tuple[IntegrationStatus, str | None]] = []
    delete = FakeStore.delete_integration

    async def noting(store: FakeStore, integration_id: object) -> None:
        (row,) = (sealed.integration for key, sealed in world.database.rows.items() if key[1] == integration_id)
        found.append((row.status, row.last_error_code))
        await delete(store, row.id)

    monkeypatch.setattr(FakeStore, "delete_integration", noting)
    return found


async def bare(world: World, caller: Caller, service: str) -> Integration:
    """A row that somebody inserted with curl: it never held credentials."""
    template = await keyed(world, caller)
    row = replace(template, id=uuid4(), service_name=service)
    sealed = world.database.rows[caller.user_id, template.id]
    world.database.rows[caller.user_id, row.id] = replace(sealed, integration=row, envelope=None)
    return row


async def silent(_: HttpRequest) -> HttpReply:
    """A service that takes a request and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def held_for_ever(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(_: FakeStore, __: object, ___: object) -> None:
        raise IntegrationBusyError

    monkeypatch.setattr(FakeStore, "take_lease", busy)


async def shop_of(world: World, caller: Caller, shop: str) -> Integration:
    payload = CredentialPayload("shopify", shop, tokens())
    connection = Connection(world.catalogue.get("shopify"), Account(shop, shop), payload)
    return await Connections(world.vault).insert(world.database.as_user(caller), caller.user_id, connection)
