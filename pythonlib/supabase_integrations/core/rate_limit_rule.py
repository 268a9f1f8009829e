"""How often one service lets itself be called, as data."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .rate_limits import RateLimit
from .service_kinds import LimitScope


class RateLimitRule(BaseModel):
    """The catalogue's `rate_limit`: the service's published figure, and for people what it leaves out.

    `verified` is false where the figure was not seen on the service's own page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    requests: Annotated[int, Field(gt=0, le=10_000_000)]
    window_s: Annotated[float, Field(gt=0, le=2_678_400)]
    per: LimitScope = LimitScope.ACCOUNT
    note: str = ""
    verified: bool = True

    def limit(self) -> RateLimit:
        """The same for the limiter."""
        return RateLimit(self.requests, self.window_s, self.per)
