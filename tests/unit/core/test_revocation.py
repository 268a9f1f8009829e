"""Revocation as data: the request for every style that services have, and what their answers mean."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import orjson
import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.errors import (
    ConfigurationError,
    InvalidClientError,
    InvalidValueError,
    ProviderUnavailableError,
    RevocationRefusedError,
)
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.oauth_messages import OAuthClient
from supabase_integrations.core.revocation import RevocationOutcome, read_revocation_reply, revocation_request
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service import ServiceDefinition
from tests.unit.conftest import load

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ACCESS, REFRESH, SECRET = "canary-access", "canary-refresh", "canary-secret"
CLIENT = OAuthClient("client/id", SecretStr(SECRET))
TOKENS = OAuthCredentials(SecretStr(ACCESS), NOW, refresh_token=SecretStr(REFRESH))
ONLY_ACCESS = OAuthCredentials(SecretStr(ACCESS), NOW)
BASIC = "Basic Y2xpZW50JTJGaWQ6Y2FuYXJ5LXNlY3JldA=="

ACME = """
[service.acme]
display_name = "Acme"
service_type = "crm"
authorization_endpoint = "https://acme.example/authorize"
token_endpoint = "https://acme.example/token"
revocation_endpoint = "https://acme.example/revoke"
"""


def acme(*lines: str) -> ServiceDefinition:
    return load(ACME + "\n".join(lines)).get("acme")


def ask(
    service: ServiceDefinition, credentials: OAuthCredentials = TOKENS, *, tenant: str = "", account_id: str = "acct_1"
) -> HttpRequest:
    return revocation_request(service, CLIENT, credentials, tenant=tenant, account_id=account_id)


def form(request: HttpRequest) -> dict[str, str]:
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    return dict(parse_qsl(request.body.decode()))


def test_the_default_is_rfc_7009() -> None:
    request = ask(acme())
    assert (request.method, request.url) == ("POST", "https://acme.example/revoke")
    client = {"client_id": "client/id", "client_secret": SECRET}
    assert form(request) == {"token": REFRESH, "token_type_hint": "refresh_token", **client}
    assert form(ask(acme(), ONLY_ACCESS)) == {"token": ACCESS, "token_type_hint": "access_token", **client}


def test_the_client_proves_itself_as_at_the_token_endpoint() -> None:
    basic = ask(acme('token_endpoint_auth = "client_secret_basic"'))
    assert basic.headers["authorization"] == BASIC
    assert form(basic) == {"token": REFRESH, "token_type_hint": "refresh_token"}
    public = ask(acme('token_endpoint_auth = "none"'))
    assert form(public) == {"token": REFRESH, "token_type_hint": "refresh_token", "client_id": "client/id"}
    assert SECRET not in str(public.headers) + public.body.decode()


STYLES: dict[str, tuple[str, HttpRequest]] = {
    "dropbox, slack: the access token itself asks": (
        'revocation = { auth = "access_token", format = "none" }',
        HttpRequest("POST", "https://acme.example/revoke", {"authorization": f"Bearer {ACCESS}"}),
    ),
    "zendesk: the same as DELETE": (
        'revocation = { method = "DELETE", auth = "access_token", format = "none" }',
        HttpRequest("DELETE", "https://acme.example/revoke", {"authorization": f"Bearer {ACCESS}"}),
    ),
    "intercom: with an empty object": (
        'revocation = { auth = "access_token", format = "json", token_field = "" }',
        HttpRequest("POST", "https://acme.example/revoke", {"authorization": f"Bearer {ACCESS}"}, b"{}"),
    ),
    "notion, quickbooks: JSON with Basic": (
        'revocation = { auth = "client_secret_basic", format = "json", token_type_hint = false }',
        HttpRequest("POST", "https://acme.example/revoke", {"authorization": BASIC}, orjson.dumps({"token": REFRESH})),
    ),
    "webflow: another name for the field": (
        'revocation = { token = "access_token", token_field = "access_token", token_type_hint = false }',
        HttpRequest(
            "POST",
            "https://acme.example/revoke",
            {},
            f"access_token={ACCESS}&client_id=client%2Fid&client_secret={SECRET}".encode(),
        ),
    ),
    "tiktok: other names for the client": (
        (
            'revocation = { auth = "none", token_type_hint = false, '
            'params = { client_key = "{client_id}", client_secret = "{client_secret}" } }'
        ),
        HttpRequest(
            "POST",
            "https://acme.example/revoke",
            {},
            f"client_key=client%2Fid&client_secret={SECRET}&token={REFRESH}".encode(),
        ),
    ),
    "tiktok_ads: and in JSON": (
        (
            'revocation = { auth = "none", format = "json", token = "access_token", token_field = "access_token", '
            'token_type_hint = false, params = { app_id = "{client_id}", secret = "{client_secret}" } }'
        ),
        HttpRequest(
            "POST",
            "https://acme.example/revoke",
            {},
            orjson.dumps({"app_id": "client/id", "secret": SECRET, "access_token": ACCESS}),
        ),
    ),
    "square: the secret in a header of its own": (
        (
            'revocation = { auth = "client_secret_header:Authorization=Client", format = "json", '
            'token = "access_token", token_field = "access_token", token_type_hint = false, '
            'params = { client_id = "{client_id}" } }'
        ),
        HttpRequest(
            "POST",
            "https://acme.example/revoke",
            {"authorization": f"Client {SECRET}"},
            orjson.dumps({"client_id": "client/id", "access_token": ACCESS}),
        ),
    ),
    "stripe: the account instead of a token": (
        (
            'account_id_from = { source = "token_reply", field = "stripe_user_id" }\n'
            'revocation = { auth = "client_secret_header:Authorization=Bearer", token_field = "", ends = "grant", '
            'params = { client_id = "{client_id}", stripe_user_id = "{account_id}" } }'
        ),
        HttpRequest(
            "POST",
            "https://acme.example/revoke",
            {"authorization": f"Bearer {SECRET}"},
            b"client_id=client%2Fid&stripe_user_id=acct_1",
        ),
    ),
    "mollie: a form in a DELETE": (
        'revocation = { method = "DELETE", auth = "client_secret_basic" }',
        HttpRequest(
            "DELETE",
            "https://acme.example/revoke",
            {"authorization": BASIC},
            f"token={REFRESH}&token_type_hint=refresh_token".encode(),
        ),
    ),
    "zoho: the token in the query, where the catalogue says so": (
        'revocation = { auth = "none", format = "query", token_type_hint = false }',
        HttpRequest("POST", f"https://acme.example/revoke?token={REFRESH}", {}),
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_data(style: str) -> None:
    lines, expected = STYLES[style]
    request = ask(acme(lines))
    types = {b"": {}, b"{": {"content-type": "application/json"}}
    content = types.get(expected.body[:1], {"content-type": "application/x-www-form-urlencoded"})
    assert (request.method, request.url, request.body) == (expected.method, expected.url, expected.body)
    assert request.headers == {"accept": "application/json", **expected.headers, **content}


def test_github_is_asked_at_a_path_with_our_client_id() -> None:
    rule = """
        [service.github]
        based_on = "acme"
        revocation_endpoint = "https://acme.example/applications/{client_id}/grant"
        [service.github.revocation]
        method = "DELETE"
        auth = "client_secret_basic"
        format = "json"
        token = "access_token"
        token_field = "access_token"
        token_type_hint = false
        ends = "grant"
    """
    request = ask(load(ACME, rule).get("github"))
    assert (request.method, request.url) == ("DELETE", "https://acme.example/applications/client%2Fid/grant")
    assert request.headers["authorization"] == BASIC
    assert orjson.loads(request.body) == {"access_token": ACCESS}


def test_meta_removes_the_app_and_proves_that_the_token_is_ours() -> None:
    request = ask(load().get("meta_ads"), ONLY_ACCESS)
    url = urlsplit(request.url)
    assert (request.method, url.path, request.body) == ("DELETE", "/v26.0/me/permissions", b"")
    assert list(parse_qs(url.query)) == ["appsecret_proof"]
    assert request.headers["authorization"] == f"Bearer {ACCESS}"


def test_shopify_is_asked_at_the_shop_with_its_own_header() -> None:
    request = ask(load().get("shopify"), tenant="canary.myshopify.com")
    assert (request.method, request.url) == (
        "DELETE",
        "https://canary.myshopify.com/admin/api_permissions/current.json",
    )
    assert request.headers["x-shopify-access-token"] == ACCESS
    assert "authorization" not in request.headers


@pytest.mark.parametrize("tenant", ["evil.example", "evil.example/.myshopify.com", "a.myshopify.com\n", "{client_id}"])
def test_a_hostile_tenant_gets_no_token(tenant: str) -> None:
    with pytest.raises(InvalidValueError):
        ask(load().get("shopify"), tenant=tenant)


def test_google_gets_the_token_alone() -> None:
    request = ask(load().get("google_ads"))
    assert form(request) == {"token": REFRESH}
    assert "authorization" not in request.headers


def test_hubspot_gets_what_rfc_7009_says() -> None:
    expected = {"token": REFRESH, "token_type_hint": "refresh_token", "client_id": "client/id", "client_secret": SECRET}
    assert form(ask(load().get("hubspot"))) == expected


def test_the_services_that_end_more_than_one_token() -> None:
    ends = {service.name for service in load() if service.revocation.ends == "grant"}
    assert ends == {"google_ads", "meta_ads", "shopify"}


@pytest.mark.parametrize("style", STYLES)
def test_no_token_is_in_a_url_unless_the_catalogue_says_query(style: str) -> None:
    lines, expected = STYLES[style]
    assert any(token in expected.url for token in (ACCESS, REFRESH, SECRET)) == ('format = "query"' in lines)


@pytest.mark.parametrize("style", STYLES)
def test_a_request_shows_no_secret(style: str) -> None:
    assert "canary" not in repr(STYLES[style][1])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{ format = "query" }', "client secret in a body"),
        ('{ format = "none" }', "the token is sent nowhere"),
        ('{ auth = "none", token_field = "" }', "the token is sent nowhere"),
        ('{ auth = "none", format = "query", params = { s = "{client_secret}" } }', "client secret into a URL"),
        ('{ auth = "access_token", format = "none", params = { a = "b" } }', "params have no place"),
        ('{ token_field = "", params = { account = "{account_id}" } }', "account_id_from is needed"),
        ('{ auth = "header:X" }', "revocation.auth"),
        ('{ method = "GET" }', "revocation.method"),
        ('{ style = "POST with bearer" }', "revocation.style"),
    ],
)
def test_a_description_that_cannot_work_is_refused_at_the_start(line: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[service\.acme\]") as error:
        acme(f"revocation = {line}")
    assert reason in str(error.value)


def test_an_endpoint_on_a_host_of_the_users_choice_is_refused() -> None:
    text = ACME.replace("acme.example/revoke", "{shop}/revoke") + 'tenant_param = "shop"\ntenant_pattern = "^[a-z.]+$"'
    with pytest.raises(ConfigurationError, match="revocation_endpoint: tenant_pattern must pin the domain"):
        load(text)


def reply(status: int = 200, body: Any = None, **headers: str) -> HttpReply:
    return HttpReply(status, headers, b"" if body is None else orjson.dumps(body))


CLIENT_AUTH = acme()
TOKEN_AUTH = acme('revocation = { auth = "access_token", format = "none", unknown_token_errors = ["token_revoked"] }')
CODED = acme('revocation = { success = { code = 0 }, unknown_token_errors = ["404"] }')


@pytest.mark.parametrize(
    ("service", "answer"),
    [
        (CLIENT_AUTH, reply()),
        (CLIENT_AUTH, reply(204)),
        (CLIENT_AUTH, HttpReply(200, {}, b"<html>ok</html>")),
        (CLIENT_AUTH, reply(200, True)),
        (CLIENT_AUTH, reply(200, {"success": True})),
        (CLIENT_AUTH, reply(400, {"error": "invalid_token"})),
        (CLIENT_AUTH, reply(400, {"error": "invalid_grant", "error_description": "expired"})),
        (TOKEN_AUTH, reply(401)),
        (TOKEN_AUTH, reply(200, {"ok": False, "error": "token_revoked"})),
        (load().get("meta_ads"), reply(400, {"error": {"type": "OAuthException", "code": 190}})),
        (CODED, reply(200, {"code": 0, "message": "OK"})),
        (CODED, reply(404)),
    ],
)
def test_a_token_that_is_gone_is_revoked(service: ServiceDefinition, answer: HttpReply) -> None:
    assert read_revocation_reply(answer, service, NOW) is RevocationOutcome.REVOKED


def test_a_service_may_not_end_tokens_of_this_kind() -> None:
    answer = reply(400, {"error": "unsupported_token_type"})
    assert read_revocation_reply(answer, CLIENT_AUTH, NOW) is RevocationOutcome.UNSUPPORTED


@pytest.mark.parametrize(
    ("service", "answer", "word"),
    [
        (CLIENT_AUTH, reply(302, None, location="https://evil.example"), "unknown_error"),
        (CLIENT_AUTH, reply(400, {"error": "invalid_request"}), "invalid_request"),
        (CLIENT_AUTH, reply(404), "unknown_error"),
        (CLIENT_AUTH, reply(200, {"error": "nope"}), "nope"),
        (CLIENT_AUTH, reply(200, {"success": False}), "unknown_error"),
        (CLIENT_AUTH, reply(200, False), "unknown_error"),
        (TOKEN_AUTH, reply(200, {"ok": False, "error": "not_allowed"}), "not_allowed"),
        (TOKEN_AUTH, reply(403), "unknown_error"),
        (load().get("google_ads"), reply(401), "unknown_error"),
        (CODED, reply(200, {"code": 40001, "message": "canary"}), "unknown_error"),
        (CODED, reply(200), "unknown_error"),
        (CLIENT_AUTH, reply(400, {"error": "a word with canary and <script>"}), "unknown_error"),
    ],
)
def test_a_refusal_is_none(service: ServiceDefinition, answer: HttpReply, word: str) -> None:
    with pytest.raises(RevocationRefusedError) as error:
        read_revocation_reply(answer, service, NOW)
    assert (error.value.error, error.value.status) == (word, answer.status)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("answer", [reply(401), reply(400, {"error": "invalid_client"})])
def test_a_refused_client_is_the_operators(answer: HttpReply) -> None:
    with pytest.raises(InvalidClientError):
        read_revocation_reply(answer, CLIENT_AUTH, NOW)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_away_says_when_to_come_back(status: int) -> None:
    with pytest.raises(ProviderUnavailableError) as error:
        read_revocation_reply(reply(status, None, **{"retry-after": "30"}), CLIENT_AUTH, NOW)
    assert error.value.retry_after == timedelta(seconds=30)


def test_the_prose_of_earlier_files_is_refused() -> None:
    text = ACME + 'revocation_style = "DELETE with the token as bearer"'
    with pytest.raises(ConfigurationError, match="revocation_style"):
        Catalogue.from_files({"old.toml": text}, lambda _: None, development=True)
