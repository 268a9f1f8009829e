"""Everything one signed-in user can do with their integrations. The endpoints and the library offer exactly this."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from ..core.account import Account
from ..core.callback import CallbackQuery
from ..core.catalogue import Catalogue
from ..core.credentials import ApiKeyCredentials, BasicCredentials, CredentialPayload, Credentials, OAuthCredentials
from ..core.errors import AccountMismatchError, InvalidValueError, NotResumableError, ServiceNotConfiguredError
from ..core.json_types import JsonObject
from ..core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationEvent,
    IntegrationPage,
    IntegrationRef,
    IntegrationStatus,
    ListQuery,
    ServiceType,
)
from ..core.oauth_messages import OAuthClient
from ..core.proxy_messages import ProxyHead
from ..core.revocation import Revocation
from ..core.service import ServiceDefinition
from ..core.service_kinds import AccountSource, AuthKind
from ..core.session_check import SessionCheck
from ..port import SessionChecker, UserStore
from ..port_service_http import RequestBody
from .accounts import Accounts
from .connections import Connection, Connections, with_tenant
from .credential_vault import CredentialVault, tenant_of
from .integration_client import IntegrationClient
from .oauth_manager import Initiation, OAuthManager, StartedAuthorization
from .open_connections import Door
from .refresher import Refresher
from .revoker import Revoker
from .service_calls import ServiceCalls
from .service_proxy import ProxyAnswer, ServiceProxy


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """When it is asked whether a caller's session still exists."""

    mode: SessionCheck
    checker: SessionChecker


@dataclass(frozen=True, slots=True)
class Engine:
    """What every caller's use of the system shares: rules and machinery, nobody's identity."""

    catalogue: Catalogue
    clients: Mapping[str, OAuthClient]
    oauth: OAuthManager
    accounts: Accounts
    vault: CredentialVault
    connections: Connections
    refresher: Refresher
    revoker: Revoker
    sessions: SessionPolicy
    calls: ServiceCalls
    proxy: ServiceProxy


