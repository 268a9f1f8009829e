"""A bounded memory of recent successes. Failures are not remembered: whoever sends a refused token pays for it."""

import hashlib
from datetime import datetime
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

MAX_ENTRIES: Final = 10_000


def token_digest(token: str) -> bytes:
    """Under which a token is remembered, so that the token itself is not kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class SuccessCache(Generic[Value]):
    """Remembers values until their time has come; when it is full, the oldest entry makes room."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: dict[bytes, tuple[datetime, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, *, now: datetime) -> Value | None:
        """What is remembered under `digest`, unless its time has come."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        until, value = entry
        if now < until:
            return value
        del self._entries[digest]
        return None

    def put(self, digest: bytes, value: Value, *, until: datetime) -> None:
        """Remember `value` until then."""
        # Removed first, because a dict keeps the place of a key that is set again and the oldest goes first.
        self._entries.pop(digest, None)
        if len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = (until, value)
