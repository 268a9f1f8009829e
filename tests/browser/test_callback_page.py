"""Our own page at the end of a flow that named no page to come back to: who it tells what, in a real browser."""

from typing import Any

from playwright.async_api import Page

from tests.browser.app_window import AppWindow
from tests.browser.demo_pages import allow, sign_in
from tests.browser.profile import Profile
from tests.browser.site import Site
from tests.local_system import LocalSystem
from tests.scripted_service import ScriptedService

CALLBACK = "/api/integrations/oauth/callback"
LISTEN_TO_WINDOWS = "() => { window.heard = []; addEventListener('message', ({ data }) => heard.push(data)) }"
LISTEN_TO_ORIGIN = """() => {
    window.heard = [];
    new BroadcastChannel("supabase-integrations").onmessage = ({ data }) => heard.push(data);
}"""


async def test_the_person_and_this_origins_windows_are_told_and_the_policy_lets_that_happen(
    ada: AppWindow, profile: Profile, local_system: LocalSystem
) -> None:
    listening = await listening_window(profile, local_system)
    await ada.page.goto(await ada.authorize_link(local_system, service_name="demo_crm"))
    await sign_in(ada.page, "ada.lovelace")
    await allow(ada.page)
    await ends_with(ada.page, "Connected")
    (told,) = await heard(listening)
    assert told.keys() == {"type", "integration_id"}
    assert policy_violations(profile) == []


async def test_a_popup_tells_the_app_that_opened_it(
    ada: AppWindow, profile: Profile, consenting: ScriptedService
) -> None:
    popup = await ada.connect_in_a_popup("scripted", cookie=True)
    await popup.get_by_text("Allow").click()
    await ends_with(popup, "Connected")
    await ada.shows("connected")
    assert await ada.came_back_with("integration_id") == await ada.listed_id()
    assert policy_violations(profile) == []


async def test_a_popup_without_the_cookie_hands_the_app_what_it_finishes_with(
    ada: AppWindow, profile: Profile, consenting: ScriptedService
) -> None:
    popup = await ada.connect_in_a_popup("scripted", cookie=False)
    await popup.get_by_text("Allow").click()
    await ends_with(popup, "Almost done")
    await ada.shows("connected")
    assert await ada.came_back_with("integration_handle") == await ada.listed_id()
    assert policy_violations(profile) == []


async def test_a_popup_that_lost_its_opener_tells_the_person(ada: AppWindow, profile: Profile) -> None:
    """The demo service's pages have a Cross-Origin-Opener-Policy, as those of the big ones do."""
    popup = await ada.connect_in_a_popup("demo_crm", cookie=True)
    await sign_in(popup, "ada.lovelace")
    await allow(popup)
    await ends_with(popup, "Connected")
    assert await popup.evaluate("opener") is None
    await ada.shows("started")
    await ada.page.reload()
    await ada.shows("signed in")
    await ada.lists(["demo_crm ada.lovelace active"])
    assert policy_violations(profile) == []


async def test_an_opener_of_an_unlisted_origin_hears_nothing(
    ada: AppWindow, profile: Profile, foreign_site: Site, local_system: LocalSystem, consenting: ScriptedService
) -> None:
    link = await ada.authorize_link(local_system, service_name="scripted")
    opener = await profile.context.new_page()
    await opener.goto(foreign_site.origin)
    await opener.evaluate(LISTEN_TO_WINDOWS)
    async with opener.expect_popup() as opened:
        await opener.evaluate("link => { window.open(link) }", link)
    popup = await opened.value
    await popup.get_by_text("Allow").click()
    await ends_with(popup, "Connected")
    # Messages from one window arrive in their order: had our page sent one, it would stand before this.
    await popup.evaluate("opener.postMessage('the last one', '*')")
    assert await heard(opener) == ["the last one"]


async def test_a_forged_callback_tells_the_person_and_no_window(
    profile: Profile, app: Site, local_system: LocalSystem
) -> None:
    listening = await listening_window(profile, local_system)
    opener = await profile.context.new_page()
    await opener.goto(app.origin)
    await opener.evaluate(LISTEN_TO_WINDOWS)
    async with opener.expect_popup() as opened:
        forged = f"{local_system.api_url}{CALLBACK}?code=canary&state=forged"
        await opener.evaluate("link => { window.open(link) }", forged)
    popup = await opened.value
    await ends_with(popup, "Not connected")
    await popup.evaluate("opener.postMessage('the last one', '*')")
    await popup.evaluate("new BroadcastChannel('supabase-integrations').postMessage('the last one')")
    assert await heard(opener) == await heard(listening) == ["the last one"]
    assert policy_violations(profile) == []


async def ends_with(page: Page, title: str) -> None:
    """Wait for our page and what it says first."""
    await page.get_by_role("heading", name=title, exact=True).wait_for()


async def listening_window(profile: Profile, system: LocalSystem) -> Page:
    """Another window of the API's origin, such as a console."""
    page = await profile.context.new_page()
    await page.goto(f"{system.api_url}/healthz")
    await page.evaluate(LISTEN_TO_ORIGIN)
    return page


async def heard(page: Page) -> list[Any]:
    """What a listening window was told; waits for the first message."""
    await page.wait_for_function("heard.length > 0")
    messages: list[Any] = await page.evaluate("heard")
    return messages


def policy_violations(profile: Profile) -> list[str]:
    """What a page's Content-Security-Policy kept from happening. (Other complaints are due: our page addresses every
    allowed origin, and just one is its opener's.)
    """
    return [text for text in profile.complaints if "Content Security Policy" in text]
