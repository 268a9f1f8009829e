"""The worker's settings: read and checked as a whole, and kept away from `serve`."""

from datetime import timedelta
from pathlib import Path

import pytest

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.settings import refuse_database_access
from supabase_integrations.settings_worker import WorkerSettings

URL = "postgresql://integrations_worker:canary-password@db.example:5432/postgres"
REQUIRED = {"WORKER_DATABASE_URL": URL, "ENCRYPTION_KEY": "ab" * 32}


def test_the_database_and_the_key_are_enough() -> None:
    settings = WorkerSettings.from_environment(REQUIRED)

    assert (settings.worker_concurrency, settings.worker_poll_seconds) == (50, 60)
    assert (settings.announcements, settings.events_kept) == (None, None)
    assert settings.state_dir == Path(".local")
    assert settings.database.url.get_secret_value() == URL


def test_what_is_set_is_read_and_empty_values_are_absent() -> None:
    settings = WorkerSettings.from_environment(
        REQUIRED | {"WORKER_LISTEN_URL": URL, "EVENTS_KEPT_DAYS": "90", "WORKER_CONCURRENCY": " "}
    )

    assert settings.announcements
    assert settings.announcements.url.get_secret_value() == URL
    assert settings.events_kept == timedelta(days=90)
    assert settings.worker_concurrency == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_DATABASE_URL", "https://db.example"),
        ("WORKER_DATABASE_URL", "postgresql://u:canary#password@h/d"),
        ("WORKER_LISTEN_URL", "postgresql://u:canary@password@h/d"),
        ("WORKER_CONCURRENCY", "0"),
        ("WORKER_CONCURRENCY", "501"),
        ("WORKER_POLL_SECONDS", "0"),
        ("WORKER_POLL_SECONDS", "3601"),
        ("EVENTS_KEPT_DAYS", "29"),
    ],
)
def test_a_mistake_is_named_and_no_secret_with_it(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as refusal:
        WorkerSettings.from_environment(REQUIRED | {name: value})
    assert "canary" not in str(refusal.value)


def test_a_missing_login_is_told_with_where_it_comes_from() -> None:
    with pytest.raises(ConfigurationError, match=r"WORKER_DATABASE_URL is missing\..*worker_login\.sql"):
        WorkerSettings.from_environment({"ENCRYPTION_KEY": "ab" * 32})


def test_settings_do_not_show_the_password() -> None:
    assert "canary-password" not in repr(WorkerSettings.from_environment(REQUIRED | {"WORKER_LISTEN_URL": URL}))


@pytest.mark.parametrize("name", ["WORKER_DATABASE_URL", "WORKER_LISTEN_URL", "DATABASE_URL"])
def test_serve_is_refused_every_door_to_the_database(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} is set, and `serve`"):
        refuse_database_access({name: URL})


def test_the_worker_is_refused_every_door_but_its_own() -> None:
    refuse_database_access(REQUIRED | {"WORKER_LISTEN_URL": URL}, command="worker")

    with pytest.raises(ConfigurationError, match="DATABASE_URL is set, and `worker`"):
        refuse_database_access(REQUIRED | {"DATABASE_URL": URL}, command="worker")


@pytest.mark.parametrize("name", ["SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"])
def test_a_master_key_is_refused_here_too(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is set"):
        WorkerSettings.from_environment(REQUIRED | {name: "canary-master-key"})
