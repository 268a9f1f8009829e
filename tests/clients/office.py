"""One user's connections to the fake, called through everything that real calls go through; only the database is in
memory.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from supabase_integrations.calling import open_calling
from supabase_integrations.configuration import load_clients
from supabase_integrations.core.account import Account
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import Caller, Integration, IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.refreshing import open_refreshing
from supabase_integrations.resources import catalogue_file
from supabase_integrations.use_cases.connections import Connection, Connections
from supabase_integrations.use_cases.integration_client import IntegrationClient
from supabase_integrations.use_cases.open_connections import Door
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from supabase_integrations.use_cases.service_calls import ServiceCalls
from tests.clients.fake_service import FakeService
from tests.unit.fakes import FakeClock, FakeDatabase

FIRST_TOKEN = "canary-first"
SHOP = "acme.myshopify.com"
ENVIRONMENT = {
    name: f"canary-{name.lower()}"
    for service in ("META_APP", "GOOGLE_CLIENT", "HUBSPOT_CLIENT")
    for name in (f"{service}_ID", f"{service}_SECRET")
} | {"SHOPIFY_API_KEY": "canary-key", "SHOPIFY_API_SECRET": "canary-secret"}


class RunningClock(FakeClock):
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Office:
    """Where a test connects and calls."""

    catalogue: Catalogue
    database: FakeDatabase
    calls: ServiceCalls
    connections: Connections
    caller: Caller

    @property
    def limiter(self) -> RateLimiter:
        """The one that all calls go through."""
        return self.calls.limiter

    def row(self, integration_id: UUID) -> Integration:
        """A connection as it is now."""
        return self.database.rows[self.caller.user_id, integration_id].integration

    @asynccontextmanager
    async def client(self, service_name: str) -> AsyncIterator[IntegrationClient]:
        """A client of a new connection."""
        service, now = self.catalogue.get(service_name), datetime.now(UTC)
        credentials = OAuthCredentials(
            SecretStr(FIRST_TOKEN),
            issued_at=now - timedelta(days=2),
            refresh_token=None if service.refresh_grant else SecretStr("canary-refresh-1"),
            expires_at=now + (timedelta(days=58) if service.refresh_grant else timedelta(hours=1)),
        )
        tenant = SHOP if service.tenant_param else ""
        store = self.database.as_user(self.caller)
        payload = CredentialPayload(service_name, tenant, credentials)
        connection = Connection(service, Account(tenant or "account-1", "Acme"), payload)
        row = await self.connections.insert(store, self.caller.user_id, connection)
        async with IntegrationClient(Door(store, IntegrationRef(self.caller.user_id, row.id)), self.calls) as api:
            yield api


@asynccontextmanager
async def open_office(fake: FakeService, state_dir: Path, *further: str, **settings: str) -> AsyncIterator[Office]:
    """Open everything against the fake. `further` are catalogue files, `settings` an operator's."""
    environment = {**ENVIRONMENT, "FAKE_URL": fake.url, **settings}
    files = (catalogue_file().read_text(), Path(__file__).with_name("services.toml").read_text(), *further)
    texts = {f"{number}.toml": text for number, text in enumerate(files)}
    catalogue = Catalogue.from_files(texts, environment.get, development=True)
    clients = load_clients(catalogue, environment)
    async with (
        open_refreshing(
            catalogue, clients, Encryption(Keyring.from_hex("ab" * 32)), state_dir=state_dir, is_development=True
        ) as refreshing,
        open_calling(
            catalogue,
            clients,
            refreshing.refresher,
            refreshing.clock,
            rate_limit_url=None,
            is_development=True,
        ) as calls,
    ):
        caller = Caller(uuid4(), SecretStr("canary-jwt"), datetime.now(UTC) + timedelta(hours=1), "session")
        yield Office(catalogue, FakeDatabase(RunningClock()), calls, Connections(refreshing.vault), caller)


def numbered(count: int, first: int = 1) -> Iterator[dict[str, str]]:
    """So many records with ids."""
    return ({"id": str(number)} for number in range(first, first + count))
