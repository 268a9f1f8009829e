"""Connecting an account in a real browser: what its cookies, redirects and storage make of the flow."""

from playwright.async_api import Page

from tests.browser.app_window import AppWindow
from tests.browser.demo_pages import allow, cancel, sign_in
from tests.browser.profile import Profile
from tests.browser.site import Site
from tests.local_system import LocalSystem

CALLBACK = "/api/integrations/oauth/callback"


async def test_the_cookie_finishes_the_flow_by_itself(ada: AppWindow, profile: Profile) -> None:
    await ada.connect(cookie=True)
    await sign_in(ada.page, "ada.lovelace")
    await allow(ada.page)
    await ada.shows("connected")
    assert await ada.came_back_with("integration_id") == await ada.listed_id()
    await ada.lists(["demo_crm ada.lovelace active"])
    assert profile.asked_for("POST", CALLBACK) == []
    assert profile.complaints == []


async def test_no_script_reads_the_cookie_and_the_end_takes_it_away(ada: AppWindow, profile: Profile) -> None:
    await ada.connect(cookie=True)
    await sign_in(ada.page, "ada.lovelace")
    (cookie,) = await binding_cookies(profile)
    assert cookie.items() >= {"httpOnly": True, "secure": True, "sameSite": "Lax", "domain": "127.0.0.1"}.items()
    assert await readable_cookies(ada.page) == ""
    await allow(ada.page)
    await ada.shows("connected")
    assert await readable_cookies(ada.page) == ""
    assert await binding_cookies(profile) == []


async def test_without_the_cookie_the_app_finishes(ada: AppWindow, profile: Profile) -> None:
    await ada.connect(cookie=False)
    await sign_in(ada.page, "ada.lovelace")
    assert await binding_cookies(profile) == []
    await allow(ada.page)
    await ada.shows("connected")
    assert await ada.came_back_with("integration_handle") == await ada.listed_id()
    await ada.lists(["demo_crm ada.lovelace active"])
    assert len(profile.asked_for("POST", CALLBACK)) == 1
    assert profile.complaints == []


async def test_on_another_site_the_browser_drops_the_cookie_and_the_app_finishes(profile: Profile, app: Site) -> None:
    """The app asks for the cookie, as it would anywhere: it need not know on which site it runs."""
    ada = await AppWindow.open(profile, app.distant_origin)
    await ada.sign_up()
    await ada.connect(cookie=True)
    await sign_in(ada.page, "ada.lovelace")
    assert await binding_cookies(profile) == []
    await allow(ada.page)
    await ada.shows("connected")
    await ada.came_back_with("integration_handle")
    await ada.lists(["demo_crm ada.lovelace active"])


async def test_a_victim_who_follows_an_attackers_link_cannot_finish_it(
    ada: AppWindow, mallory: AppWindow, profile: Profile, app: Site, local_system: LocalSystem
) -> None:
    """His browser has the cookie, hers consents. The app is a careless one: it sends on every handle it is given."""
    await ada.page.goto(await mallory.authorize_link(local_system, service_name="demo_crm", redirect_to=app.pages[0]))
    await sign_in(ada.page, "victim")
    await allow(ada.page)
    await ada.shows("invalid_state")
    await ada.came_back_with("integration_handle")
    await ada.lists([])
    assert len(profile.asked_for("POST", CALLBACK)) == 1
    await mallory.page.reload()
    await mallory.shows("signed in")
    await mallory.lists([])


async def test_cancelling_ends_with_a_code_that_the_app_can_show(ada: AppWindow, profile: Profile) -> None:
    await ada.connect(cookie=True)
    await sign_in(ada.page, "ada.lovelace")
    await cancel(ada.page)
    await ada.shows("access_denied")
    assert await ada.came_back_with("integration_error") == "access_denied"
    await ada.lists([])
    assert await binding_cookies(profile) == []
    assert profile.complaints == []


async def binding_cookies(profile: Profile) -> list[dict[str, object]]:
    """What this browser keeps for our callback."""
    cookies = await profile.context.cookies()
    return [dict(cookie) for cookie in cookies if cookie.get("name", "").startswith("__Host-integrations-")]


async def readable_cookies(page: Page) -> str:
    """All that a script of this page sees: those of every port of its host."""
    text: str = await page.evaluate("document.cookie")
    return text
