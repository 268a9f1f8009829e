"""The one local system that all tests over HTTP share."""

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.local_system import DevProcess, LocalSystem


@pytest.fixture(scope="session")
def local_environment() -> Mapping[str, str]:
    """Further settings for the shared system, such as PROVIDERS_FILE; a directory's conftest may override this."""
    return {}


@pytest.fixture(scope="session")
def local_system(
    tmp_path_factory: pytest.TempPathFactory, local_environment: Mapping[str, str]
) -> Iterator[LocalSystem]:
    """A running system: the one whose dev.json DEV_JSON names, or one that is started at the first use.

    Its logs stay in `log_dir` after the run, so that they can be searched for what must not be in them.
    """
    running = os.environ.get("DEV_JSON")
    if running:
        yield LocalSystem.read(Path(running))
        return
    dev = DevProcess(tmp_path_factory.mktemp("local-system") / "state", local_environment)
    system = dev.start()
    yield system
    dev.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every child's log beside a failure that involved the local system."""
    report = yield
    system = getattr(item, "funcargs", {}).get("local_system")
    if isinstance(system, LocalSystem) and report.when == "call" and report.failed:
        for log in sorted(system.log_dir.glob("*.log")):
            report.sections.append((f"end of {log.name}", _tail(log)))
    return report


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])
