"""One system for each unit test, with a clock that can be moved and a database in memory."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import settings

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import Caller
from supabase_integrations.core.oauth_messages import OAuthClient
from supabase_integrations.core.proxy_rules import ProxyRules
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.session_check import SessionCheck
from supabase_integrations.resources import catalogue_file
from supabase_integrations.use_cases.accounts import Accounts
from supabase_integrations.use_cases.browser_callback import BrowserCallback
from supabase_integrations.use_cases.connections import Connections
from supabase_integrations.use_cases.credential_vault import CredentialVault
from supabase_integrations.use_cases.oauth_manager import OAuthManager, OAuthSettings
from supabase_integrations.use_cases.open_connections import OpenConnections
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from supabase_integrations.use_cases.refresher import Refresher
from supabase_integrations.use_cases.revoker import Revoker
from supabase_integrations.use_cases.service_calls import ServiceCalls
from supabase_integrations.use_cases.service_proxy import ProxyLimits, ServiceProxy
from supabase_integrations.use_cases.user_integrations import Engine, SessionPolicy, UserIntegrations
from tests.unit.fakes import (
    START,
    FakeClock,
    FakeDatabase,
    FakeJournal,
    FakeRefreshLog,
    FakeService,
    FakeSessions,
    json_reply,
)
from tests.unit.service_fakes import FakeCallLog, FakeServiceHttp

KEY = "ab" * 32
REDIRECT_URI = "https://api.example/api/integrations/oauth/callback"
APP_PAGE = "https://app.example/integrations"

EXTRA_SERVICES = """
[service.keyed]
display_name = "Keyed"
service_type = "content"
auth = "api_key"

[service.basic]
display_name = "Basic"
service_type = "content"
auth = "basic"
tenant_param = "host"
tenant_pattern = "^[a-z]+\\\\.example$"
api_base_url = "https://{host}/api"

[service.tenanted]
display_name = "Tenanted"
service_type = "crm"
tenant_param = "shop"
tenant_pattern = "^[a-z]+\\\\.tenants\\\\.example$"
authorization_endpoint = "https://{shop}/authorize"
token_endpoint = "https://{shop}/token"
api_base_url = "https://{shop}"
account_id_from = { source = "request", request = "GET /me", field = "id" }

[service.plain]
display_name = "Plain"
service_type = "analytics"
authorization_endpoint = "https://plain.example/authorize"
token_endpoint = "https://plain.example/token"
"""

# A run fails because of a change and never by chance, so it tries the same examples every time; none is timed, because
# the machine may be busy. HYPOTHESIS_PROFILE=search looks for new examples, and for more of them.
settings.register_profile("same", max_examples=200, derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def load(*extra: str) -> Catalogue:
    """The project's own catalogue with further services."""
    texts = {"services.toml": catalogue_file().read_text()}
    texts |= {f"extra{number}.toml": text for number, text in enumerate(extra)}
    return Catalogue.from_files(texts, lambda _: None, development=True)


def token_reply(**changes: object) -> Mapping[str, object]:
    """A token endpoint's usual answer."""
    return {
        "access_token": "canary-access-1",
        "refresh_token": "canary-refresh-1",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "openid contacts:read",
    } | changes


@dataclass
class World:
    """Everything a test may look at or move."""

    clock: FakeClock = field(default_factory=FakeClock)
    encryption: Encryption = field(default_factory=lambda: Encryption(Keyring.from_hex(KEY)))
    service: FakeService = field(
        default_factory=lambda: FakeService(
            {
                "http://127.0.0.1:9400/token": lambda _: json_reply(token_reply()),
                "http://127.0.0.1:9400/me": lambda _: json_reply({"sub": "ada", "name": "Ada"}),
            }
        )
    )
    sessions: FakeSessions = field(default_factory=FakeSessions)
    session_mode: SessionCheck = SessionCheck.SENSITIVE
    services: str = EXTRA_SERVICES
    proxy_allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.database = FakeDatabase(self.clock)
        self.catalogue = load(self.services)
        registered: dict[str, OAuthClient] = {}
        self.clients = {
            service.name: registered.setdefault(
                service.client_id_name, OAuthClient(f"{service.name}-id", SecretStr(f"canary-{service.name}-secret"))
            )
            for service in self.catalogue
        }
        self.vault = CredentialVault(self.encryption, self.clock)
        self.callers: dict[str, Caller] = {}
        self.journal, self.log = FakeJournal(), FakeRefreshLog()
        self.refresher = self.another_process()
        self.revoker = Revoker(
            self.catalogue,
            self.clients,
            self.vault,
            self.service,
            self.clock,
            journal=self.journal,
            refresher=self.refresher,
            patience=timedelta(seconds=10),
        )
        self.api, self.call_log = FakeServiceHttp(), FakeCallLog()
        self.calls = ServiceCalls(
            OpenConnections(self.refresher, self.clients.get, self.clock),
            RateLimiter(self.catalogue),
            self.api,
            self.call_log,
            self.clock,
        )
        self.oauth = OAuthManager(
            OAuthSettings(REDIRECT_URI, (APP_PAGE,), self.clients),
            self.catalogue,
            self.encryption,
            self.service,
            Connections(self.vault),
            self.clock,
            refresher=self.refresher,
            revoker=self.revoker,
        )

    def another_process(self) -> Refresher:
        """A refresher that shares nothing with others but the database and the journal."""
        return Refresher(
            self.catalogue,
            self.clients,
            self.vault,
            self.service,
            self.clock,
            journal=self.journal,
            log=self.log,
            random=Random(1),
        )

    def caller(self, user_id: UUID | None = None) -> Caller:
        """A signed-in user."""
        identifier = user_id or uuid4()
        token = SecretStr(f"canary-jwt-{identifier}")
        caller = Caller(identifier, token, START + timedelta(hours=1), "session")
        self.callers[token.get_secret_value()] = caller
        return caller

    def user(self, caller: Caller) -> UserIntegrations:
        """That user's integrations."""
        engine = Engine(
            catalogue=self.catalogue,
            clients=self.clients,
            oauth=self.oauth,
            accounts=Accounts(self.service, self.clock),
            vault=self.vault,
            connections=Connections(self.vault),
            refresher=self.refresher,
            revoker=self.revoker,
            sessions=SessionPolicy(self.session_mode, self.sessions),
            calls=self.calls,
            proxy=ServiceProxy(
                self.calls,
                ProxyRules.of(self.catalogue, self.proxy_allow),
                ProxyLimits(1_000, 10_000),
                self.catalogue,
            ),
        )
        return UserIntegrations(caller, self.database.as_user(caller), engine)

    async def open_for(self, access_token: str) -> UserIntegrations:
        """As the edge does it: whoever this token was issued to."""
        return self.user(self.callers[access_token])

    @property
    def browser(self) -> BrowserCallback:
        """The callback as a browser brings it."""
        return BrowserCallback(self.encryption, (APP_PAGE,), self.clock, self.open_for)


@pytest.fixture
def world() -> World:
    """A system of its own for each test."""
    return World()
