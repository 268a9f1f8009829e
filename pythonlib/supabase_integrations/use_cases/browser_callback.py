"""The callback as a browser brings it: finished at once where its cookie proves who started, handed on sealed
otherwise.

Without that proof nothing is exchanged and the database is not read.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from ..core.browser_binding import cookie_name, open_cookie, seal_handle
from ..core.callback import CallbackQuery
from ..core.encryption import Encryption
from ..core.errors import (
    AuthorizationDeniedError,
    AuthUnavailableError,
    ForbiddenError,
    IntegrationError,
    StateExpiredError,
    UnauthenticatedError,
)
from ..core.state import AuthenticState, read_state
from ..port import Clock
from .user_integrations import UserIntegrations

OpenFor: TypeAlias = Callable[[str], Awaitable[UserIntegrations]]
"""Opens the tables for an access token, after verifying it."""
CookieReader: TypeAlias = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """The connection is in the database."""

    integration_id: UUID


@dataclass(frozen=True, slots=True)
class HandedOn:
    """The app has to finish it, with the JWT of the user who started."""

    handle: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """It ended; `code` is a stable word and `message` tells the person what to do."""

    code: str
    message: str


Outcome: TypeAlias = Stored | HandedOn | Failed


@dataclass(frozen=True, slots=True)
class CallbackEnd:
    """How a callback ends, where the browser goes then, which cookie is spent, and who acted.

    No `redirect_to` means our own page; no `user_id` that nobody was proven to have started this.
    """

    outcome: Outcome
    redirect_to: str | None = None
    spent_cookie: str | None = None
    user_id: UUID | None = None


class BrowserCallback:
    """Decides what a browser's arrival at the redirect URI leads to."""

    def __init__(
        self, encryption: Encryption, allowed_redirect_urls: Collection[str], clock: Clock, open_for: OpenFor
    ) -> None:
        self._encryption = encryption
        self._allowed_redirect_urls = allowed_redirect_urls
        self._clock = clock
        self._open_for = open_for

    async def finish(self, parameters: tuple[tuple[str, str], ...], cookie_of: CookieReader) -> CallbackEnd:
        """Where the browser goes. A state that does not authenticate ends on our own page, never in a redirect.

        `cookie_of(name)` is the value of the cookie of exactly that name, or None.
        Raises InvalidCallbackError and InvalidStateError, and nothing after the state has been authenticated.
        """
        query = CallbackQuery.parse(parameters)
        state = read_state(self._encryption, query.get("state"))
        redirect_to = state.redirect_to(self._allowed_redirect_urls)
        cookie = cookie_name(state.hash)
        if self._clock.now() >= state.expires_at:
            return CallbackEnd(_failure(StateExpiredError()), redirect_to, cookie)
        starter = await self._starter(state, cookie_of(cookie))
        if starter is not None:
            return CallbackEnd(await _finish_as(starter, query), redirect_to, cookie, starter.caller.user_id)
        if query.error:
            return CallbackEnd(_failure(AuthorizationDeniedError(query.error)), redirect_to)
        return CallbackEnd(HandedOn(seal_handle(self._encryption, query, state.expires_at)), redirect_to)

    async def _starter(self, state: AuthenticState, cookie: str | None) -> UserIntegrations | None:
        """The user whose browser this is; None without a cookie of this state, or where its token cannot be relied on.

        That includes Supabase Auth being unreachable: nothing is consumed yet, and the app can finish a little later.
        """
        token = open_cookie(self._encryption, cookie, state.hash) if cookie else None
        if token is None:
            return None
        try:
            user = await self._open_for(token.get_secret_value())
            await user.require_session()
        except (UnauthenticatedError, ForbiddenError, AuthUnavailableError):
            return None
        return user


async def _finish_as(user: UserIntegrations, query: CallbackQuery) -> Outcome:
    try:
        integration = await user.handle_callback(query)
    except IntegrationError as error:
        return _failure(error)
    return Stored(integration.id)


def _failure(error: IntegrationError) -> Failed:
    return Failed(error.code, str(error))
