"""What the environment tells a local system, and what it must not tell the API."""

from pathlib import Path

import pytest

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.api import Api
from supabase_integrations.local.settings import LocalSettings


def api(environment: dict[str, str]) -> Api:
    return Api(
        settings=LocalSettings.from_environment(environment),
        supabase_url="http://127.0.0.1:54321",
        publishable_key=SecretStr("sb_publishable_canary"),
        jwt_secret=SecretStr("canary-jwt-secret"),
        encryption_key=SecretStr("c" * 64),
        demo_url="http://127.0.0.1:9400",
        demo_client_id=SecretStr("demo-canary"),
        demo_client_secret=SecretStr("canary-client-secret"),
        state_dir=Path("/state"),
    )


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = LocalSettings.from_environment({"PORT": " ", "RESET": ""})

    assert (settings.port, settings.supabase_port, settings.database_port, settings.demo_port) == (
        8000, 54321, 54322, 9400,
    )  # fmt: skip
    assert settings.state_dir == Path(".local")
    assert settings.reset is False
    assert settings.supabase is None
    assert settings.app_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "8000.5", "٨"])
def test_a_port_that_is_none_is_named(value: str) -> None:
    with pytest.raises(ConfigurationError, match="DEMO_PORT"):
        LocalSettings.from_environment({"DEMO_PORT": value})


def test_two_servers_cannot_share_a_port() -> None:
    with pytest.raises(ConfigurationError, match="the same"):
        LocalSettings.from_environment({"PORT": "9400"})


def test_a_supabase_of_ones_own_is_used_with_its_database() -> None:
    settings = LocalSettings.from_environment(
        {
            "SUPABASE_URL": "http://127.0.0.1:54321/",
            "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_canary",
            "DATABASE_URL": "postgresql://postgres:canary@127.0.0.1:54322/postgres",
        }
    )

    assert settings.supabase is not None
    assert settings.supabase.url == "http://127.0.0.1:54321"
    assert settings.supabase.database is not None
    assert settings.supabase.database.shown == "postgresql://postgres@127.0.0.1:54322/postgres"
    assert "canary" not in repr(settings)


def test_the_older_name_of_the_publishable_key_is_read_too() -> None:
    settings = LocalSettings.from_environment(
        {"SUPABASE_URL": "http://127.0.0.1:54321", "SUPABASE_ANON_KEY": "canary-anon-key"}
    )

    assert settings.supabase is not None
    assert settings.supabase.publishable_key.get_secret_value() == "canary-anon-key"


def test_a_malformed_database_address_is_refused_without_showing_it() -> None:
    own = {"SUPABASE_URL": "http://127.0.0.1:54321", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}

    with pytest.raises(ConfigurationError, match="Percent-encode the password") as refused:
        LocalSettings.from_environment({**own, "DATABASE_URL": "postgresql://postgres:can#ary@127.0.0.1/postgres"})

    assert "ary" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"SUPABASE_URL": "http://127.0.0.1:54321"}, "SUPABASE_PUBLISHABLE_KEY"),
        ({"SUPABASE_PUBLISHABLE_KEY": "sb_publishable_canary"}, "SUPABASE_URL"),
    ],
)
def test_half_a_supabase_of_ones_own_names_the_other_half(given: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{missing} is missing"):
        LocalSettings.from_environment(given)


def test_the_api_gets_no_door_to_the_database() -> None:
    environment = api(
        {
            "DATABASE_URL": "postgresql://canary",
            "PGPASSWORD": "canary",
            "SUPABASE_SERVICE_ROLE_KEY": "canary",
            "SUPABASE_SECRET_KEY": "sb_secret_canary",
            "META_APP_ID": "meta",
        }
    ).environment()

    assert environment["META_APP_ID"] == "meta"
    assert not {"DATABASE_URL", "PGPASSWORD", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"} & set(environment)


def test_the_developers_own_values_win_over_the_defaults() -> None:
    own = {"ALLOWED_ORIGINS": "http://localhost:5173", "ENCRYPTION_KEY": "d" * 64, "APP_URL": "https://tunnel.example/"}

    environment = api(own).environment()

    assert environment["ALLOWED_ORIGINS"] == "http://localhost:5173"
    assert environment["ENCRYPTION_KEY"] == "d" * 64
    assert environment["APP_URL"] == "https://tunnel.example"
    assert "https://tunnel.example/integrations" in environment["ALLOWED_REDIRECT_URLS"]


def test_what_this_system_decides_wins_over_the_environment() -> None:
    environment = api({"ENVIRONMENT": "production", "HOST": "0.0.0.0", "DEMO_URL": "https://example.com"}).environment()

    assert environment["ENVIRONMENT"] == "development"
    assert environment["HOST"] == "127.0.0.1"
    assert environment["DEMO_URL"] == "http://127.0.0.1:9400"
    assert environment["SUPABASE_JWT_SECRET"] == "canary-jwt-secret"


def test_the_settings_for_commands_are_what_this_system_made_and_nothing_of_the_developers() -> None:
    developers = {"META_APP_SECRET": "canary-meta", "ALLOWED_ORIGINS": "https://app.example", "HOME": "/home"}
    own = api(developers).own_settings()

    assert own["ENCRYPTION_KEY"] == "c" * 64
    assert own["STATE_DIR"] == "/state"
    assert not set(developers) & set(own)
