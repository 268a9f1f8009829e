"""What all clients share: which connection they take, and lists."""

from collections.abc import Callable
from pathlib import Path

import pytest

from supabase_integrations.clients import GoogleAds, HubSpot, Listing, MetaAds, Page, Shopify
from supabase_integrations.core.errors import EndlessListError, InvalidValueError, ProviderUnavailableError
from supabase_integrations.use_cases.integration_client import IntegrationClient
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import Office, open_office


@pytest.mark.parametrize("client", [GoogleAds, HubSpot, MetaAds, Shopify])
async def test_a_connection_to_another_service_is_refused(
    office: Office, client: type[GoogleAds | HubSpot | MetaAds | Shopify]
) -> None:
    other = "shopify" if client is not Shopify else "hubspot"
    async with office.client(other) as api:
        with pytest.raises(InvalidValueError, match=f"{other}.* not to "):
            client(api)


async def test_a_service_based_on_another_is_taken_for_it_and_not_the_other_way_round(
    fake: FakeService, tmp_path: Path
) -> None:
    fake.behaviour = lambda _: answer({"results": []})
    based = '[service.hubspot_eu]\nbased_on = "hubspot"\n[service.hubspot_test]\nbased_on = "hubspot_eu"\n'
    async with open_office(fake, tmp_path, based) as office:
        for name in ("hubspot", "hubspot_eu", "hubspot_test"):
            async with office.client(name) as api:
                assert [record async for record in HubSpot(api).contacts()] == []
                assert [record async for record in HubSpot(api, service_name=name).contacts()] == []
                with pytest.raises(InvalidValueError, match="not to shopify"):
                    Shopify(api)
                if name != "hubspot_test":
                    with pytest.raises(InvalidValueError, match="not to hubspot_test"):
                        HubSpot(api, service_name="hubspot_test")


async def test_nothing_is_asked_before_it_is_wanted(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer({"results": [{"id": "1"}], "paging": {"next": {"after": "1"}}})
    async with office.client("hubspot") as api:
        contacts = HubSpot(api).contacts()
        assert fake.asked == []
        pages = contacts.pages()
        await anext(pages)
        assert len(fake.asked) == 1


async def test_a_page_that_follows_itself_ends_the_list(office: Office, fake: FakeService) -> None:
    """Or it would never end."""
    fake.behaviour = lambda _: answer({"results": [{"id": "1"}], "paging": {"next": {"after": "1"}}})
    async with office.client("hubspot") as api:
        with pytest.raises(EndlessListError):
            [record async for record in HubSpot(api).contacts()]
    assert len(fake.asked) == 2


async def test_pages_that_go_round_in_circles_end_the_list_too(office: Office, fake: FakeService) -> None:
    following = {None: "a", "a": "b", "b": "c", "c": "a"}

    def page(asked: Asked) -> Answer:
        after = following[asked.query.get("after")]
        return answer({"results": [{"id": after}], "paging": {"next": {"after": after}}})

    fake.behaviour = page
    async with office.client("hubspot") as api:
        with pytest.raises(EndlessListError):
            [record async for record in HubSpot(api).contacts()]
        assert len(fake.asked) < 10
        with pytest.raises(EndlessListError):
            [page async for page in HubSpot(api).contacts().pages(after="b")]


async def test_each_iteration_begins_anew() -> None:
    async def fetch(cursor: str | None) -> Page:
        return Page(({"id": cursor or "first"},), None if cursor else "second")

    listing = Listing(fetch)
    for _ in range(2):
        assert [record["id"] async for record in listing] == ["first", "second"]
    assert [page.records[0]["id"] async for page in listing.pages(after="second")] == ["second"]


@pytest.mark.parametrize("body", [{}, [], "text", {"results": None}, {"results": [1]}, {"results": {"id": "1"}}])
async def test_a_reply_of_another_form_is_not_an_empty_list(office: Office, fake: FakeService, body: object) -> None:
    fake.behaviour = lambda _: answer(body)
    async with office.client("hubspot") as api:
        with pytest.raises(ProviderUnavailableError, match="another form"):
            await anext(HubSpot(api).contacts().pages())


LISTS: dict[str, Callable[[IntegrationClient], Listing]] = {
    "hubspot": lambda api: HubSpot(api).contacts(),
    "hubspot, searched": lambda api: HubSpot(api).search("contacts"),
    "shopify": lambda api: Shopify(api).products(),
    "google_ads": lambda api: GoogleAds(api).search("123-456-7890", "SELECT campaign.id FROM campaign"),
}


@pytest.mark.parametrize(
    ("listed", "cursor"),
    [*((name, cursor) for name in LISTS for cursor in (None, "", 7) if name != "google_ads"), ("google_ads", 7)],
)
async def test_a_page_that_does_not_say_where_the_next_begins_is_an_error(
    office: Office, fake: FakeService, listed: str, cursor: object
) -> None:
    """Rather than an end that looks like one: a sync removes what a whole list no longer has."""
    products = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": cursor}}
    page = {"results": [], "nextPageToken": cursor, "paging": {"next": {"after": cursor}}}
    fake.behaviour = lambda _: answer({"data": {"products": products}} | page)
    async with office.client(listed.partition(",")[0]) as api:
        with pytest.raises(ProviderUnavailableError, match="another form"):
            await anext(LISTS[listed](api).pages())
