"""What ties a callback to the browser or the user that started it: a sealed cookie, or a sealed handle.

The cookie lets the callback finish by itself, as the user whose token it holds. The handle carries the callback's
whole query to the app, which can finish it only with the JWT of the user who started: the state is found under that
user's rows alone.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from .associated_data import AssociatedData, Purpose
from .callback import CallbackQuery
from .encryption import Encryption
from .encryption_errors import DecryptionError
from .errors import InvalidHandleError
from .json_types import JsonValue
from .secret import SecretStr

COOKIE_PREFIX: Final = "__Host-integrations-"
MAX_COOKIE_LENGTH: Final = 4000
"""Characters of the sealed value: browsers silently drop a cookie of more than 4,096 bytes, name and attributes
included.
"""

_MAX_HANDLE_LENGTH: Final = 32_768


def cookie_name(state_hash: str) -> str:
    """One cookie for each flow, so that two tabs do not take each other's."""
    return COOKIE_PREFIX + state_hash[:16]


def seal_cookie(encryption: Encryption, access_token: SecretStr, state_hash: str) -> str | None:
    """The caller's access token, sealed to one state; None where it would not fit into a cookie."""
    sealed = encryption.encrypt(access_token.get_secret_value(), _cookie_place(state_hash))
    return sealed if len(sealed) <= MAX_COOKIE_LENGTH else None


def open_cookie(encryption: Encryption, value: str, state_hash: str) -> SecretStr | None:
    """The access token of this state's cookie; None for any other text, which then counts as no cookie at all."""
    try:
        return SecretStr(encryption.decrypt(value, _cookie_place(state_hash)))
    except DecryptionError:
        return None


def seal_handle(encryption: Encryption, query: CallbackQuery, expires_at: datetime) -> str:
    """The callback's query as an opaque text that this service alone can read, until `expires_at`."""
    value: dict[str, JsonValue] = {
        "query": [[name, text] for name, text in query.parameters],
        "expires_at": int(expires_at.timestamp()),
    }
    return encryption.encrypt_object(value, AssociatedData(purpose=Purpose.HANDLE))


def open_handle(encryption: Encryption, handle: str, now: datetime) -> CallbackQuery:
    """The inverse of `seal_handle`. Raises InvalidHandleError."""
    if len(handle) > _MAX_HANDLE_LENGTH:
        raise InvalidHandleError
    try:
        value = encryption.decrypt_object(handle, AssociatedData(purpose=Purpose.HANDLE))
    except DecryptionError:
        raise InvalidHandleError from None
    pairs, expires_at = value["query"], value["expires_at"]
    if not isinstance(expires_at, int) or now.timestamp() >= expires_at or not isinstance(pairs, list):
        raise InvalidHandleError
    return CallbackQuery.parse(_pairs(pairs))


def _pairs(pairs: Iterable[object]) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise InvalidHandleError
        yield str(pair[0]), str(pair[1])


def _cookie_place(state_hash: str) -> AssociatedData:
    return AssociatedData(purpose=Purpose.COOKIE, id=state_hash)
