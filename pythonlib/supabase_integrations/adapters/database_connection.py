"""Direct connections to the database, for operators' commands alone: no request of a user ever takes this way."""

from typing import Final

import psycopg

from ..core.errors import StoreUnavailableError
from ..database_url import DatabaseUrl

Connection = psycopg.AsyncConnection[tuple[object, ...]]

_CONNECT_SECONDS: Final = 15
_ADVICE: Final = "Compare address, user and password with what the project shows under Connect."


async def connect(database: DatabaseUrl) -> Connection:
    """Connect as the user of the URL. Raises StoreUnavailableError, which names the database without the password."""
    try:
        return await psycopg.AsyncConnection.connect(database.url.get_secret_value(), connect_timeout=_CONNECT_SECONDS)
    except (psycopg.Error, ValueError) as error:
        # Without the cause: libpq's message may repeat what it could not parse.
        raise StoreUnavailableError(database.unreachable(str(error), _ADVICE)) from None
