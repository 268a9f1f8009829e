"""Meta's Marketing API: ad accounts, their campaigns, and what those brought.

https://developers.facebook.com/docs/marketing-apis
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

import orjson

from ..core.errors import (
    CredentialsRejectedError,
    InvalidValueError,
    ProviderUnavailableError,
    ServiceRateLimitedError,
)
from ..core.service_reply import ServiceReply
from ..core.usage_headers import slowdowns
from ..use_cases.integration_client import IntegrationClient
from .paging import UNEXPECTED, Listing, Page, member, objects_at, refusal, require_service, text

Level: TypeAlias = Literal["account", "campaign", "adset", "ad"]

ACCOUNT_FIELDS: Final = ("id", "account_id", "name", "currency", "account_status")
CAMPAIGN_FIELDS: Final = ("id", "name", "status", "objective", "created_time", "updated_time")
INSIGHT_FIELDS: Final = ("campaign_id", "campaign_name", "impressions", "clicks", "spend")
_PAGE: Final = 100
_DEAD_TOKEN: Final = 190
_THROTTLED: Final = frozenset({4, 17, 32, 613, *range(80_000, 80_015)})
"""https://developers.facebook.com/docs/graph-api/overview/rate-limiting/"""


class MetaAds:
    """Reads the ad accounts that one connected user may see.

    `service_name` is another one where the catalogue has a service like Meta Ads that is not based on it. Raises
    InvalidValueError for a connection to something else.
    """

    def __init__(self, api: IntegrationClient, *, service_name: str = "meta_ads") -> None:
        self._api = require_service(api, service_name)

    def ad_accounts(self, *, fields: Sequence[str] = ACCOUNT_FIELDS) -> Listing:
        """The user's ad accounts; their `id` is `act_<number>`."""
        return self._list("/me/adaccounts", fields, {})

    def campaigns(self, account: str, *, fields: Sequence[str] = CAMPAIGN_FIELDS) -> Listing:
        """The campaigns of an ad account, `act_<number>` or the number. Raises InvalidValueError."""
        return self._list(f"/{account_id(account)}/campaigns", fields, {})

    def insights(
        self,
        account: str,
        since: date,
        until: date,
        *,
        level: Level = "campaign",
        fields: Sequence[str] = INSIGHT_FIELDS,
        days: int | None = None,
        breakdowns: Sequence[str] = (),
    ) -> Listing:
        """What an ad account brought from one day to another, both included, in the account's time zone.

        One row for each thing of the `level`; with `days` one for each span of so many days, and for each value of the
        `breakdowns`. Numbers come as text. Raises InvalidValueError.
        """
        period = orjson.dumps({"since": since.isoformat(), "until": until.isoformat()}).decode()
        params = {"level": level, "time_range": period}
        if days is not None:
            params["time_increment"] = str(days)
        if breakdowns:
            params["breakdowns"] = ",".join(breakdowns)
        return self._list(f"/{account_id(account)}/insights", fields, params)

    def _list(self, path: str, fields: Sequence[str], further: Mapping[str, str]) -> Listing:
        params = {"fields": ",".join(fields), "limit": str(_PAGE), **further}

        async def fetch(cursor: str | None) -> Page:
            after = {"after": cursor} if cursor else {}
            reply = await self._api.get(path, params={**params, **after}, check=_check)
            found = reply.json()
            return Page(objects_at(found, "data"), _next_cursor(found))

        return Listing(fetch)


def account_id(account: str) -> str:
    """An ad account's id as paths have it. Raises InvalidValueError."""
    if not re.fullmatch(r"(act_)?[0-9]{1,32}", account):
        raise InvalidValueError("account", "An ad account is act_<number>.")
    return f"act_{account.removeprefix('act_')}"


def _next_cursor(found: object) -> str | None:
    """Where the next page begins. `next` is a whole URL with the access token in it: it is never followed or kept."""
    following = text(found, "paging", "next")
    if not following:
        return None
    after = text(found, "paging", "cursors", "after") or parse_qs(urlsplit(following).query).get("after", [""])[0]
    if not after:
        raise ProviderUnavailableError(UNEXPECTED)
    return after


def _check(reply: ServiceReply) -> None:
    """Meta says with a code, at status 400 or 403, what others say with 401 and 429."""
    if reply.status < 400:
        return
    code = member(refusal(reply), "error", "code")
    if code == _DEAD_TOKEN:
        raise CredentialsRejectedError
    if isinstance(code, int) and code in _THROTTLED:
        waits = [found.wait for found in slowdowns(reply.headers, account="", now=datetime.now(UTC))]
        raise ServiceRateLimitedError(body=reply.body, retry_after=timedelta(seconds=max(waits)) if waits else None)
