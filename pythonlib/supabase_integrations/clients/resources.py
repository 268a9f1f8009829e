"""Which of the services' lists can be synced into synced_records, and how their records are called."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from ..core.json_types import JsonObject
from ..use_cases.integration_client import IntegrationClient
from ..use_cases.sync_resources import RecordPages, SyncResource, SyncResources
from .demo_crm import DemoCrm
from .google_ads import GoogleAds
from .hubspot import HubSpot
from .meta_ads import CAMPAIGN_FIELDS, INSIGHT_FIELDS, MetaAds
from .nested import Nested
from .paging import member
from .shopify import Shopify

INSIGHT_DAYS: Final = 28
"""How far back Meta corrects what an ad brought, and so how much of it each run asks for."""
GOOGLE_CAMPAIGNS: Final = (
    "SELECT customer.id, campaign.id, campaign.name, campaign.status, campaign.advertising_channel_type FROM campaign"
)


def _id(record: JsonObject) -> object:
    return record.get("id")


def _demo_contacts(api: IntegrationClient, _since: datetime | None) -> RecordPages:
    return DemoCrm(api).contacts()


def _hubspot(object_type: str, changed: str) -> SyncResource:
    """`changed` is the property that holds when an object last changed: contacts call it otherwise than all others."""

    def pages(api: IntegrationClient, since: datetime | None) -> RecordPages:
        if since is None:
            return HubSpot(api).objects(object_type)
        milliseconds = str(int(since.timestamp() * 1000))
        return HubSpot(api).search(object_type, [{"propertyName": changed, "operator": "GTE", "value": milliseconds}])

    return SyncResource(pages, _id, lists_changes=True)


def _shopify_search(since: datetime | None) -> str:
    return f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" if since else ""


def _shopify_products(api: IntegrationClient, since: datetime | None) -> RecordPages:
    return Shopify(api).products(search=_shopify_search(since))


def _shopify_orders(api: IntegrationClient, since: datetime | None) -> RecordPages:
    return Shopify(api).orders(search=_shopify_search(since))


def _meta_campaigns(api: IntegrationClient, _since: datetime | None) -> RecordPages:
    meta = MetaAds(api)
    fields = ("account_id", *CAMPAIGN_FIELDS)
    return Nested(lambda: _meta_accounts(meta), lambda account: meta.campaigns(account, fields=fields))


def _meta_insights(api: IntegrationClient, _since: datetime | None) -> RecordPages:
    meta = MetaAds(api)
    until = datetime.now(UTC).date()
    since = until - timedelta(days=INSIGHT_DAYS)
    fields = ("account_id", *INSIGHT_FIELDS)
    return Nested(
        lambda: _meta_accounts(meta), lambda account: meta.insights(account, since, until, fields=fields, days=1)
    )


async def _meta_accounts(meta: MetaAds) -> Iterable[str]:
    return [str(account.get("id")) async for account in meta.ad_accounts()]


def _insight_id(record: JsonObject) -> object:
    campaign, day = record.get("campaign_id"), record.get("date_start")
    return f"{campaign}/{day}" if campaign and day else None


def _google_campaigns(api: IntegrationClient, _since: datetime | None) -> RecordPages:
    google = GoogleAds(api)
    return Nested(google.accessible_customers, lambda customer: google.search(customer, GOOGLE_CAMPAIGNS))


RESOURCES: Final[SyncResources] = {
    "demo_crm": {"contacts": SyncResource(_demo_contacts, _id)},
    "hubspot": {
        "companies": _hubspot("companies", "hs_lastmodifieddate"),
        "contacts": _hubspot("contacts", "lastmodifieddate"),
        "deals": _hubspot("deals", "hs_lastmodifieddate"),
    },
    "shopify": {
        # Without a further scope Shopify lists the orders of 60 days alone: older ones are not gone.
        "orders": SyncResource(_shopify_orders, _id, lists_changes=True, is_whole=False),
        "products": SyncResource(_shopify_products, _id, lists_changes=True),
    },
    "meta_ads": {
        "campaigns": SyncResource(_meta_campaigns, _id),
        "insights": SyncResource(_meta_insights, _insight_id, is_whole=False),
    },
    "google_ads": {
        "campaigns": SyncResource(_google_campaigns, lambda record: member(record, "campaign", "resourceName")),
    },
}
