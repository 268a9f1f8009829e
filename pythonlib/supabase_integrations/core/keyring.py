"""The keys that seal and open, named by their ids. Nothing here shows a key."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from .errors import ConfigurationError
from .secret import SecretStr

_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_MAKE_ONE = "Make one with `integrations generate-key`."


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """An AES-256 key. `id` is the first 8 hex digits of its SHA-256, so it needs no book-keeping."""

    id: str
    raw: bytes = field(repr=False)

    @classmethod
    def from_hex(cls, text: str) -> "EncryptionKey":
        """The key of 64 hexadecimal characters; the caller has checked them."""
        raw = bytes.fromhex(text)
        return cls(sha256(raw).hexdigest()[:8], raw)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The first key encrypts; any of them decrypts."""

    keys: tuple[EncryptionKey, ...]

    @classmethod
    def from_hex(cls, primary: str | SecretStr, retired: Sequence[str | SecretStr] = ()) -> "Keyring":
        """The keys of ENCRYPTION_KEY and ENCRYPTION_KEYS_RETIRED.

        Raises ConfigurationError, which names the setting and never its value.
        """
        texts = [text.get_secret_value() if isinstance(text, SecretStr) else text for text in (primary, *retired)]
        problem = _first_problem(texts)
        if problem is not None:
            del primary, retired, texts  # error reporters show the locals of a raising frame
            raise ConfigurationError(problem)
        return cls(tuple(EncryptionKey.from_hex(text) for text in texts))

    @property
    def primary_id(self) -> str:
        """The id of the key that encrypts."""
        return self.keys[0].id

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the primary first."""
        return tuple(key.id for key in self.keys)


def _first_problem(texts: Sequence[str]) -> str | None:
    for position, text in enumerate(texts):
        setting = f"ENCRYPTION_KEYS_RETIRED, key {position}," if position else "ENCRYPTION_KEY"
        if not text:
            return f"{setting} is empty. {_MAKE_ONE}"
        if not _KEY.fullmatch(text):
            return f"{setting} is not a key of 64 hexadecimal characters (it has {len(text)}). {_MAKE_ONE}"
        if not int(text, 16):
            return f"{setting} is all zeros, which is no secret. {_MAKE_ONE}"
    ids = Counter(EncryptionKey.from_hex(text).id for text in texts)
    key_id, times = ids.most_common(1)[0]
    if times > 1:
        return f"The encryption key {key_id} is listed {times} times: ENCRYPTION_KEYS_RETIRED holds former keys only."
    return None
