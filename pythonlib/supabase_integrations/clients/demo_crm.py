"""The demo CRM that the local system starts: its contacts."""

from typing import Final

from ..use_cases.integration_client import IntegrationClient
from .paging import Listing, Page, objects_at, require_service, text

_PAGE: Final = 25


class DemoCrm:
    """Reads the contacts of the demo. Raises InvalidValueError for a connection to something else."""

    def __init__(self, api: IntegrationClient) -> None:
        self._api = require_service(api, "demo_crm")

    def contacts(self) -> Listing:
        """All contacts: `{"id", "name", "email"}`."""

        async def fetch(cursor: str | None) -> Page:
            after = {"cursor": cursor} if cursor else {}
            found = (await self._api.get("/api/contacts", params={"limit": str(_PAGE), **after})).json()
            return Page(objects_at(found, "contacts"), text(found, "next_cursor") or None)

        return Listing(fetch)
