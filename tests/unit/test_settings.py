"""Settings: what is read, and how each mistake is told."""

from pathlib import Path

import pytest

from supabase_integrations.configuration import Configuration, load_catalogue, missing_settings
from supabase_integrations.core import base64url
from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.session_check import SessionCheck
from supabase_integrations.settings import Settings, refuse_database_access

COMPLETE = {
    "SUPABASE_URL": "https://ref.supabase.example/",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    "ENCRYPTION_KEY": "ab" * 32,
    "APP_URL": "https://api.example",
}

ANON_JWT = "e30." + base64url.encode(b'{"role":"anon"}') + ".c2ln"
SERVICE_ROLE_JWT = "e30." + base64url.encode(b'{"role":"service_role"}') + ".canary"


def read(**changes: str) -> Settings:
    return Settings.from_environment(COMPLETE | changes)


def test_four_settings_are_enough() -> None:
    settings = read()
    assert settings.supabase_url == "https://ref.supabase.example"
    assert settings.redirect_uri == "https://api.example/api/integrations/oauth/callback"
    assert settings.session_check is SessionCheck.SENSITIVE
    assert settings.port == 8000
    assert not settings.is_development


def test_nothing_secret_shows() -> None:
    settings = read(
        ENVIRONMENT="development", SUPABASE_JWT_SECRET="canary-jwt-secret" * 2, ENCRYPTION_KEYS_RETIRED="cd" * 32
    )
    for secret in ("canary", "ab" * 32, "cd" * 32):
        assert secret not in repr(settings)


def test_lists_are_separated_by_commas_or_spaces() -> None:
    pages = ("https://app.example/a", "http://localhost:3000/b", "myapp://connected")
    assert read(ALLOWED_REDIRECT_URLS=", ".join(pages)).allowed_redirect_urls == pages


@pytest.mark.parametrize("name", ["NEXT_PUBLIC_APP_URL", "APP_URL"])
def test_the_original_name_of_the_app_url_is_read(name: str) -> None:
    environment = {key: value for key, value in COMPLETE.items() if key != "APP_URL"}
    assert Settings.from_environment(environment | {name: "https://b.example"}).app_url == "https://b.example"


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("value", [None, " "])
def test_a_missing_setting_is_told_with_what_to_do(name: str, value: str | None) -> None:
    environment = {key: text for key, text in COMPLETE.items() if key != name}
    with pytest.raises(ConfigurationError, match=f"{name} is missing") as error:
        Settings.from_environment(environment | ({name: value} if value else {}))
    assert len(str(error.value)) > len(name) + 12


def test_a_missing_key_is_told_with_the_command_that_makes_one() -> None:
    with pytest.raises(ConfigurationError, match="integrations generate-key"):
        Settings.from_environment({key: text for key, text in COMPLETE.items() if key != "ENCRYPTION_KEY"})


