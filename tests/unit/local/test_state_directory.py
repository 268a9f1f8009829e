"""The state directory: one system at a time, private files, nothing of somebody else's removed."""

import subprocess
import sys
from pathlib import Path

import pytest

from supabase_integrations.cli.environment import read_environment
from supabase_integrations.local.errors import LocalStackError
from supabase_integrations.local.pids import start_mark
from supabase_integrations.local.secrets import LocalSecrets
from supabase_integrations.local.state import Description, StateDirectory

DESCRIPTION = Description(
    api_url="http://127.0.0.1:8000",
    supabase_url="http://127.0.0.1:54321",
    publishable_key="sb_publishable_canary",
    database_url="postgresql://canary",
    jwt_secret="canary-jwt-secret",
    worker_database_url="postgresql://worker:canary",
    demo_url="http://127.0.0.1:9400",
    pids={"dev": 1},
    state_dir="/state",
    log_dir="/state/logs",
)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """A state directory that exists."""
    state = StateDirectory(tmp_path / "state")
    state.path.mkdir()
    return state


def test_the_description_is_private_and_hides_its_secrets_from_reprs(state: StateDirectory) -> None:
    state.describe(DESCRIPTION, {})

    assert state.description.stat().st_mode & 0o777 == 0o600
    assert state.settings.stat().st_mode & 0o777 == 0o600
    assert "canary" not in repr(DESCRIPTION)


def test_a_command_reads_the_settings_as_they_were_written(state: StateDirectory) -> None:
    settings = {"URL": "postgresql://a:b@127.0.0.1/x?a=b&c=d", "DIR": "/o'clock/a \\b #c", "REF": "${URL}", "NONE": ""}
    state.describe(DESCRIPTION, settings)

    read = read_environment(state.settings)
    assert {name: read[name] for name in settings} == settings


def test_what_is_withdrawn_is_gone(state: StateDirectory) -> None:
    state.describe(DESCRIPTION, {"URL": "x"})
    state.withdraw()

    assert list(state.path.iterdir()) == []


def test_a_second_holder_is_told_who_has_the_directory(state: StateDirectory) -> None:
    state.describe(DESCRIPTION, {})

    with (
        state.locked(),
        pytest.raises(LocalStackError, match=r"already running .* http://127\.0\.0\.1:8000"),
        StateDirectory(state.path).locked(),
    ):
        pytest.fail("two systems hold one directory")


@pytest.mark.parametrize("place", ["a file", "a file/below it", "read-only"])
def test_a_directory_that_cannot_be_written_to_says_what_to_do(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "read-only" / "lock").mkdir(parents=True)  # no file can be opened there, by root neither

    with (
        pytest.raises(LocalStackError, match=r"^STATE_DIR: .* cannot be used \(.+\)\. Set STATE_DIR to "),
        StateDirectory(tmp_path / place).locked(),
    ):
        pytest.fail("it was taken for usable")


def test_the_lock_is_free_after_its_holder(state: StateDirectory) -> None:
    with state.locked():
        pass

    with StateDirectory(state.path).locked():
        assert True


def test_a_reset_leaves_what_is_not_ours(state: StateDirectory) -> None:
    LocalSecrets.load_or_generate(state.secrets)
    (state.path / "postgres" / "base").mkdir(parents=True)
    (state.path / "journal").mkdir()
    (state.path / "thesis.txt").write_text("three years of work")

    state.reset()

    assert [path.name for path in state.path.iterdir()] == ["thesis.txt"]


def test_what_a_killed_system_left_is_ended(state: StateDirectory) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as leftover:
        state.record_processes({"postgres": leftover.pid})

        state.end_leftovers()

        assert leftover.wait(30) != 0


def test_a_process_that_only_has_the_same_number_is_left_alone(state: StateDirectory) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        state.record_processes({"postgres": stranger.pid})
        record = state.path / "processes.json"
        record.write_text(record.read_text().replace(f'"{start_mark(stranger.pid)}"', '"1"'))

        state.end_leftovers()

        assert stranger.poll() is None
        stranger.kill()


def test_a_half_written_record_is_no_obstacle(state: StateDirectory) -> None:
    (state.path / "processes.json").write_text('[{"name": "postg')

    state.end_leftovers()

    assert list(state.path.iterdir()) == []


def test_secrets_are_made_once_and_kept_private(state: StateDirectory) -> None:
    made = LocalSecrets.load_or_generate(state.secrets)

    assert LocalSecrets.load_or_generate(state.secrets) == made
    assert state.secrets.stat().st_mode & 0o777 == 0o600
    assert made.encryption_key.get_secret_value() not in repr(made)
    assert len(bytes.fromhex(made.encryption_key.get_secret_value())) == 32


@pytest.mark.parametrize("content", ["", "[]", '{"jwt_secret": "canary"}'])
def test_unreadable_secrets_say_what_to_do(state: StateDirectory, content: str) -> None:
    state.secrets.write_text(content)

    with pytest.raises(LocalStackError, match="RESET=1"):
        LocalSecrets.load_or_generate(state.secrets)
