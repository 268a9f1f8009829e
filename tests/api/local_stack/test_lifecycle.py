"""Starting, stopping and killing the local system: real processes throughout."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.api.local_stack.keeper import sign_in, sign_up
from tests.local_system import DevProcess, LocalSystem, is_alive

_TERMINAL = "import pty, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); pty.spawn(sys.argv[1:])"
"""A terminal that runs its arguments as the leader of its session, and is closed by its end."""


def ended(pids: dict[str, int], seconds: float = 60) -> bool:
    """Whether all processes end within the time."""
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids.values()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_ready_system_describes_itself_to_its_owner_only(running: LocalSystem) -> None:
    """dev.json has the keys that outside tools rely on, and nobody else can read it."""
    dev_json = running.state_dir / "dev.json"
    said = json.loads(dev_json.read_text())

    assert dev_json.stat().st_mode & 0o777 == 0o600
    assert set(said) >= {
        "api_url", "supabase_url", "publishable_key", "database_url", "jwt_secret", "worker_database_url",
        "demo_url", "pids",
    }  # fmt: skip
    assert set(said["pids"]) == {"dev", "postgres", "supabase", "demo_crm", "api", "worker"}
    assert all(is_alive(pid) for pid in said["pids"].values())
    assert httpx.get(f"{running.api_url}/healthz", timeout=60).status_code == 200


def test_the_secrets_of_a_system_are_readable_by_its_owner_only(running: LocalSystem) -> None:
    """The files that open the database and the credentials are private, and so are the logs."""
    names = ("secrets.json", "demo-crm.jsonl", "dev.env")
    private = [*(running.state_dir / name for name in names), *running.log_dir.glob("*.log")]

    assert {path.name: oct(path.stat().st_mode & 0o077) for path in private if path.name != "dev.log"} == {
        path.name: "0o0" for path in private if path.name != "dev.log"
    }


@pytest.mark.parametrize("arguments", [["doctor"], ["rotate-key", "--status"], ["audit"]], ids=lambda words: words[0])
def test_a_command_works_beside_the_system_with_its_settings(running: LocalSystem, arguments: list[str]) -> None:
    """dev.env opens every door that a command needs: Auth and Data API, both logins of the database, the key."""
    command = [sys.executable, "-m", "supabase_integrations", *arguments, "--env-file", f"{running.state_dir}/dev.env"]
    told = subprocess.run(command, env={}, capture_output=True, text=True, timeout=240, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_state_directory_belongs_to_one_running_system(running: LocalSystem, dev: DevProcess) -> None:
    """A second start says that the first is running, and where."""
    second = dev.run_to_its_end()

    assert second.returncode == 1
    assert "already running" in second.stderr
    assert running.api_url in second.stderr
    assert is_alive(running.pids["dev"])


@pytest.mark.parametrize("setting", ["PORT", "SUPABASE_PORT", "DB_PORT", "DEMO_PORT"])
def test_a_busy_port_is_named_with_its_setting(
    running: LocalSystem, dev: DevProcess, setting: str, tmp_path: Path
) -> None:
    """The message tells which port and which setting, and nothing is left of the attempt."""
    other = DevProcess(tmp_path / "state")

    attempt = other.run_to_its_end(**{setting: str(dev.ports[setting])})

    assert attempt.returncode == 1
    assert f"port {dev.ports[setting]} is already in use" in attempt.stderr
    assert f"with {setting}" in attempt.stderr
    assert not other.dev_json.exists()


def test_all_busy_ports_are_named_at_once(running: LocalSystem, dev: DevProcess, tmp_path: Path) -> None:
    """A second clone's first start meets all four of the first one's."""
    attempt = DevProcess(tmp_path / "state").run_to_its_end(**{name: str(port) for name, port in dev.ports.items()})

    assert attempt.returncode == 1
    assert [line.split(" with ")[1] for line in attempt.stderr.splitlines()] == [
        f"{setting}, or end what uses it." for setting in ("PORT", "DEMO_PORT", "SUPABASE_PORT", "DB_PORT")
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_system_leaves_no_process_and_keeps_its_data(
    running: LocalSystem, dev: DevProcess, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM end everything in order; who signed up before can sign in after the next start."""
    if number is signal.SIGINT:
        assert sign_up(running).status_code == 200
    else:
        assert sign_in(running).status_code == 200

    os.kill(running.pids["dev"], number)

    assert dev.process is not None
    assert dev.process.wait(60) == 0
    dev.process = None
    assert ended(running.pids, 0)
    assert not dev.dev_json.exists()


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(running: LocalSystem, dev: DevProcess) -> None:
    """kill -9 leaves dev.json behind, but nothing that runs; the next start is not put off by it."""
    os.kill(running.pids["dev"], signal.SIGKILL)
    assert dev.process is not None
    dev.process.wait(60)

    assert ended(running.pids)
    assert dev.dev_json.exists()
    dev.dev_json.unlink()
    assert sign_in(dev.start()).status_code == 200


def test_a_killed_parent_ends_the_system(stopped: DevProcess) -> None:
    """As `make dev` starts it: when make is killed, nothing stays."""
    script = f'"{sys.executable}" -m supabase_integrations dev --parent $$ & wait'
    parent = subprocess.Popen(
        ["sh", "-c", script],
        env=stopped.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not stopped.dev_json.exists():
        assert parent.poll() is None
        time.sleep(0.05)
    system = LocalSystem.read(stopped.dev_json)

    parent.kill()
    parent.wait()

    assert ended(system.pids)
    assert not stopped.dev_json.exists()


def test_a_closed_terminal_ends_the_system(stopped: DevProcess, tmp_path: Path) -> None:
    """As with `ssh -t HOST make dev`: make leads the session, so it alone is told, and it waits for its command."""
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"dev:\n\t@exec '{sys.executable}' -m supabase_integrations dev --parent $$PPID\n")
    terminal = subprocess.Popen(
        [sys.executable, "-c", _TERMINAL, "make", "--file", str(makefile)],
        env=stopped.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not stopped.dev_json.exists():
        assert terminal.poll() is None
        time.sleep(0.05)
    system = LocalSystem.read(stopped.dev_json)

    terminal.kill()
    terminal.wait()

    assert ended(system.pids)
    assert not stopped.dev_json.exists()


def test_a_child_that_dies_ends_the_system_and_is_named(running: LocalSystem, dev: DevProcess) -> None:
    """Half a system would mislead: the rest stops, and the message shows which process it was and its log."""
    os.kill(running.pids["supabase"], signal.SIGKILL)

    assert dev.process is not None
    assert dev.process.wait(60) == 1
    dev.process = None
    assert ended(running.pids, 0)
    assert "supabase ended by itself with status -9" in dev.log.read_text()
