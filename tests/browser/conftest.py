"""A real Chromium, and people with the app open in browsers of their own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser

from tests import canaries
from tests.browser.app_window import AppWindow
from tests.browser.chromium import find_chromium, running_chromium
from tests.browser.profile import Profile, new_profile
from tests.browser.site import Site, running_site
from tests.local_system import LocalSystem, free_ports
from tests.scripted_service import Answer, ScriptedService

CONSENT_PAGE = f"""<!doctype html>
<link rel="icon" href="data:,">
<a>Allow</a>
<script>
  const asked = new URLSearchParams(location.search);
  const back = new URL(asked.get("redirect_uri"));
  back.search = new URLSearchParams({{ code: "{canaries.CODE}", state: asked.get("state") }});
  document.querySelector("a").href = back;
</script>
"""


@pytest.fixture(scope="session", autouse=True)
def chromium_path() -> str:
    """Looked for before anything else, so that a skip starts nothing."""
    return find_chromium()


@pytest.fixture(scope="session")
async def chromium(chromium_path: str) -> AsyncIterator[Browser]:
    """One browser; each test has profiles of its own in it."""
    async with running_chromium(chromium_path) as browser:
        yield browser


@pytest.fixture
def app(app_site: Site, local_system: LocalSystem) -> Site:
    """The app, told where the shared system is."""
    app_site.system = local_system
    return app_site


@pytest.fixture
async def profile(chromium: Browser) -> AsyncIterator[Profile]:
    """Ada's browser."""
    async with new_profile(chromium) as profile:
        yield profile


@pytest.fixture
async def ada(profile: Profile, app: Site) -> AppWindow:
    """A user with the app open and nothing connected yet."""
    return await _signed_up(profile, app)


@pytest.fixture
async def mallory(chromium: Browser, app: Site) -> AsyncIterator[AppWindow]:
    """Another user, at a browser of his own and with bad intentions."""
    async with new_profile(chromium) as profile:
        yield await _signed_up(profile, app)


@pytest.fixture
def foreign_site(local_system: LocalSystem) -> Iterator[Site]:
    """The same pages at an origin that no setting lists: what an attacker can make of them."""
    (port,) = free_ports(1)
    with running_site(port) as site:
        site.system = local_system
        yield site


@pytest.fixture
def consenting(scripted_service: ScriptedService) -> Iterator[ScriptedService]:
    """The scripted service with a consent page that, unlike the demo service's, does not hide from its opener."""
    scripted_service.reset()
    page = {"content-type": "text/html"}
    scripted_service.scripts["/authorize"] = lambda _: Answer(200, CONSENT_PAGE.encode(), page)
    yield scripted_service
    scripted_service.reset()


async def _signed_up(profile: Profile, app: Site) -> AppWindow:
    window = await AppWindow.open(profile, app.origin)
    await window.sign_up()
    return window
