"""What is synced of each service, over real HTTP: which records, by which ids, and from where a list goes on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supabase_integrations.clients.resources import RESOURCES
from supabase_integrations.core.errors import InvalidValueError, ServiceError, UnknownResourceError
from supabase_integrations.use_cases.integration_client import IntegrationClient
from supabase_integrations.use_cases.sync_resources import SyncResource, find_resource
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import Office, open_office

SINCE = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


@dataclass
class Reader:
    """One connection, and what its service's resources list."""

    api: IntegrationClient

    async def ids(self, resource: str, since: datetime | None = None) -> list[object]:
        """The external ids of everything."""
        found = find_resource(RESOURCES, self.api.service, resource)
        return [found.id_of(record) async for page in found.open(self.api, since).pages() for record in page.records]

    async def partial(self, resource: str) -> list[bool]:
        """Of each page, whether it says that something was refused."""
        found = find_resource(RESOURCES, self.api.service, resource)
        return [page.is_partial async for page in found.open(self.api, None).pages()]

    async def pages(self, resource: str, after: str | None) -> list[tuple[object, str | None]]:
        """Each page's first id, and where the next one begins."""
        found = find_resource(RESOURCES, self.api.service, resource)
        pages = [page async for page in found.open(self.api, None).pages(after)]
        return [(found.id_of(page.records[0]) if page.records else None, page.cursor) for page in pages]


@pytest.fixture
async def hubspot(office: Office) -> AsyncIterator[Reader]:
    """A CRM."""
    async with office.client("hubspot") as api:
        yield Reader(api)


@pytest.fixture
async def shopify(office: Office) -> AsyncIterator[Reader]:
    """A shop."""
    async with office.client("shopify") as api:
        yield Reader(api)


@pytest.fixture
async def meta(office: Office) -> AsyncIterator[Reader]:
    """A user with ad accounts."""
    async with office.client("meta_ads") as api:
        yield Reader(api)


@pytest.fixture
async def google(office: Office) -> AsyncIterator[Reader]:
    """A user with customers."""
    async with office.client("google_ads") as api:
        yield Reader(api)


@pytest.mark.parametrize("resource", ["companies", "contacts", "deals"])
async def test_hubspot_lists_everything_by_id(hubspot: Reader, fake: FakeService, resource: str) -> None:
    fake.behaviour = lambda _: answer({"results": [{"id": "1"}, {"id": "2"}]})
    assert await hubspot.ids(resource) == ["1", "2"]
    assert fake.asked[0].path.endswith(f"/{resource}")


@pytest.mark.parametrize(
    ("resource", "changed"),
    [("companies", "hs_lastmodifieddate"), ("contacts", "lastmodifieddate"), ("deals", "hs_lastmodifieddate")],
)
async def test_hubspot_is_asked_for_what_changed(
    hubspot: Reader, fake: FakeService, resource: str, changed: str
) -> None:
    fake.behaviour = lambda _: answer({"results": [{"id": "2"}]})
    assert await hubspot.ids(resource, SINCE) == ["2"]
    (group,) = fake.asked[0].json["filterGroups"]
    assert group["filters"] == [{"propertyName": changed, "operator": "GTE", "value": "1795163400000"}]


