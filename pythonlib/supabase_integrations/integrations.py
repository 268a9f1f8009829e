"""The system, opened: connections to Supabase and to the services, and what every caller's use of them shares.

async with open_integrations(Configuration.from_environment(os.environ)) as integrations:
    user = await integrations.for_client(supabase_client)
    page = await user.list(ListQuery())
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .adapters.auth_sessions import AuthSessions
from .adapters.clock import SystemClock
from .adapters.http_pool import open_http_pool
from .adapters.supabase_client import SignedInClient, access_token_of
from .adapters.supabase_health import SupabaseHealth
from .adapters.token_verifier import SupabaseTokenVerifier
from .adapters.user_store import PostgrestUserStores
from .calling import open_calling
from .configuration import Configuration
from .core.encryption import Encryption
from .core.proxy_rules import ProxyRules
from .core.readiness import CheckResult
from .port import TokenVerifier, UserStores
from .refreshing import open_refreshing
from .settings import Settings
from .use_cases.accounts import Accounts
from .use_cases.browser_callback import BrowserCallback
from .use_cases.connections import Connections
from .use_cases.journal_replay import as_user
from .use_cases.oauth_manager import OAuthManager, OAuthSettings
from .use_cases.revoker import Revoker
from .use_cases.service_proxy import ProxyLimits, ServiceProxy
from .use_cases.user_integrations import Engine, SessionPolicy, UserIntegrations


@dataclass(frozen=True, slots=True)
class Integrations:
    """One process's system. It holds no user's identity: ask it for one caller's integrations."""

    settings: Settings
    encryption: Encryption
    engine: Engine
    verifier: TokenVerifier
    stores: UserStores
    health: SupabaseHealth

    async def for_token(self, access_token: str) -> UserIntegrations:
        """The integrations of the user a Supabase access token was issued to.

        Raises UnauthenticatedError, ForbiddenError, AuthUnavailableError.
        """
        caller = await self.verifier.verify(access_token)
        return UserIntegrations(caller, self.stores.for_caller(caller), self.engine)

    async def for_client(self, supabase_client: SignedInClient) -> UserIntegrations:
        """The integrations of the user a supabase-py client (`AsyncClient`) is signed in as. Raises as `for_token`."""
        return await self.for_token(await access_token_of(supabase_client))

    async def readiness(self) -> tuple[CheckResult, ...]:
        """Whether the database and Supabase Auth can be worked with."""
        return await self.health.check()

    @property
    def browser_callback(self) -> BrowserCallback:
        """What a browser's arrival at the redirect URI leads to."""
        return BrowserCallback(self.encryption, self.settings.allowed_redirect_urls, SystemClock(), self.for_token)


@asynccontextmanager
async def open_integrations(configuration: Configuration) -> AsyncIterator[Integrations]:
    """Open the system for as long as the block lasts."""
    settings, catalogue, clients = configuration.settings, configuration.catalogue, configuration.clients
    encryption = Encryption(settings.keyring())
    async with (
        open_http_pool() as supabase_http,
        open_refreshing(
            catalogue, clients, encryption, state_dir=settings.state_dir, is_development=settings.is_development
        ) as refreshing,
        open_calling(
            catalogue,
            clients,
            refreshing.refresher,
            refreshing.clock,
            rate_limit_url=settings.rate_limit_url,
            is_development=settings.is_development,
        ) as calls,
    ):
        project = (supabase_http, settings.supabase_url, settings.publishable_key)
        sessions = AuthSessions(*project)
        vault, provider_http, clock = refreshing.vault, refreshing.http, refreshing.clock
        connections = Connections(vault)
        oauth_settings = OAuthSettings(settings.redirect_uri, settings.allowed_redirect_urls, clients)
        refresher = refreshing.refresher
        revoker = Revoker(
            catalogue, clients, vault, provider_http, clock, journal=refreshing.journal, refresher=refresher
        )
        oauth = OAuthManager(
            oauth_settings,
            catalogue,
            encryption,
            provider_http,
            connections,
            clock,
            refresher=refresher,
            revoker=revoker,
        )
        engine = Engine(
            catalogue=catalogue,
            clients=clients,
            oauth=oauth,
            accounts=Accounts(provider_http, clock),
            vault=vault,
            connections=connections,
            refresher=refresher,
            revoker=revoker,
            sessions=SessionPolicy(settings.session_check, sessions),
            calls=calls,
            proxy=ServiceProxy(
                calls,
                ProxyRules.of(catalogue, settings.proxy_allow),
                ProxyLimits(settings.proxy_max_request_bytes, settings.proxy_max_reply_bytes),
                catalogue,
            ),
        )
        stores = PostgrestUserStores(*project)
        system = Integrations(
            settings=settings,
            encryption=encryption,
            engine=engine,
            verifier=SupabaseTokenVerifier(
                *project,
                allow_anonymous_users=settings.allow_anonymous_users,
                allowed_oauth_clients=settings.allowed_oauth_clients,
                development_secret=settings.jwt_secret,
                hs256_needs_issuer=not settings.is_development,
            ),
            stores=stores,
            health=SupabaseHealth(*project, shares_jwt_secret=settings.jwt_secret is not None),
        )
        async with refreshing.replaying(as_user(stores, clock)):
            yield system
