"""The settings of the background worker and of backends that act for users without a session of theirs."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from .core.errors import ConfigurationError
from .core.secret import SecretStr
from .database_url import DatabaseUrl
from .settings import KeySettings

_LEAST_DAYS: Final = 30
"""What the database keeps in any case."""


def _readable(url: SecretStr) -> SecretStr:
    try:
        DatabaseUrl.parse(url.get_secret_value())
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return url


Url = Annotated[SecretStr, AfterValidator(_readable)]


class WorkerSettings(KeySettings):
    """All settings of one worker. Build them with `from_environment`."""

    worker_database_url: Url = Field(alias="WORKER_DATABASE_URL")
    worker_listen_url: Url | None = Field(None, alias="WORKER_LISTEN_URL")
    worker_concurrency: int = Field(50, ge=1, le=500, alias="WORKER_CONCURRENCY")
    worker_poll_seconds: int = Field(60, ge=1, le=3600, alias="WORKER_POLL_SECONDS")
    events_kept_days: int | None = Field(None, ge=_LEAST_DAYS, le=36_500, alias="EVENTS_KEPT_DAYS")

    @property
    def database(self) -> DatabaseUrl:
        """Where statements are sent, directly or through a pooler."""
        return DatabaseUrl.parse(self.worker_database_url.get_secret_value())

    @property
    def announcements(self) -> DatabaseUrl | None:
        """Where announcements are heard: directly, or through a pooler in session mode."""
        url = self.worker_listen_url
        return DatabaseUrl.parse(url.get_secret_value()) if url else None

    @property
    def events_kept(self) -> timedelta | None:
        """How long the audit trail is kept; None for good."""
        return timedelta(days=self.events_kept_days) if self.events_kept_days is not None else None
