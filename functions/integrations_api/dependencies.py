"""What endpoints ask for: the opened system, and the integrations of whoever is calling."""

from collections.abc import AsyncIterator
from typing import Annotated, Final, TypeAlias

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from supabase_integrations.core.token_refusal import TokenRefusal
from supabase_integrations.integrations import Integrations
from supabase_integrations.use_cases.user_integrations import UserIntegrations
from supabase_integrations.use_cases.user_shares import UserShares

from .request_log import current

WAITING: Final = 100
"""Requests of one user that may wait at a time. Each holds one of the connections to this server, which are
everybody's, and whoever keeps a lease with curl can have every one of them wait for 40 seconds.
"""
_bearer = HTTPBearer(auto_error=False, description="The access token of a user signed in with Supabase Auth.")


# FastAPI runs a dependency that is no coroutine in a thread, which would cost each request 0.1 ms.
async def opened(request: Request) -> Integrations:
    """The system this process opened at its start."""
    integrations: Integrations = request.app.state.integrations
    return integrations


System: TypeAlias = Annotated[Integrations, Depends(opened)]


async def user(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> UserIntegrations:
    """The caller's integrations. Raises UnauthenticatedError, ForbiddenError, AuthUnavailableError."""
    if bearer is None:
        raise TokenRefusal.MISSING.error()
    system = await opened(request)
    opened_for = await system.for_token(bearer.credentials)
    current().user_id = opened_for.caller.user_id
    return opened_for


User: TypeAlias = Annotated[UserIntegrations, Depends(user)]


def patience() -> UserShares:
    """Counts who waits, for one process."""
    return UserShares(calls=WAITING, waiting=0)


async def patient_user(request: Request, caller: User) -> AsyncIterator[UserIntegrations]:
    """The caller's integrations, for what may have to wait for a service or for somebody's lease.

    Raises RateLimitedError where too many of the caller's requests do.
    """
    waits: UserShares = request.app.state.waits
    async with waits.place(caller.caller.user_id):
        yield caller


PatientUser: TypeAlias = Annotated[UserIntegrations, Depends(patient_user)]
