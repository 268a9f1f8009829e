"""A directory of small files that only this user may touch, each of them there as a whole or not at all.

Every step is taken relative to the directory as it was opened, so that nobody can slip another one under the same path,
and no step follows a link. All of it blocks, for as long as the disk takes: call it from a thread.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from ..core.errors import ConfigurationError

_DRAFT_SUFFIX: Final = ".draft"
_DRAFT_LIFETIME: Final = timedelta(hours=1)
"""No write takes this long: an older draft is that of a process that died."""
_FOR_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A regular file of the directory; `size` is in bytes."""

    name: str
    size: int
    modified_at: datetime


class PrivateDirectory:
    """One directory, held open. Several processes may hold the same one; no call relies on being the only one."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the directory if it is missing, and open it. Raises ConfigurationError, saying what to do about it."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
                path.chmod(0o700)  # whatever the umask took away
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            _make_private(path, descriptor)
            directory = cls(descriptor)
            directory.probe(1)
        except OSError as error:
            os.close(descriptor)
            raise _unusable(path, error) from None
        except ConfigurationError:
            os.close(descriptor)
            raise
        return directory

    def close(self) -> None:
        """Let go of the directory. Nothing may be under way."""
        os.close(self._fd)

    def write(self, name: str, content: bytes) -> int | None:
        """Put a file there, in the place of one of the same name. It survives a loss of power when this returns.

        Returns the size of the file that was replaced, in bytes; None where there was none. Raises OSError, and nothing
        has changed then.
        """
        with self._draft(content) as draft:
            try:
                replaced = os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size
            except FileNotFoundError:
                replaced = None
            os.rename(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        # The content is on the disk by now, and its name only after this.
        os.fsync(self._fd)
        return replaced

    def read(self, name: str, limit: int) -> bytes | None:
        """A file's content; None where there is none, or something else than a regular file of at most `limit` bytes.

        Raises OSError.
        """
        try:
            descriptor = os.open(name, _FOR_READING, dir_fd=self._fd)
        except OSError:
            if self._is_regular(name):
                raise
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
                return None
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
        return content if len(content) <= limit else None

    def remove(self, name: str) -> int | None:
        """Remove a file; its size in bytes, or None where there was none. Raises OSError."""
        try:
            size = os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        return size

    def files(self, now: datetime) -> Iterator[StoredFile]:
        """The regular files that are complete. What writes that never ended left is removed on the way.

        Raises OSError, also where the directory itself was removed meanwhile.
        """
        if os.fstat(self._fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "The directory was removed")
        with os.scandir(self._fd) as found:
            for item in found:
                with suppress(FileNotFoundError):
                    status = item.stat(follow_symlinks=False)
                    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    if not item.name.endswith(_DRAFT_SUFFIX):
                        yield StoredFile(item.name, status.st_size, modified_at)
                    elif modified_at < now - _DRAFT_LIFETIME:
                        self.remove(item.name)

    def probe(self, size: int) -> None:
        """Write `size` bytes to the disk and remove them again. Raises the OSError that a write would meet."""
        with self._draft(bytes(size)):
            pass

    @contextmanager
    def _draft(self, content: bytes) -> Iterator[str]:
        """A new file with this content, which is on the disk; gone afterwards, unless it was renamed."""
        name = f".{secrets.token_hex(16)}{_DRAFT_SUFFIX}"
        descriptor = os.open(name, _FOR_WRITING, 0o600, dir_fd=self._fd)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # whatever the umask took away
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            yield name
        finally:
            with suppress(OSError):
                self.remove(name)

    def _is_regular(self, name: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False


def _make_private(path: Path, descriptor: int) -> None:
    """Refuse a directory that others may have written to, and keep others from reading in one of ours."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"STATE_DIR: {path} belongs to another user (uid {status.st_uid}). Run as that user, remove it, or set"
            " STATE_DIR to a directory of this user's own."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"STATE_DIR: other users may write to {path}. Look at what is in it, then run `chmod 700` on it."
        )
    os.fchmod(descriptor, 0o700)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    # Making a directory finds a file in its place where one asks for what it lacks: a directory.
    reason = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
    return ConfigurationError(
        f"STATE_DIR: {path} cannot be used ({reason}). Set STATE_DIR to a directory on a local disk that this user can"
        " write to: new tokens are kept there until the database has them."
    )