class UserIntegrations:
    """One caller's integrations. Make one for each request; row level security decides what it reaches."""

    def __init__(self, caller: Caller, store: UserStore, engine: Engine) -> None:
        self.caller = caller
        self._store = store
        self._engine = engine

    async def require_session(self) -> None:
        """Raise UnauthenticatedError if the caller's session has ended and the settings care about it."""
        await self._check_session(sensitive=True)

    async def list(self, query: ListQuery) -> IntegrationPage:
        """One page of the caller's integrations."""
        await self._check_session(sensitive=False)
        return await self._store.list_integrations(query)

    async def get(self, integration_id: UUID) -> Integration:
        """One integration. Raises IntegrationNotFoundError."""
        await self._check_session(sensitive=False)
        return await self._store.get_integration(integration_id)

    async def events(
        self, integration_id: UUID, *, before: int | None = None, limit: int = 50
    ) -> tuple[IntegrationEvent, ...]:
        """The newest events of one integration. Raises IntegrationNotFoundError."""
        await self._check_session(sensitive=False)
        events = await self._store.list_events(integration_id, before=before, limit=limit)
        if not events and before is None:
            await self._store.get_integration(integration_id)
        return events

    async def create(
        self, service_name: str, credentials: Credentials, *, service_type: ServiceType | None, config: JsonObject
    ) -> Integration:
        """Connect a service with credentials the user holds: an API key, a user name and password, or a token.

        Raises UnknownServiceError, InvalidValueError, DuplicateIntegrationError, QuotaExceededError, and for tokens
        what the service answers to them.
        """
        await self._check_session(sensitive=True)
        service = self._engine.catalogue.get(service_name)
        if service_type is not None and service_type is not service.service_type:
            raise InvalidValueError("service_type", f"{service.display_name} is of the type {service.service_type}.")
        tenant = service.check_tenant(_given_tenant(service, config))
        connection = await self._connection(service, credentials, tenant, config)
        return await self._engine.connections.insert(self._store, self.caller.user_id, connection)

    async def update(
        self, integration_id: UUID, changes: IntegrationChanges, credentials: Credentials | None = None
    ) -> Integration:
        """Change a connection, all of it or nothing; new credentials must be for the same account.

        Raises IntegrationNotFoundError, InvalidValueError, AccountMismatchError, IntegrationBusyError.
        """
        await self._check_session(sensitive=credentials is not None)
        row: Integration | None = None
        if credentials is not None or changes.config is not None or changes.status is not None:
            row = await self._store.get_integration(integration_id)
            _check_status(row, changes)
            changes = self._keep_tenant(row, changes)
        with self._changing(integration_id):
            if row is not None and credentials is not None:
                return await self._replace_credentials(row, credentials, changes)
            return await self._store.update_integration(integration_id, changes)

    async def delete(self, integration_id: UUID) -> None:
        """Delete a connection and its credentials, after ending them at the service where that is possible. Raises
        IntegrationNotFoundError.
        """
        await self._check_session(sensitive=True)
        with self._changing(integration_id):
            await self._engine.revoker.delete(self._store, integration_id)

    async def refresh_token(self, integration_id: UUID) -> Integration:
        """Renew the credentials now, once for all who ask at the same time. Raises as `Refresher.fresh` does."""
        await self._check_session(sensitive=True)
        with self._changing(integration_id):
            return await self._engine.oauth.refresh_token(self._store, integration_id)

    async def revoke_token(self, integration_id: UUID) -> Revocation:
        """End a connection at the service and empty its row, which stays. Raises as `Revoker.revoke` does."""
        await self._check_session(sensitive=True)
        with self._changing(integration_id):
            return await self._engine.oauth.revoke_token(self._store, integration_id)

    async def get_integration_credentials(self, integration_id: UUID) -> Credentials:
        """The credentials, opened, and renewed first where they are due. Raises as `Refresher.fresh` does."""
        await self._check_session(sensitive=True)
        return (await self._engine.refresher.fresh(self._store, integration_id)).payload.credentials

    def client(self, integration_id: UUID) -> IntegrationClient:
        """Calls of one connection's service, to be used with `async with`. Raises then as `Refresher.fresh` does."""
        return IntegrationClient(self._door(integration_id), self._engine.calls, before=self.require_session)

    async def proxy(self, integration_id: UUID, head: ProxyHead, body: RequestBody) -> ProxyAnswer:
        """Pass a request on to the connection's service. Raises as `ServiceProxy.open` does."""
        await self._check_session(sensitive=True)
        return await self._engine.proxy.open(self._door(integration_id), head, body)

    async def initiate_auth(self, initiation: Initiation) -> StartedAuthorization:
        """Start an authorization. Raises as `OAuthManager.initiate_auth` does."""
        await self._check_session(sensitive=True)
        return await self._engine.oauth.initiate_auth(self._store, self.caller, initiation)

    async def handle_callback(self, query: CallbackQuery) -> Integration:
        """Finish an authorization that this caller started. Raises as `OAuthManager.handle_callback` does."""
        await self._check_session(sensitive=True)
        row = await self._engine.oauth.handle_callback(self._store, self.caller, query)
        self._engine.calls.connections.forget(row.ref)
        return row

    def _door(self, integration_id: UUID) -> Door:
        return Door(self._store, IntegrationRef(self.caller.user_id, integration_id))

    @contextmanager
    def _changing(self, integration_id: UUID) -> Iterator[None]:
        """After it, calls of this process find the connection as it is then."""
        try:
            yield
        finally:
            self._engine.calls.connections.forget(IntegrationRef(self.caller.user_id, integration_id))

    async def _check_session(self, *, sensitive: bool) -> None:
        policy = self._engine.sessions
        if policy.mode is SessionCheck.ALWAYS or (sensitive and policy.mode is SessionCheck.SENSITIVE):
            await policy.checker.require_session(self.caller)

    async def _replace_credentials(
        self, row: Integration, credentials: Credentials, changes: IntegrationChanges
    ) -> Integration:
        service = self._engine.catalogue.get(row.service_name)
        connection = await self._connection(service, credentials, tenant_of(row, service), row.config)
        if connection.account.id != row.external_account_id:
            raise AccountMismatchError
        return await self._engine.vault.replace(self._store, row.id, connection.payload, service, changes=changes)

    def _keep_tenant(self, row: Integration, changes: IntegrationChanges) -> IntegrationChanges:
        if changes.config is None:
            return changes
        service = self._engine.catalogue.get(row.service_name)
        config = with_tenant(changes.config, service, tenant_of(row, service))
        return IntegrationChanges(status=changes.status, config=config, last_sync_at=changes.last_sync_at)

    async def _connection(
        self, service: ServiceDefinition, credentials: Credentials, tenant: str, config: JsonObject
    ) -> Connection:
        """Check that the credentials are of the service's kind; a token is shown to the service, which names its
        account.
        """
        account = Account(tenant, tenant or None)
        match service.auth, credentials:
            case AuthKind.OAUTH2, OAuthCredentials() if not _tells_account(service):
                raise InvalidValueError(
                    "credentials", f"{service.display_name} does not tell whose token it is: start an authorization."
                )
            case AuthKind.OAUTH2, OAuthCredentials():
                client = self._engine.clients.get(service.name)
                if client is None:
                    raise ServiceNotConfiguredError
                account = await self._engine.accounts.identify(
                    service, client, credentials, tenant=tenant, reply_fields={}
                )
            case (AuthKind.API_KEY, ApiKeyCredentials()) | (AuthKind.BASIC, BasicCredentials()):
                pass
            case _:
                raise InvalidValueError("credentials", f"{service.display_name} takes credentials of another kind.")
        return Connection(service, account, CredentialPayload(service.name, tenant, credentials), config)


def _tells_account(service: ServiceDefinition) -> bool:
    """Whether the service, asked with a token alone, says whose it is."""
    rule = service.account_id_from
    return rule is not None and rule.source in (AccountSource.REQUEST, AccountSource.INTROSPECTION)


def _check_status(row: Integration, changes: IntegrationChanges) -> None:
    """A user pauses and resumes what works; a connection that stopped is not mended by pausing and resuming it."""
    if changes.status is not None and row.status not in (IntegrationStatus.ACTIVE, IntegrationStatus.INACTIVE):
        raise NotResumableError


def _given_tenant(service: ServiceDefinition, config: JsonObject) -> str:
    tenant = config.get(service.tenant_param, "") if service.tenant_param else ""
    if not isinstance(tenant, str):
        raise InvalidValueError(f"config.{service.tenant_param}", f"config.{service.tenant_param} must be a text.")
    return tenant
