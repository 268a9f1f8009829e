"""When a connection's credentials are due to be renewed."""

from datetime import datetime, timedelta
from typing import Final

from .credentials import OAuthCredentials
from .service import RefreshKind, ServiceDefinition

MARGIN: Final = timedelta(minutes=5)


def refresh_due_at(credentials: OAuthCredentials, service: ServiceDefinition) -> datetime | None:
    """The moment from which the token is renewed: the margin before its end, at most half of its lifetime.

    None where there is nothing to renew with, or no end.
    """
    renewable = service.refresh is RefreshKind.EXCHANGE or (
        service.refresh is not RefreshKind.NONE and credentials.refresh_token is not None
    )
    if not renewable or credentials.expires_at is None:
        return None
    lifetime = credentials.expires_at - credentials.issued_at
    return credentials.expires_at - min(MARGIN, lifetime / 2)
