"""One local system for the tests of the local system itself. They may stop it: who needs it running starts it again."""

from collections.abc import Iterator

import pytest

from tests.local_system import DevProcess, LocalSystem


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """A system with a state directory of its own."""
    dev = DevProcess(tmp_path_factory.mktemp("stack") / "state")
    yield dev
    dev.stop()


@pytest.fixture
def running(dev: DevProcess) -> LocalSystem:
    """The system, started if it is not running."""
    if dev.process is None:
        return dev.start()
    return LocalSystem.read(dev.dev_json)


@pytest.fixture
def stopped(dev: DevProcess) -> DevProcess:
    """The system, stopped but started before: there is a state directory."""
    if dev.process is None and not dev.state_dir.exists():
        dev.start()
    dev.stop()
    return dev
