"""What journals of this machine keep, as file names and key ids show it: read without a key, and nothing is changed.
Implements `port.KeptReplies`.
"""

import asyncio
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..core.errors import ConfigurationError
from ..core.models import IntegrationRef
from .journal_place import KEY_ID_BYTES, place_of_file


class JournalListing:
    """The journal under one STATE_DIR, which need not be there."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir.absolute() / "journal"

    @property
    def directory(self) -> Path:
        """Where it looks, as a whole path."""
        return self._directory

    async def is_there(self) -> bool:
        """Whether there is such a directory. Where it is not, no process has opened a journal in this STATE_DIR."""
        return await asyncio.to_thread(self._directory.is_dir)

    async def keys(self) -> Mapping[tuple[IntegrationRef, int], str]:
        """The key ids that replies are sealed under, by row and the version they replace.

        Raises ConfigurationError where the directory is there and cannot be read: what is in it may matter.
        """
        try:
            return await asyncio.to_thread(self._keys)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"STATE_DIR: {self._directory} cannot be read ({reason}). Run this as the user of the service."
            ) from None

    def _keys(self) -> dict[tuple[IntegrationRef, int], str]:
        try:
            files = list(self._directory.iterdir())
        except FileNotFoundError:
            return {}
        return {place: key_id for file in files if (place := place_of_file(file.name)) and (key_id := _key_id(file))}


def _key_id(path: Path) -> str | None:
    """The key id that a file begins with; None for what is gone by now or no regular file."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        # Without O_NONBLOCK, a FIFO that was put there meanwhile would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            begin = file.read(KEY_ID_BYTES)
        return begin.hex() if len(begin) == KEY_ID_BYTES else None
    return None
