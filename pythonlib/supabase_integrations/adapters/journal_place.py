"""What a reply in the journal is for, and what can be told of its file without a key."""

import re
from typing import Final, NamedTuple
from uuid import UUID

from ..core.models import IntegrationRef

KEY_ID_BYTES: Final = 4
"""What `Encryption.seal_bytes` begins with."""

_BLANK: Final = bytes(KEY_ID_BYTES + 12)
_HEX: Final = "[0-9a-f]"
_UUID: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_NAME: Final = re.compile(rf"({_UUID})\.({_UUID})\.([1-9][0-9]{{0,18}})\.reply")


class Place(NamedTuple):
    """A row at a version: what a reply is for, and what its file is named after."""

    ref: IntegrationRef
    seen_version: int

    @property
    def file_name(self) -> str:
        """The one name that its file has."""
        return f"{self.ref.user_id}.{self.ref.id}.{self.seen_version}.reply"


def place_of_file(name: str) -> Place | None:
    """What a file's name says it is for; None for one that is not a reply's."""
    match = _NAME.fullmatch(name)
    return Place(IntegrationRef(UUID(match[1]), UUID(match[2])), int(match[3])) if match else None


def is_blank(content: bytes) -> bool:
    """Whether zeros stand where key id and nonce belong.

    Nothing is sealed so: it is what a file system may put there that lost the content in a crash.
    """
    return content.startswith(_BLANK)
