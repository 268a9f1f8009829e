"""A token reply on its way to the database, with all that is needed to store it later (RFC 6749 §5.1, §6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from .associated_data import AssociatedData, Purpose
from .credentials import CredentialPayload, from_json, to_json
from .encryption_errors import MalformedEnvelopeError
from .json_types import JsonObject, JsonValue
from .models import Caller, IntegrationRef
from .secret import SecretStr


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """New credentials for a row, which are written only where its version is still `seen_version`.

    `caller` is whose token asked for them, so that they can be stored under it until it ends; None for the worker.
    """

    ref: IntegrationRef
    seen_version: int
    lease_owner: UUID
    payload: CredentialPayload
    caller: Caller | None
    written_at: datetime


def place_of(ref: IntegrationRef, seen_version: int) -> AssociatedData:
    """What an entry is sealed to: one row at one version. Its file is named after the same."""
    return AssociatedData(
        purpose=Purpose.JOURNAL, id=str(ref.id), user_id=str(ref.user_id), credential_version=seen_version
    )


def entry_to_json(entry: JournalEntry) -> JsonObject:
    """The entry as an object to be sealed; times are Unix seconds."""
    caller: JsonObject | None = None
    if entry.caller is not None:
        caller = {
            "access_token": entry.caller.access_token.get_secret_value(),
            "expires_at": int(entry.caller.expires_at.timestamp()),
            "session_id": entry.caller.session_id,
        }
    return {
        "lease_owner": str(entry.lease_owner),
        "written_at": int(entry.written_at.timestamp()),
        "payload": to_json(entry.payload),
        "caller": caller,
    }


def entry_from_json(value: Mapping[str, JsonValue], ref: IntegrationRef, seen_version: int) -> JournalEntry:
    """The inverse of `entry_to_json`. Raises MalformedEnvelopeError for an object that is not one of ours."""
    try:
        payload = value["payload"]
        if not isinstance(payload, Mapping):
            raise TypeError
        return JournalEntry(
            ref=ref,
            seen_version=seen_version,
            lease_owner=UUID(_text(value["lease_owner"])),
            payload=from_json(payload),
            caller=_caller(value["caller"], ref.user_id),
            written_at=_moment(value["written_at"]),
        )
    except (KeyError, TypeError, ValueError):
        raise MalformedEnvelopeError("The journal entry opened, but holds no token reply.") from None


def _caller(value: JsonValue, user_id: UUID) -> Caller | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError
    session_id = value["session_id"]
    return Caller(
        user_id=user_id,
        access_token=SecretStr(_text(value["access_token"])),
        expires_at=_moment(value["expires_at"]),
        session_id=None if session_id is None else _text(session_id),
    )


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: JsonValue) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return datetime.fromtimestamp(value, UTC)
