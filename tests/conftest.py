"""The one local system that all tests over HTTP share."""

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests import canaries
from tests.browser.site import Site, running_site
from tests.local_system import DevProcess, LocalSystem, free_ports
from tests.scripted_service import ScriptedService, running_service

APP_ORIGIN = "http://localhost:3000"
APP_PAGE = f"{APP_ORIGIN}/integrations"
OTHER_PAGE = "https://app.example/connected?tab=crm"


@pytest.fixture(scope="session")
def scripted_service() -> Iterator[ScriptedService]:
    """A third-party service that answers as a test wants; the shared system knows it as `scripted`."""
    (port,) = free_ports(1)
    with running_service(port) as service:
        yield service


@pytest.fixture(scope="session")
def app_site() -> Iterator[Site]:
    """The app that browsers open. It listens before the shared system picks its own ports."""
    (port,) = free_ports(1)
    with running_site(port) as site:
        yield site


@pytest.fixture(scope="session")
def local_environment(scripted_service: ScriptedService, app_site: Site) -> Mapping[str, str]:
    """Further settings for the shared system: the tests' own services, and secrets that can be searched for."""
    names = ("HUBSPOT_CLIENT", "META_APP", "SCRIPTED_CLIENT", "ISSUING_CLIENT", "INWARD_CLIENT")
    secrets = {f"{name}_SECRET": canaries.CLIENT_SECRET for name in names}
    return {
        # Nothing renews a connection behind a test's back; tests/worker has workers of its own.
        "WORKER": "off",
        "PROVIDERS_FILE": str(Path(__file__).with_name("services.toml")),
        "SCRIPTED_URL": scripted_service.url,
        "ENCRYPTION_KEY": canaries.ENCRYPTION_KEY,
        "ALLOWED_REDIRECT_URLS": ",".join([APP_PAGE, OTHER_PAGE, *app_site.pages]),
        "ALLOWED_ORIGINS": ",".join([APP_ORIGIN, *app_site.origins]),
        "SHOPIFY_API_KEY": "canary-shopify-id",
        "SHOPIFY_API_SECRET": canaries.CLIENT_SECRET,
        **{f"{name}_ID": f"canary-{name.lower()}-id" for name in names},
        **secrets,
    }


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `last` look at what all the others left behind."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


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
