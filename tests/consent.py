"""Passes the demo service's sign-in and consent screens as a browser does: by following links and sending forms."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

MAX_STEPS = 12


async def pass_consent(auth_url: str, account: str = "ada", *, allow: bool = True) -> str:
    """Sign in as `account` and allow or cancel; the URL of our callback that the service redirects to."""
    # The service is on this machine, without TLS: reading the list of authorities would take longer than all of this.
    async with httpx.AsyncClient(trust_env=False, timeout=30, verify=False) as browser:  # noqa: S501
        reply = await browser.get(auth_url)
        for _ in range(MAX_STEPS):
            if reply.is_redirect:
                target = urljoin(str(reply.url), reply.headers["location"])
                if urlsplit(target).path == "/api/integrations/oauth/callback":
                    return target
                reply = await browser.get(target)
            else:
                reply = await _send_form(browser, reply, account, allow=allow)
    raise AssertionError(f"The service did not redirect back: HTTP {reply.status_code}\n{reply.text}")


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL's query."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def _send_form(browser: httpx.AsyncClient, page: httpx.Response, account: str, *, allow: bool) -> httpx.Response:
    actions = [unescape(action) for action in re.findall(r'action="([^"]+)"', page.text)]
    wanted = ("/login", "/allow") if allow else ("/login", "/cancel")
    action = next(action for action in actions if action.endswith(wanted))
    fields: dict[str, Any] = {"login": account} if action.endswith("/login") else {}
    return await browser.post(urljoin(str(page.url), action), data=fields)