@pytest.mark.parametrize("key", ["ab", "canary" * 11, "zz" * 32, "ab" * 33, "00" * 32])
def test_a_malformed_key_is_told_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="integrations generate-key") as error:
        read(ENCRYPTION_KEY=key)
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "http://ref.supabase.example"),
        ("SUPABASE_URL", "ref.supabase.example"),
        ("SUPABASE_URL", "https://ref.supabase.example:abc"),
        ("SUPABASE_URL", "https://ref.supabase.example:99999"),
        ("SUPABASE_URL", "https://ref.supabase.example:0"),
        ("SUPABASE_URL", "https://[ref.supabase.example"),
        ("APP_URL", "http://api.example"),
        ("APP_URL", "https://api.example/path"),
        ("APP_URL", "https://user:canary@api.example"),
        ("APP_URL", "https://:canary@api.example"),
        ("ALLOWED_REDIRECT_URLS", "https://app.example/#fragment"),
        ("ALLOWED_REDIRECT_URLS", "https://*.app.example/"),
        ("ALLOWED_REDIRECT_URLS", "javascript:alert(1)"),
        ("ALLOWED_REDIRECT_URLS", "data:text/html,x"),
        ("ALLOWED_REDIRECT_URLS", "/relative"),
        ("ALLOWED_REDIRECT_URLS", "https://[app.example/"),
        ("ALLOWED_REDIRECT_URLS", "https://app.example:abc/"),
        ("ALLOWED_REDIRECT_URLS", "http://app.example/"),
        ("ALLOWED_REDIRECT_URLS", "https:evil.example"),
        ("ALLOWED_REDIRECT_URLS", "https:\\\\evil.example"),
        ("ALLOWED_REDIRECT_URLS", "https://user@app.example/"),
        ("ALLOWED_REDIRECT_URLS", "https://app.example/連携"),
        ("ALLOWED_REDIRECT_URLS", "view-source:https://app.example/"),
        ("ALLOWED_ORIGINS", "https://*.app.example"),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_x\ny"),
        ("SUPABASE_PUBLISHABLE_KEY", "something"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://app.example/path"),
        ("SESSION_CHECK", "sometimes"),
        ("PORT", "0"),
        ("PORT", "http"),
        ("ENVIRONMENT", "staging"),
    ],
)
def test_a_value_that_cannot_be_is_told_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as error:
        read(**{name: value})
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "http", "PORT must be a whole number."),
        ("PORT", "0", "PORT must be greater than or equal to 1."),
        ("SESSION_CHECK", "sometimes", "SESSION_CHECK must be 'off', 'sensitive' or 'always'."),
        ("ALLOW_ANONYMOUS_USERS", "perhaps", "ALLOW_ANONYMOUS_USERS must be true or false."),
        ("ALLOWED_REDIRECT_URLS", "x", "ALLOWED_REDIRECT_URLS must name complete URLs, such as https://"),
    ],
)
def test_a_mistake_is_told_as_a_sentence_about_the_setting(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(**{name: value})
    assert str(error.value).startswith(told)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environment({"PORT": "0"})
    for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "ENCRYPTION_KEY", "APP_URL", "PORT"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_JWT_SECRET", "canary-jwt-secret"),
        ("SUPABASE_SERVICE_ROLE_KEY", "canary-service-role"),
        ("SUPABASE_SECRET_KEY", "canary-secret"),
        ("SUPABASE_SERVICE_KEY", "canary-secret"),
        ("GOTRUE_JWT_SECRET", "canary-secret"),
        ("SUPABASE_PUBLISHABLE_KEY", " sb_secret_canary"),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_secret_canary"),
        ("SUPABASE_PUBLISHABLE_KEY", SERVICE_ROLE_JWT),
    ],
)
def test_no_master_key_outside_development(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as error:
        read(**{name: value})
    assert "canary" not in str(error.value)


def test_a_secret_key_is_refused_in_development_too() -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_PUBLISHABLE_KEY"):
        read(ENVIRONMENT="development", SUPABASE_PUBLISHABLE_KEY="sb_secret_canary")


def test_a_short_jwt_secret_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_JWT_SECRET is shorter than 32 bytes") as error:
        read(ENVIRONMENT="development", SUPABASE_JWT_SECRET="canary" * 5)
    assert "canary" not in str(error.value)
    assert read(ENVIRONMENT="development", SUPABASE_JWT_SECRET="x" * 32).jwt_secret is not None


def test_clients_are_read_for_the_services_that_are_complete() -> None:
    environment = COMPLETE | {"HUBSPOT_CLIENT_ID": "id", "HUBSPOT_CLIENT_SECRET": "canary", "META_APP_ID": "id"}
    configuration = Configuration.from_environment(environment)
    assert list(configuration.clients) == ["hubspot"]
    assert "canary" not in repr(configuration)
    assert missing_settings(configuration.catalogue.get("meta_ads"), environment) == ("META_APP_SECRET",)


@pytest.mark.parametrize("rule", ["shopify", "nosuch GET /x", "hubspot FETCH /x", "hubspot GET x"])
def test_a_proxy_rule_that_cannot_be_is_told_before_anything_starts(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="PROXY_ALLOW"):
        Configuration.from_environment({**COMPLETE, "PROXY_ALLOW": rule})


def test_a_providers_file_that_is_not_there_is_told_by_its_setting() -> None:
    settings = read(PROVIDERS_FILE="nowhere.toml")
    with pytest.raises(ConfigurationError, match="PROVIDERS_FILE"):
        load_catalogue(settings, COMPLETE)


def test_a_providers_file_that_is_not_utf_8_is_told_by_its_setting(tmp_path: Path) -> None:
    providers = tmp_path / "services.toml"
    providers.write_bytes("# größer".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"PROVIDERS_FILE .* is not UTF-8 at byte 4: save it"):
        load_catalogue(read(PROVIDERS_FILE=str(providers)), COMPLETE)


def test_a_providers_file_adds_to_the_built_in_services_whatever_its_name(tmp_path: Path) -> None:
    providers = tmp_path / "services.toml"
    providers.write_text('[service.keyed]\ndisplay_name = "Keyed"\nservice_type = "content"\nauth = "api_key"\n')
    names = [service.name for service in load_catalogue(read(PROVIDERS_FILE=str(providers)), COMPLETE)]
    assert names == ["google_ads", "hubspot", "keyed", "meta_ads", "shopify"]


def test_a_development_system_listens_on_this_machine_alone() -> None:
    assert read(HOST="0.0.0.0").host == "0.0.0.0"
    with pytest.raises(ConfigurationError, match="HOST"):
        read(ENVIRONMENT="development", HOST="0.0.0.0")


@pytest.mark.parametrize("key", ["sb_publishable_Ab-9_", ANON_JWT])
def test_keys_that_anybody_may_have(key: str) -> None:
    assert read(SUPABASE_PUBLISHABLE_KEY=f" {key} ").publishable_key == key


def test_origins_are_written_as_browsers_write_them() -> None:
    assert read(ALLOWED_ORIGINS="HTTPS://App.Example/").allowed_origins == ("https://app.example",)


@pytest.mark.parametrize("name", ["DATABASE_URL", "SUPABASE_DB_URL", "SUPABASE_DB_PASSWORD", "PGPASSWORD"])
def test_the_service_must_not_open_the_database_beside_its_keys(name: str) -> None:
    refuse_database_access(COMPLETE)
    with pytest.raises(ConfigurationError, match=name) as error:
        refuse_database_access(COMPLETE | {name: "canary"})
    assert "canary" not in str(error.value)
