"""One person's browser: its own cookies and storage, and a record of what it asked for and complained about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError

from tests.browser.chromium import PATIENCE

_FETCH = """async ({ url, ...options }) => {
    try {
        const reply = await fetch(url, options);
        return { status: reply.status, body: await reply.json() };
    } catch (error) {
        return { refused: error.message };
    }
}"""


@dataclass(frozen=True, slots=True)
class Profile:
    """A browser without anything in it yet."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    """Errors that any page reported, such as violations of its own policy."""
    requests: list[Request] = field(default_factory=list)

    def asked_for(self, method: str, path: str) -> list[Request]:
        """The requests to one path, at any origin."""
        return [asked for asked in self.requests if asked.method == method and urlsplit(asked.url).path == path]

    def watch(self) -> None:
        """Keep the record from now on."""

        def note_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.complaints.append(message.text)

        def note_error(error: WebError) -> None:
            self.complaints.append(str(error.error))

        def note_request(request: Request) -> None:
            self.requests.append(request)

        self.context.on("console", note_console)
        self.context.on("weberror", note_error)
        self.context.on("request", note_request)


@asynccontextmanager
async def new_profile(chromium: Browser) -> AsyncIterator[Profile]:
    """A profile that is forgotten when the block ends."""
    context = await chromium.new_context()
    context.set_default_timeout(PATIENCE)
    profile = Profile(context)
    profile.watch()
    try:
        yield profile
    finally:
        await context.close()


async def fetch_from(
    page: Page, url: str, *, token: str, body: str | None = None, credentials: str = "omit"
) -> dict[str, Any]:
    """What a script of this page can read of a URL's answer: its `status` and `body`, or `refused`."""
    answer: dict[str, Any] = await page.evaluate(
        _FETCH,
        {
            "url": url,
            "method": "POST" if body else "GET",
            "headers": {"authorization": f"Bearer {token}", "content-type": "application/json"},
            "credentials": credentials,
            "body": body,
        },
    )
    return answer
