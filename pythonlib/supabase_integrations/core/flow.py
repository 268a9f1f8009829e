"""One authorization under way: what was decided at its start, sealed to its user and its state until it is finished."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from .associated_data import AssociatedData, Purpose
from .encryption import Encryption
from .encryption_errors import DecryptionError
from .errors import InvalidStateError
from .json_types import JsonObject, JsonValue
from .secret import SecretStr


@dataclass(frozen=True, slots=True)
class Flow:
    """Every decision of a callback is made from this, never from the request (RFC 9700 §4.4: no mix-up)."""

    service_name: str
    tenant: str
    redirect_uri: str
    redirect_to: str | None
    scopes: tuple[str, ...]
    integration_id: UUID | None
    code_verifier: SecretStr
    expires_at: datetime
    config: JsonObject


def seal_flow(encryption: Encryption, flow: Flow, *, user_id: UUID, state_hash: str) -> str:
    """The envelope for `oauth_states.flow`; it opens for this user and this state alone."""
    value: dict[str, JsonValue] = {
        "service_name": flow.service_name,
        "tenant": flow.tenant,
        "redirect_uri": flow.redirect_uri,
        "redirect_to": flow.redirect_to,
        "scopes": list(flow.scopes),
        "integration_id": str(flow.integration_id) if flow.integration_id else None,
        "code_verifier": flow.code_verifier.get_secret_value(),
        "expires_at": int(flow.expires_at.timestamp()),
        "config": flow.config,
    }
    return encryption.encrypt_object(value, _associated_data(user_id, state_hash))


def open_flow(encryption: Encryption, envelope: str, *, user_id: UUID, state_hash: str) -> Flow:
    """The inverse of `seal_flow`. Raises InvalidStateError for an envelope that was put there by somebody else."""
    try:
        value = encryption.decrypt_object(envelope, _associated_data(user_id, state_hash))
    except DecryptionError:
        raise InvalidStateError from None
    integration_id, redirect_to, scopes = value["integration_id"], value["redirect_to"], value["scopes"]
    config, expires_at = value["config"], value["expires_at"]
    return Flow(
        service_name=str(value["service_name"]),
        tenant=str(value["tenant"]),
        redirect_uri=str(value["redirect_uri"]),
        redirect_to=str(redirect_to) if redirect_to else None,
        scopes=tuple(str(scope) for scope in scopes) if isinstance(scopes, list) else (),
        integration_id=UUID(str(integration_id)) if integration_id else None,
        code_verifier=SecretStr(str(value["code_verifier"])),
        expires_at=datetime.fromtimestamp(expires_at if isinstance(expires_at, int) else 0, UTC),
        config=config if isinstance(config, Mapping) else {},
    )


def _associated_data(user_id: UUID, state_hash: str) -> AssociatedData:
    return AssociatedData(
        purpose=Purpose.FLOW, table="oauth_states", column="flow", id=state_hash, user_id=str(user_id)
    )
