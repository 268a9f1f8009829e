"""What is sealed under each key, as far as it can be counted without opening it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .keyring import Keyring


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key: what it is to this environment, and how much is sealed under it."""

    key_id: str
    is_primary: bool
    is_known: bool
    connections: int
    authorizations: int
    """Started and not finished; they end within ten minutes."""
    replies: int
    """Kept in the journal of this machine."""

    @property
    def is_used(self) -> bool:
        """Whether something could not be opened without it."""
        return bool(self.connections or self.authorizations or self.replies)

    @property
    def role(self) -> str:
        """What the key is to this environment, for people."""
        if self.is_primary:
            return "primary"
        return "retired" if self.is_known else "UNKNOWN here"


def uses_of_keys(
    keyring: Keyring, connections: Mapping[str, int], authorizations: Mapping[str, int], replies: Iterable[str]
) -> tuple[KeyUse, ...]:
    """Every key that is known or used: the primary one, the retired ones in their order, then unknown ones by id."""
    kept = list(replies)
    unknown = sorted({*connections, *authorizations, *kept} - {*keyring.key_ids})
    return tuple(
        KeyUse(
            key_id=key_id,
            is_primary=key_id == keyring.primary_id,
            is_known=key_id in keyring.key_ids,
            connections=connections.get(key_id, 0),
            authorizations=authorizations.get(key_id, 0),
            replies=kept.count(key_id),
        )
        for key_id in (*keyring.key_ids, *unknown)
    )
