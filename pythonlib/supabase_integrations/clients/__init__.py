"""Clients of single services, on top of `IntegrationClient`: small, typed, and lists as async iterators.

async with user.client(integration_id) as api:
    async for contact in HubSpot(api).contacts(properties=["email"]):
        print(contact["id"])
"""

from .google_ads import GoogleAds
from .hubspot import HubSpot
from .meta_ads import MetaAds
from .paging import Listing, Page
from .shopify import Shopify

__all__ = ["GoogleAds", "HubSpot", "Listing", "MetaAds", "Page", "Shopify"]
