"""OAuth for one signed-in user: start an authorization, finish it, exchange the code (RFC 6749 §4.1, RFC 7636), renew
and revoke what came of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from ..core.callback import CallbackQuery, check_callback
from ..core.catalogue import Catalogue
from ..core.credentials import CredentialPayload, OAuthCredentials
from ..core.encryption import Encryption
from ..core.errors import (
    IntegrationError,
    InvalidStateError,
    InvalidValueError,
    ServiceNotConfiguredError,
    StateExpiredError,
)
from ..core.flow import Flow, open_flow, seal_flow
from ..core.json_types import JsonObject
from ..core.models import Caller, Integration
from ..core.oauth_messages import (
    AuthorizationRequest,
    OAuthClient,
    access_token_exchange_request,
    authorization_url,
    check_scopes,
    code_exchange_request,
)
from ..core.revocation import Revocation
from ..core.secret import SecretStr
from ..core.service import ServiceDefinition
from ..core.service_kinds import AuthKind
from ..core.state import STATE_LIFETIME, new_state, read_state, state_hash
from ..core.token_reply import TokenReply, parse_token_reply
from ..port import Clock, CredentialStore, ProviderHttp, UserStore
from .accounts import Accounts
from .connections import Connection, Connections
from .credential_vault import tenant_of
from .refresher import Refresher
from .revoker import Revoker


@dataclass(frozen=True, slots=True)
class Initiation:
    """What a user asks for. `integration_id` names the connection to be renewed; `config` holds the tenant."""

    service_name: str
    additional_params: Mapping[str, str] = field(default_factory=dict)
    redirect_to: str | None = None
    config: JsonObject = field(default_factory=dict)
    scopes: tuple[str, ...] | None = None
    integration_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StartedAuthorization:
    """Where to send the browser. The URL holds the state, and so stays out of the repr."""

    auth_url: str = field(repr=False)
    state_hash: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """What the operator decides about every authorization. `clients` are this server's registrations by service
    name.
    """

    redirect_uri: str
    allowed_redirect_urls: Collection[str]
    clients: Mapping[str, OAuthClient]


class OAuthManager:
    """Runs authorizations under the identity of whoever calls; it holds nobody's token between two calls."""

    def __init__(
        self,
        settings: OAuthSettings,
        catalogue: Catalogue,
        encryption: Encryption,
        http: ProviderHttp,
        connections: Connections,
        clock: Clock,
        *,
        refresher: Refresher,
        revoker: Revoker,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._encryption = encryption
        self._http = http
        self._connections = connections
        self._clock = clock
        self._refresher = refresher
        self._revoker = revoker
        self._accounts = Accounts(http, clock)
        self._issuers = frozenset(service.issuer for service in catalogue if service.issuer)

    async def initiate_auth(self, store: UserStore, caller: Caller, initiation: Initiation) -> StartedAuthorization:
        """Remember a new authorization as the caller's and say where to send the browser.

        Raises UnknownServiceError, ServiceNotConfiguredError, InvalidValueError, IntegrationNotFoundError and
        QuotaExceededError.
        """
        service, client = self._service(initiation.service_name)
        redirect_to = self._check_redirect(initiation.redirect_to)
        tenant = await self._tenant(store, service, initiation)
        now = self._clock.now()
        state = new_state(self._encryption, redirect_to=redirect_to, now=now)
        flow = Flow(
            service_name=service.name,
            tenant=tenant,
            redirect_uri=self._settings.redirect_uri,
            redirect_to=redirect_to,
            scopes=check_scopes(service, service.scopes if initiation.scopes is None else initiation.scopes),
            integration_id=initiation.integration_id,
            code_verifier=SecretStr(Encryption.generate_token(48)),
            expires_at=now + STATE_LIFETIME,
            config=initiation.config,
        )
        auth_url = authorization_url(
            service,
            client,
            AuthorizationRequest(
                redirect_uri=flow.redirect_uri,
                state=state,
                code_verifier=flow.code_verifier,
                scopes=flow.scopes,
                tenant=tenant,
                additional_params=initiation.additional_params,
            ),
        )
        hashed = state_hash(state)
        sealed = seal_flow(self._encryption, flow, user_id=caller.user_id, state_hash=hashed)
        await store.insert_state(hashed, sealed, flow.integration_id)
        return StartedAuthorization(auth_url, hashed, flow.expires_at)

    async def handle_callback(self, store: UserStore, caller: Caller, query: CallbackQuery) -> Integration:
        """Finish an authorization that this very caller started, and store the connection.

        The state is consumed first and the code is sent once: whatever fails after that, the user starts again.
        Raises InvalidStateError, StateExpiredError, InvalidCallbackError, AuthorizationDeniedError and all that
        `exchange_code` and storing raise.
        """
        flow = await self._consume(store, caller, query.get("state"))
        service, client = self._service(flow.service_name)
        code = check_callback(
            query,
            service,
            tenant=flow.tenant,
            client_secret=client.client_secret,
            other_issuers=self._issuers - {service.issuer},
        )
        reply = await self.exchange_code(service, client, flow, code)
        account = await self._accounts.identify(
            service, client, reply.credentials, tenant=flow.tenant, reply_fields=reply.fields
        )
        payload = CredentialPayload(service.name, flow.tenant, reply.credentials)
        connection = Connection(service, account, payload, flow.config)
        return await self._connections.store(store, caller.user_id, connection, reconnect=flow.integration_id)

    async def refresh_token(self, store: CredentialStore, integration_id: UUID) -> Integration:
        """Renew a connection's tokens now, once for all who ask by either door. Raises as `Refresher.fresh` does."""
        return (await self._refresher.fresh(store, integration_id, requested=True)).integration

    async def revoke_token(self, store: UserStore, integration_id: UUID) -> Revocation:
        """End a connection's tokens at the service and forget them. Raises as `Revoker.revoke` does."""
        return await self._revoker.revoke(store, integration_id)

    async def exchange_code(
        self, service: ServiceDefinition, client: OAuthClient, flow: Flow, code: SecretStr
    ) -> TokenReply:
        """Trade a code for tokens, in one attempt.

        Raises InvalidGrantError, InvalidClientError, TokenEndpointError, MalformedTokenResponseError,
        ProviderUnavailableError and RateLimitedError.
        """
        request = code_exchange_request(
            service,
            client,
            code=code,
            code_verifier=flow.code_verifier,
            redirect_uri=flow.redirect_uri,
            tenant=flow.tenant,
        )
        answer = await self._http.send(request)
        reply = parse_token_reply(answer, service, self._clock.now(), requested_scopes=flow.scopes)
        if service.exchange_on_connect:
            longer = await self._exchange_access_token(service, client, flow, reply.credentials)
            return replace(reply, credentials=longer)
        return reply

    async def _exchange_access_token(
        self, service: ServiceDefinition, client: OAuthClient, flow: Flow, credentials: OAuthCredentials
    ) -> OAuthCredentials:
        """Trade a token of hours for one of weeks. Where that fails, the one of hours is kept: it is due for refresh
        soon.
        """
        token = credentials.access_token
        request = access_token_exchange_request(service, client, access_token=token, tenant=flow.tenant)
        try:
            answer = await self._http.send(request)
            longer = parse_token_reply(answer, service, self._clock.now(), requested_scopes=credentials.scopes)
        except IntegrationError:
            return credentials
        return longer.credentials

    async def _consume(self, store: UserStore, caller: Caller, state: str) -> Flow:
        authentic = read_state(self._encryption, state)
        pending = await store.consume_state(authentic.hash)
        now = self._clock.now()
        if now >= authentic.expires_at:
            raise StateExpiredError
        if pending is None:
            raise InvalidStateError
        flow = open_flow(self._encryption, pending.flow, user_id=caller.user_id, state_hash=authentic.hash)
        if now >= flow.expires_at:
            raise StateExpiredError
        return flow

    async def _tenant(self, store: UserStore, service: ServiceDefinition, initiation: Initiation) -> str:
        """The tenant the user names; for a reconnection the one the row is sealed to."""
        given = initiation.config.get(service.tenant_param, "") if service.tenant_param else ""
        if not isinstance(given, str):
            raise InvalidValueError(f"config.{service.tenant_param}", f"config.{service.tenant_param} must be a text")
        if initiation.integration_id is not None:
            row = await store.get_integration(initiation.integration_id)
            if row.service_name != service.name:
                raise InvalidValueError("integration_id", f"This connection is to {row.service_name}.")
            given = given or tenant_of(row, service)
        return service.check_tenant(given)

    def _service(self, service_name: str) -> tuple[ServiceDefinition, OAuthClient]:
        service = self._catalogue.get(service_name)
        if service.auth is not AuthKind.OAUTH2:
            raise InvalidValueError("service_name", f"{service.display_name} is connected with POST /api/integrations.")
        client = self._settings.clients.get(service_name)
        if client is None:
            raise ServiceNotConfiguredError
        return service, client

    def _check_redirect(self, redirect_to: str | None) -> str | None:
        if redirect_to is not None and redirect_to not in self._settings.allowed_redirect_urls:
            raise InvalidValueError("redirect_to", "redirect_to is not one of this server's ALLOWED_REDIRECT_URLS.")
        return redirect_to
