"""The app in a window of its own, used as a person uses it: by its labels and its buttons."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from playwright.async_api import Page, TimeoutError, expect  # noqa: A004 - playwright's own

from tests.browser.profile import Profile, fetch_from
from tests.local_system import LocalSystem

_STATUS_IS = "status => document.getElementById('status')?.textContent === status"


@dataclass(frozen=True, slots=True)
class AppWindow:
    """The window."""

    page: Page

    @classmethod
    async def open(cls, profile: Profile, origin: str) -> Self:
        """Open the app; nobody is signed in yet."""
        window = cls(await profile.context.new_page())
        await window.page.goto(origin)
        await window.shows("signed out")
        return window

    async def sign_up(self) -> None:
        """Become a new user."""
        await self.page.get_by_role("button", name="Sign up").click()
        await self.shows("signed in")

    async def access_token(self) -> str:
        """The signed-in user's."""
        token: str = await self.page.evaluate("sessionStorage.accessToken")
        return token

    async def connect(self, *, cookie: bool = True) -> None:
        """Press connect: this window goes to the demo service."""
        await self.page.get_by_label("cookie").set_checked(cookie)
        await self._press_connect()

    async def connect_in_a_popup(self, service: str, *, cookie: bool = True) -> Page:
        """Press connect: the service opens in a window of its own, where the flow ends too."""
        await self.page.get_by_label("Service").fill(service)
        await self.page.get_by_label("cookie").set_checked(cookie)
        await self.page.get_by_label("popup").check()
        async with self.page.expect_popup() as popup:
            await self._press_connect()
        return await popup.value

    async def authorize_link(self, system: LocalSystem, **body: str) -> str:
        """Start an authorization as this user, with the cookie in this browser, and stay where we are."""
        started = await fetch_from(
            self.page,
            f"{system.api_url}/api/integrations/oauth/initiate",
            token=await self.access_token(),
            body=json.dumps(body),
            credentials="include",
        )
        assert started.get("status") == 200, started
        link: str = started["body"]["auth_url"]
        return link

    async def shows(self, status: str) -> None:
        """Wait until the app says so."""
        with suppress(TimeoutError):
            # Looks at every frame; `expect`, which words a failure better, soon looks once a second only.
            await self.page.wait_for_function(_STATUS_IS, arg=status)
        await expect(self.page.locator("#status")).to_have_text(status, timeout=5_000)

    async def came_back_with(self, parameter: str) -> str:
        """The value of the one parameter that the flow ended with."""
        await expect(self.page.locator("#parameter")).to_have_text(parameter)
        return await self.page.locator("#value").inner_text()

    async def lists(self, connections: Sequence[str]) -> None:
        """Wait for the app's list of the user's connections."""
        await expect(self.page.locator("#count")).to_have_text(str(len(connections)))
        await expect(self.page.locator("#connections li")).to_have_text(connections)

    async def listed_id(self) -> str | None:
        """The id of the one connection that the app lists."""
        return await self.page.locator("#connections li").get_attribute("id")

    async def _press_connect(self) -> None:
        await self.page.get_by_role("button", name="Connect").click()
