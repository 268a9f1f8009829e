"""Headers that a service's API wants with every request: public ones, and secrets of the operator's."""

from datetime import UTC, datetime
from typing import Any

import pytest

from supabase_integrations.configuration import load_clients
from supabase_integrations.core.api_auth import auth_header_names, authorization
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.errors import ConfigurationError, InvalidValueError
from supabase_integrations.core.oauth_messages import account_request
from supabase_integrations.core.outgoing_headers import app_headers, proxied_headers
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service import ServiceDefinition
from tests.unit.conftest import load

SETTINGS = {"ACME_CLIENT_ID": "id", "ACME_CLIENT_SECRET": "canary-secret", "ACME_KEY": "canary-operator"}
CREDENTIALS = OAuthCredentials(SecretStr("canary-token"), issued_at=datetime(2026, 1, 1, tzinfo=UTC))
HEADERS = '{ acme-version = "2026-03-11", acme-key = "${ACME_KEY}" }'


def acme(headers: str = HEADERS, **changes: str) -> Catalogue:
    keys = {
        "display_name": '"Acme"',
        "service_type": '"crm"',
        "authorization_endpoint": '"https://acme.example/authorize"',
        "token_endpoint": '"https://acme.example/token"',
        "api_base_url": '"https://api.acme.example"',
        "api_headers": headers,
    } | changes
    return load("\n".join(["[service.acme]", *(f"{key} = {value}" for key, value in keys.items())]))


def test_public_ones_are_known_and_secret_ones_are_not() -> None:
    service = acme().get("acme")
    assert service.public_headers == {"acme-version": "2026-03-11"}
    assert service.secret_headers == {"acme-key": "ACME_KEY"}


def test_an_operators_secret_is_sent_and_never_shown() -> None:
    catalogue = acme()
    client = load_clients(catalogue, SETTINGS)["acme"]
    shown = authorization(catalogue.get("acme"), CREDENTIALS, client)
    assert shown.headers == {"authorization": "Bearer canary-token", "acme-key": "canary-operator"}
    assert "canary-operator" in [secret.get_secret_value() for secret in shown.secrets]
    assert "canary" not in repr(client) + repr(shown)


@pytest.mark.parametrize("value", ["", "  ", None])
def test_without_the_setting_the_header_is_not_sent(value: str | None) -> None:
    catalogue = acme()
    given: dict[str, Any] = {**SETTINGS, "ACME_KEY": value}
    client = load_clients(catalogue, {name: text for name, text in given.items() if text is not None})["acme"]
    assert "acme-key" not in authorization(catalogue.get("acme"), CREDENTIALS, client).headers


def test_asking_for_the_account_sends_them_too() -> None:
    catalogue = acme()
    client = load_clients(catalogue, SETTINGS)["acme"]
    request = account_request(
        catalogue.get("acme"), client, access_token=SecretStr("canary-token"), request="GET /me", tenant=""
    )
    assert {"acme-version": "2026-03-11", "acme-key": "canary-operator"}.items() <= request.headers.items()


def test_nobody_else_writes_a_secret_header() -> None:
    """A caller's own value would make this server's calls somebody else's."""
    service: ServiceDefinition = acme().get("acme")
    assert "acme-key" in auth_header_names(service)
    assert proxied_headers([("acme-key", "x"), ("acme_key", "x"), ("acme-version", "1")], service) == {
        "acme-version": "1"
    }
    with pytest.raises(InvalidValueError):
        app_headers({"Acme-Key": "x"}, service)


@pytest.mark.parametrize(
    "headers",
    [
        '{ Acme-Version = "1" }',
        '{ acme_version = "1" }',
        '{ acme-version = "" }',
        '{ acme-version = "a\\nb: c" }',
        '{ acme-version = "a${ACME_KEY}" }',
        '{ acme-version = "${acme}" }',
        '{ authorization = "x" }',
        '{ host = "x" }',
    ],
)
def test_what_is_no_header_is_a_mistake(headers: str) -> None:
    with pytest.raises(ConfigurationError, match="api_headers"):
        acme(headers)


def test_a_service_without_a_client_has_no_secret_headers() -> None:
    with pytest.raises(ConfigurationError, match="api_headers"):
        acme(auth='"api_key"')
    assert acme('{ acme-version = "1" }', auth='"api_key"').get("acme").public_headers == {"acme-version": "1"}
