"""How often one service lets itself be called, as data."""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .rate_limits import RateLimit
from .service_kinds import LimitScope

_USER_SHARE: Final = 0.25
"""Google Ads' calls of a day would otherwise be anybody's to use up in a minute."""


class RateLimitRule(BaseModel):
    """The catalogue's `rate_limit`: the service's published figure, and for people what it leaves out.

    `user_share` is how much of it one user's calls through the proxy may take, where all users share it. `verified` is
    false where the figure was not seen on the service's own page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    requests: Annotated[int, Field(gt=0, le=10_000_000)]
    window_s: Annotated[float, Field(gt=0, le=2_678_400)]
    per: LimitScope = LimitScope.ACCOUNT
    user_share: Annotated[float, Field(gt=0, le=1)] = _USER_SHARE
    note: str = ""
    verified: bool = True

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if "user_share" in self.model_fields_set and self.per is not LimitScope.SERVICE:
            raise ValueError('user_share divides what all users share: it belongs to per = "service", and only there')
        return self

    def limit(self) -> RateLimit:
        """The same for the limiter."""
        return RateLimit(self.requests, self.window_s, self.per)