@pytest.mark.parametrize("resource", ["orders", "products"])
async def test_shopify_is_asked_for_what_changed(shopify: Reader, fake: FakeService, resource: str) -> None:
    page = {"nodes": [{"id": "gid://shopify/Product/1"}], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    fake.behaviour = lambda _: answer({"data": {resource: page}})
    assert await shopify.ids(resource, SINCE) == ["gid://shopify/Product/1"]
    assert await shopify.ids(resource) == ["gid://shopify/Product/1"]
    searches = [asked.json["variables"]["search"] for asked in fake.asked]
    assert searches == ["updated_at:>='2026-11-20T08:30:00Z'", None]


def two_ad_accounts(asked: Asked) -> Answer:
    """Account 1 has two pages of campaigns, account 2 has one."""
    if asked.path.endswith("/me/adaccounts"):
        return answer({"data": [{"id": "act_2"}, {"id": "act_1"}]})
    account = "act_1" if "/act_1/" in asked.path else "act_2"
    first = account == "act_1" and not asked.query.get("after")
    record: dict[str, Any] = {
        "id": f"{account}-{'a' if first else 'b'}",
        "campaign_id": account,
        "date_start": "2026-11-01",
    }
    paging = {"paging": {"next": "https://graph.facebook.com/?access_token=canary", "cursors": {"after": "p2"}}}
    return answer({"data": [record], **(paging if first else {})})


async def test_meta_campaigns_of_all_accounts_are_one_list(meta: Reader, fake: FakeService) -> None:
    fake.behaviour = two_ad_accounts
    assert await meta.ids("campaigns") == ["act_1-a", "act_1-b", "act_2-b"]


async def test_such_a_list_goes_on_from_every_place(meta: Reader, fake: FakeService) -> None:
    fake.behaviour = two_ad_accounts
    whole = await meta.pages("campaigns", None)
    assert [first for first, _ in whole] == ["act_1-a", "act_1-b", "act_2-b"]
    for place, (_, cursor) in enumerate(whole[:-1], start=1):
        assert await meta.pages("campaigns", cursor) == whole[place:]
    assert all("canary" not in (cursor or "") for _, cursor in whole)


async def test_an_account_that_is_gone_by_then_is_passed_over(meta: Reader, fake: FakeService) -> None:
    fake.behaviour = two_ad_accounts
    assert await meta.pages("campaigns", '["act_11","p2",false]') == [("act_2-b", None)]


@pytest.mark.parametrize(
    "cursor", ["p2", "2", "{}", '["act_1"]', '["act_1","p2"]', '["act_1",2,true]', '["act_1","p2",1]']
)
async def test_another_lists_cursor_is_refused(meta: Reader, fake: FakeService, cursor: str) -> None:
    fake.behaviour = two_ad_accounts
    with pytest.raises(InvalidValueError):
        await meta.pages("campaigns", cursor)


async def test_one_refused_account_keeps_no_other_out_and_all_of_them_do(meta: Reader, fake: FakeService) -> None:
    def refusing(*accounts: str) -> None:
        def behaviour(asked: Asked) -> Answer:
            closed = any(f"/{account}/" in asked.path for account in accounts)
            return answer({"error": {"code": 10}}, 403) if closed else two_ad_accounts(asked)

        fake.behaviour = behaviour

    refusing()
    assert await meta.partial("campaigns") == [False, False, False]
    refusing("act_1")
    assert await meta.ids("campaigns") == ["act_2-b"]
    assert await meta.partial("campaigns") == [True]
    refusing("act_2")
    assert await meta.ids("campaigns") == ["act_1-a", "act_1-b"]
    assert await meta.partial("campaigns") == [False, False, True]
    refusing("act_1", "act_2")
    with pytest.raises(ServiceError):
        await meta.ids("campaigns")


async def test_a_list_that_is_gone_on_with_remembers_that_a_part_was_refused(meta: Reader, fake: FakeService) -> None:
    """Also where none of the accounts that are left is there any more."""
    fake.behaviour = two_ad_accounts
    meta_campaigns = find_resource(RESOURCES, meta.api.service, "campaigns").open(meta.api, None)
    for after, told in (
        ('["act_1","p2",true]', [True, True]),
        ('["act_1","p2",false]', [False, False]),
        ('["act_9",null,true]', [True]),
        ('["act_9",null,false]', []),
    ):
        assert [page.is_partial async for page in meta_campaigns.pages(after)] == told


async def test_meta_insights_are_named_by_campaign_and_day(meta: Reader, fake: FakeService) -> None:
    fake.behaviour = two_ad_accounts
    assert (await meta.ids("insights"))[0] == "act_1/2026-11-01"
    assert fake.asked[-1].query["time_increment"] == "1"
    assert not RESOURCES["meta_ads"]["insights"].is_whole


async def test_google_campaigns_of_all_customers_are_one_list(google: Reader, fake: FakeService) -> None:
    def behaviour(asked: Asked) -> Answer:
        if asked.path.endswith(":listAccessibleCustomers"):
            return answer({"resourceNames": ["customers/1234567890", "customers/2234567890"]})
        customer = asked.path.split("/customers/")[1][:10]
        if customer.startswith("2"):
            return answer({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, 403)
        return answer({"results": [{"campaign": {"resourceName": f"customers/{customer}/campaigns/7"}}]})

    fake.behaviour = behaviour
    assert await google.ids("campaigns") == ["customers/1234567890/campaigns/7"]


def test_a_record_without_an_id_has_none() -> None:
    for resources in RESOURCES.values():
        for resource in resources.values():
            assert resource.id_of({}) is None


def test_an_unknown_resource_is_told_with_those_there_are(office: Office) -> None:
    with pytest.raises(UnknownResourceError, match=r"^hubspot has .* It has: companies, contacts, deals\.$"):
        find_resource(RESOURCES, office.catalogue.get("hubspot"), "invoices")
    with pytest.raises(UnknownResourceError, match=r"It has: none\.$"):
        find_resource({}, office.catalogue.get("hubspot"), "contacts")


async def test_a_service_has_the_resources_of_those_it_is_based_on(fake: FakeService, tmp_path: Path) -> None:
    fake.behaviour = lambda _: answer({"results": [{"id": "1"}]})
    based = """
        [service.hubspot_eu]
        based_on = "hubspot"
        [service.hubspot_test]
        based_on = "hubspot_eu"
        [service.hubspot]
        based_on = "hubspot"
    """
    async with open_office(fake, tmp_path, based) as office:
        for name in ("hubspot", "hubspot_eu", "hubspot_test"):
            async with office.client(name) as api:
                assert await Reader(api).ids("contacts") == ["1"]
                assert await Reader(api).ids("deals", SINCE) == ["1"]
        own = SyncResource(RESOURCES["hubspot"]["deals"].open, lambda _: "own")
        resources = {**RESOURCES, "hubspot_eu": {"deals": own}}
        assert find_resource(resources, office.catalogue.get("hubspot_test"), "deals") is own
        assert find_resource(resources, office.catalogue.get("hubspot"), "deals") is not own
        assert find_resource(resources, office.catalogue.get("hubspot_test"), "contacts").lists_changes


async def test_a_service_that_replaces_one_whole_is_based_on_nothing(fake: FakeService, tmp_path: Path) -> None:
    text = """
        [service.hubspot_eu]
        based_on = "hubspot"
        [service.plain]
        display_name = "Plain"
        service_type = "crm"
        auth = "api_key"
    """
    again = text.partition("[service.plain]")[2].join(("[service.hubspot_eu]", ""))
    async with open_office(fake, tmp_path, text, again) as office:
        for name in ("plain", "hubspot_eu"):
            with pytest.raises(UnknownResourceError, match=f"^{name} has .* It has: none.$"):
                find_resource(RESOURCES, office.catalogue.get(name), "contacts")
