"""The settings of the background worker and of backends that act for users without a session of theirs."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from .core.errors import ConfigurationError
from .core.secret import SecretStr
from .core.sync import SyncPlan
from .database_url import DatabaseUrl
from .settings import KeySettings

_LEAST_DAYS: Final = 30
"""What the database keeps in any case."""
_MOST_SYNCS: Final = 4
"""Of the five connections of a worker one is left to its refreshes."""
_DAILY: Final = 24 * 60


def _readable(url: SecretStr) -> SecretStr:
    try:
        DatabaseUrl.parse(url.get_secret_value())
    except ConfigurationError as error:
        raise ValueError(f"cannot be read. {error}") from None
    return url


Url = Annotated[SecretStr, AfterValidator(_readable)]


class WorkerSettings(KeySettings):
    """All settings of one worker. Build them with `from_environment`."""

    worker_database_url: Url = Field(alias="WORKER_DATABASE_URL")
    worker_listen_url: Url | None = Field(None, alias="WORKER_LISTEN_URL")
    worker_concurrency: int = Field(50, ge=1, le=500, alias="WORKER_CONCURRENCY")
    worker_poll_seconds: int = Field(60, ge=1, le=3600, alias="WORKER_POLL_SECONDS")
    events_kept_days: int | None = Field(None, ge=_LEAST_DAYS, le=36_500, alias="EVENTS_KEPT_DAYS")
    sync_every_minutes: int | None = Field(None, ge=1, le=10_080, alias="SYNC_EVERY_MINUTES")
    sync_complete_every_hours: int = Field(24, ge=1, le=720, alias="SYNC_COMPLETE_EVERY_HOURS")
    sync_concurrency: int = Field(2, ge=1, le=_MOST_SYNCS, alias="SYNC_CONCURRENCY")
    sync_max_records: int = Field(1_000_000, ge=1, alias="SYNC_MAX_RECORDS")

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
    def sync_plan(self) -> SyncPlan:
        """How syncs are made. What is started by hand where SYNC_EVERY_MINUTES is not set, is due again in a day."""
        every = timedelta(minutes=self.sync_every_minutes or _DAILY)
        return SyncPlan(every, timedelta(hours=self.sync_complete_every_hours), self.sync_max_records)

    @property
    def events_kept(self) -> timedelta | None:
        """How long the audit trail is kept; None for good."""
        return timedelta(days=self.events_kept_days) if self.events_kept_days is not None else None
