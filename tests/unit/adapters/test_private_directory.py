"""The journal's directory: made private, and refused with the reason where somebody else may have written to it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from supabase_integrations.adapters.private_directory import PrivateDirectory
from supabase_integrations.core.errors import ConfigurationError

STRANGER = 54_321


def not_a_directory(path: Path) -> None:
    path.write_text("a file")


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def a_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


def for_the_group(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def for_everybody(path: Path) -> None:
    path.mkdir()
    path.chmod(0o1777)


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (not_a_directory, "cannot be used"),
        (below_a_file, "cannot be used"),
        (a_link, "cannot be used"),
        (for_the_group, "other users may write to .*chmod 700"),
        (for_everybody, "other users may write to .*chmod 700"),
    ],
)
def test_a_directory_that_cannot_be_trusted_is_refused(
    tmp_path: Path, arrange: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "state" / "journal"
    path.parent.mkdir()
    arrange(path)

    with pytest.raises(ConfigurationError, match=f"^STATE_DIR: .*{reason}"):
        PrivateDirectory.open(path)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    if os.geteuid() == 0:
        path.mkdir(mode=0o700)
        os.chown(path, STRANGER, STRANGER)
    else:
        path = Path("/")

    with pytest.raises(ConfigurationError, match=r"belongs to another user \(uid \d+\)"):
        PrivateDirectory.open(path)


def test_a_refusal_leaves_nothing_open(tmp_path: Path) -> None:
    for_everybody(tmp_path / "journal")
    descriptor = os.open("/", os.O_RDONLY)
    os.close(descriptor)

    for _ in range(3):
        with pytest.raises(ConfigurationError):
            PrivateDirectory.open(tmp_path / "journal")

    assert os.open("/", os.O_RDONLY) == descriptor
    os.close(descriptor)


def test_a_directory_of_ours_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.mkdir()
    path.chmod(0o755)

    PrivateDirectory.open(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_directories_above_are_made_for_this_user_alone(tmp_path: Path) -> None:
    PrivateDirectory.open(tmp_path / "state" / "journal").close()

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_another_directory_under_the_same_path_gets_nothing(tmp_path: Path) -> None:
    """What was opened is what is written to, whatever its path leads to by then."""
    path = tmp_path / "journal"
    directory = PrivateDirectory.open(path)
    path.rename(tmp_path / "moved")
    path.mkdir()

    directory.write("name", b"content")
    directory.close()

    assert list(path.iterdir()) == []
    assert (tmp_path / "moved" / "name").read_bytes() == b"content"


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    directory = PrivateDirectory.open(tmp_path / "journal")
    (tmp_path / "journal" / "name").mkdir()

    with pytest.raises(OSError, match="name"):
        directory.write("name", b"content")
    directory.close()

    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["name"]
