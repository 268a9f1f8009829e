"""The place a ciphertext belongs to, as bytes that no other place shares (the `A` of NIST SP 800-38D).

Not secret, but bound: a ciphertext opens only where it was sealed. `Encryption` adds the format and the key id.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from .encryption_errors import UnsealableValueError

MAX_LENGTH = 2_048
"""Bytes. Room for the longest ids, service and host names we store, and small beside the largest envelope."""


class Purpose(StrEnum):
    """What a ciphertext is for. One purpose never opens as another."""

    CREDENTIALS = "credentials"
    """The tokens of a connection, in its row."""
    FLOW = "flow"
    """What a started authorization has to remember, in its row."""
    STATE = "state"
    """The OAuth `state` parameter."""
    COOKIE = "cookie"
    """The caller's access token, in the browser that started an authorization."""
    HANDLE = "handle"
    """A callback that the app is to finish."""
    JOURNAL = "journal"
    """A token reply on its way to the database."""


@dataclass(frozen=True, slots=True)
class AssociatedData:
    """Where a ciphertext belongs. Name every field that the place has: both sides must name the same.

    Values are compared as text, so write a UUID as `str(uuid)` does. `encoded` is two bytes that count the rest, then
    every field in the order of declaration as `<characters>:<value>` in UTF-8. The lengths say where values end, so no
    two places share an encoding and none begins with another.

    Raises UnsealableValueError for text that is not valid Unicode and for a place of more than 2,048 bytes.
    """

    purpose: Purpose
    table: str = ""
    column: str = ""
    id: str = ""
    user_id: str = ""
    service_name: str = ""
    tenant: str = ""
    credential_version: int = 0
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode once: a place is often used twice, to open and to seal again."""
        object.__setattr__(self, "encoded", _encode(self))


_FIELDS = ("purpose", "table", "column", "id", "user_id", "service_name", "tenant", "credential_version")


def differing_fields(encoded: bytes, other: bytes) -> tuple[str, ...]:
    """The names of the fields in which two encoded places differ, in the order of declaration."""
    pairs = zip(_FIELDS, _values(encoded), _values(other), strict=True)
    return tuple(name for name, value, other_value in pairs if value != other_value)


def _encode(place: AssociatedData) -> bytes:
    # One f-string costs half of encoding and joining eight values, and this runs for every credential that is read.
    table, column, id_, user_id = place.table, place.column, place.id, place.user_id
    service, tenant, version = place.service_name, place.tenant, str(place.credential_version)
    try:
        encoded = (
            f"{len(place.purpose)}:{place.purpose}{len(table)}:{table}{len(column)}:{column}{len(id_)}:{id_}"
            f"{len(user_id)}:{user_id}{len(service)}:{service}{len(tenant)}:{tenant}{len(version)}:{version}"
        ).encode()
    except UnicodeEncodeError:
        encoded = b""  # raised below: here the error, which carries the value, would be its context
    if not 0 < len(encoded) <= MAX_LENGTH:
        raise UnsealableValueError(
            f"The associated data is not valid Unicode or exceeds {MAX_LENGTH} bytes: check the tenant and the ids."
        )
    return len(encoded).to_bytes(2) + encoded


def _values(encoded: bytes) -> list[str]:
    values, rest = [], encoded[2:].decode()
    while rest:
        length, _, rest = rest.partition(":")
        values.append(rest[: int(length)])
        rest = rest[int(length) :]
    return values
