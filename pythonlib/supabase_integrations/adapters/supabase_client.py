"""For Python apps that hold a signed-in supabase-py client: the access token of its user, fresh at each call.

`supabase` is not imported: whatever answers `await client.auth.get_session()` as its `AsyncClient` does will do.
"""

import inspect
from typing import Protocol

from ..core.errors import ConfigurationError
from ..core.token_refusal import TokenRefusal
from .auth_sessions import translating_auth_errors


class Session(Protocol):
    """A Supabase session."""

    @property
    def access_token(self) -> str:
        """The user's JWT."""
        ...


class Auth(Protocol):
    """The `auth` of a supabase-py `AsyncClient`."""

    async def get_session(self) -> Session | None:
        """The session, refreshed if it is about to expire; None when nobody is signed in."""
        ...


class SignedInClient(Protocol):
    """A supabase-py `AsyncClient`, as far as it is used here."""

    @property
    def auth(self) -> Auth:
        """Its user's session."""
        ...


async def access_token_of(client: SignedInClient) -> str:
    """The access token of the user who is signed in to `client`; supabase-py refreshes it when it is about to expire.

    Raises:
        TypeError: the client is not asynchronous, or not a supabase-py client.
        UnauthenticatedError: nobody is signed in, or the session has ended (`session_ended`).
        AuthUnavailableError: the session had to be refreshed, and Supabase Auth does not answer.
        ConfigurationError: the session holds no access token.
    """
    get_session = getattr(getattr(client, "auth", None), "get_session", None)
    # Checked before the call: a synchronous client may block the event loop on the network.
    if not inspect.iscoroutinefunction(get_session):
        raise TypeError(
            f"{type(client).__name__} is not supabase-py's asynchronous client: make one with"
            " `await supabase.acreate_client(url, publishable_key)` and sign in with it."
        )
    with translating_auth_errors():
        session: Session | None = await get_session()
    if session is None:
        raise TokenRefusal.SESSION_ENDED.error()
    token = session.access_token
    if not isinstance(token, str) or not token:
        raise ConfigurationError("The Supabase client's session holds no access token: sign in with it again.")
    return token
