"""Which pages may read the API's answers: a browser asks, and the API names the listed origins alone."""

import json

import pytest

from tests.browser.app_window import AppWindow
from tests.browser.profile import Profile, fetch_from
from tests.browser.site import Site
from tests.local_system import LocalSystem


@pytest.mark.parametrize("credentials", ["omit", "include"])
async def test_a_page_of_an_unlisted_origin_reads_nothing_even_with_the_users_token(
    ada: AppWindow, profile: Profile, foreign_site: Site, local_system: LocalSystem, credentials: str
) -> None:
    listing = f"{local_system.api_url}/api/integrations"
    token = await ada.access_token()
    foreign = await profile.context.new_page()
    await foreign.goto(foreign_site.origin)
    allowed = await fetch_from(ada.page, listing, token=token, credentials=credentials)
    refused = await fetch_from(foreign, listing, token=token, credentials=credentials)
    assert allowed["status"] == 200
    assert refused == {"refused": "Failed to fetch"}


async def test_a_page_of_an_unlisted_origin_starts_nothing(
    ada: AppWindow, profile: Profile, foreign_site: Site, local_system: LocalSystem
) -> None:
    foreign = await profile.context.new_page()
    await foreign.goto(foreign_site.origin)
    refused = await fetch_from(
        foreign,
        f"{local_system.api_url}/api/integrations/oauth/initiate",
        token=await ada.access_token(),
        body=json.dumps({"service_name": "demo_crm"}),
        credentials="include",
    )
    assert refused == {"refused": "Failed to fetch"}
    assert await profile.context.cookies() == []


async def test_the_app_reads_why_it_was_refused(ada: AppWindow, local_system: LocalSystem) -> None:
    refused = await fetch_from(ada.page, f"{local_system.api_url}/api/integrations", token="canary")
    assert refused["status"] == 401
    assert refused["body"]["code"] == "token_malformed"
