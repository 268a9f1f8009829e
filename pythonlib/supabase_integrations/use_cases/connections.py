"""Turning credentials into a row: the same account updates its row, another account makes a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from ..core.account import Account
from ..core.credentials import CredentialPayload
from ..core.errors import (
    AccountMismatchError,
    DuplicateIntegrationError,
    IntegrationBusyError,
    IntegrationNotFoundError,
    InvalidValueError,
)
from ..core.json_types import JsonObject, JsonValue
from ..core.models import Integration, IntegrationChanges, IntegrationStatus, NewIntegration
from ..core.service import ServiceDefinition
from ..port import UserStore
from .credential_vault import CredentialVault, copies


@dataclass(frozen=True, slots=True)
class Connection:
    """What was learnt from a service and is now to be stored. `config` is what the user gave with it."""

    service: ServiceDefinition
    account: Account
    payload: CredentialPayload
    config: JsonObject = field(default_factory=dict)


class Connections:
    """Stores connections as one signed-in user."""

    def __init__(self, vault: CredentialVault) -> None:
        self._vault = vault

    async def store(
        self, store: UserStore, user_id: UUID, connection: Connection, *, reconnect: UUID | None = None
    ) -> Integration:
        """Update the account's row, or insert one. `reconnect` names the row that the account must be of.

        Raises AccountMismatchError, IntegrationNotFoundError, IntegrationBusyError, QuotaExceededError.
        """
        if reconnect is not None:
            await self._require_same_account(store, reconnect, connection)
            return await self._replace(store, reconnect, connection)
        existing = await self._find(store, connection)
        if existing is not None:
            return await self._replace(store, existing.id, connection)
        try:
            return await self.insert(store, user_id, connection)
        except DuplicateIntegrationError:
            return await self._replace_winner(store, connection)

    async def insert(self, store: UserStore, user_id: UUID, connection: Connection) -> Integration:
        """Insert a new row. Raises DuplicateIntegrationError, QuotaExceededError."""
        integration_id = uuid4()
        payload, service = connection.payload, connection.service
        envelope = self._vault.seal(payload, integration_id=integration_id, user_id=user_id, credential_version=1)
        scopes, expires_at, due_at = copies(payload, service)
        new = NewIntegration(
            id=integration_id,
            service_name=service.name,
            service_type=service.service_type,
            external_account_id=connection.account.id,
            display_name=connection.account.display_name,
            envelope=envelope,
            config=with_tenant(connection.config, service, payload.tenant),
            scopes=scopes,
            expires_at=expires_at,
            next_refresh_at=due_at,
        )
        try:
            return await self._vault.persistently(lambda: store.insert_integration(new))
        except DuplicateIntegrationError:
            try:
                return await self._vault.written_already(store, integration_id, envelope)
            except (IntegrationNotFoundError, IntegrationBusyError):
                raise DuplicateIntegrationError from None

    async def _replace(self, store: UserStore, integration_id: UUID, connection: Connection) -> Integration:
        return await self._vault.replace(
            store,
            integration_id,
            connection.payload,
            connection.service,
            display_name=connection.account.display_name,
            changes=IntegrationChanges(status=IntegrationStatus.ACTIVE),
        )

    async def _replace_winner(self, store: UserStore, connection: Connection) -> Integration:
        """Two callbacks for one account ran at once, and the other one inserted first."""
        winner = await self._find(store, connection)
        if winner is None:
            raise IntegrationBusyError
        return await self._replace(store, winner.id, connection)

    async def _find(self, store: UserStore, connection: Connection) -> Integration | None:
        service, account = connection.service, connection.account
        return await self._vault.persistently(lambda: store.find_account(service.name, account.id))

    async def _require_same_account(self, store: UserStore, integration_id: UUID, connection: Connection) -> None:
        row = await self._vault.persistently(lambda: store.get_integration(integration_id))
        if (row.service_name, row.external_account_id) != (connection.service.name, connection.account.id):
            raise AccountMismatchError


def with_tenant(config: JsonObject, service: ServiceDefinition, tenant: str) -> Mapping[str, JsonValue]:
    """The config with its tenant as it was checked; the tenant cannot be changed afterwards, for credentials are
    sealed to it.

    Raises InvalidValueError where the config names another one.
    """
    if not service.tenant_param or not tenant:
        return dict(config)
    if config.get(service.tenant_param, tenant) != tenant:
        name = f"config.{service.tenant_param}"
        raise InvalidValueError(name, f"{name} cannot be changed: connect the other {service.tenant_param} instead.")
    return {**config, service.tenant_param: tenant}
