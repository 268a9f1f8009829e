"""Direct connections to the database, for operators' commands alone: no request of a user ever takes this way."""

from typing import Final

import psycopg

from ..core.errors import StoreUnavailableError
from ..database_url import DatabaseUrl

Connection = psycopg.AsyncConnection[tuple[object, ...]]

CONNECT_AS_OWNER: Final = "connect as the role that pushed the migrations, `postgres` on a hosted project."
"""What to do where a login may not read what a command needs."""

_CONNECT_SECONDS: Final = 15
_ADVICE: Final = "Compare address, user and password with what the project shows under Connect."


async def connect(database: DatabaseUrl) -> Connection:
    """Connect as the user of the URL. Raises StoreUnavailableError, which names the database without the password."""
    try:
        return await psycopg.AsyncConnection.connect(database.url.get_secret_value(), connect_timeout=_CONNECT_SECONDS)
    except (psycopg.Error, ValueError) as error:
        # Without the cause: libpq's message may repeat what it could not parse.
        raise StoreUnavailableError(database.unreachable(str(error), _ADVICE)) from None
