"""Where a request to a service goes, with what, and what of it may be logged."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.api_auth import Authorization, authorization, with_fields
from supabase_integrations.core.credentials import ApiKeyCredentials, BasicCredentials, OAuthCredentials
from supabase_integrations.core.errors import ConfigurationError, InvalidValueError, ServiceNotConfiguredError
from supabase_integrations.core.oauth_messages import OAuthClient
from supabase_integrations.core.outgoing import target
from supabase_integrations.core.outgoing_headers import app_headers, proxied_headers
from supabase_integrations.core.outgoing_path import Scalar, checked_path, path_template, segments
from supabase_integrations.core.proxy_rule import ProxyRule
from supabase_integrations.core.proxy_rules import ProxyRules
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service import ServiceDefinition
from tests.unit.conftest import load
from tests.unit.fakes import START

SERVICES = """
[service.keyed_api]
display_name = "Keyed"
service_type = "crm"
auth = "api_key"
api_base_url = "https://api.example/v1"

[service.shops]
based_on = "keyed_api"
tenant_param = "shop"
tenant_pattern = "^[a-z]+\\\\.shops\\\\.example$"
api_base_url = "https://{shop}/admin"

[service.wide]
based_on = "shops"
tenant_pattern = "^.+$"

[service.nowhere]
based_on = "keyed_api"
api_base_url = ""
"""
CATALOGUE = load(SERVICES)
AS_ADA = Authorization(headers={"authorization": "Basic YWRhOmNhbmFyeS1rZXkvMQ=="})
KEY, TOKEN = SecretStr("canary-key/1"), SecretStr("canary-token/1")
OAUTH = OAuthCredentials(TOKEN, START, refresh_token=SecretStr("canary-refresh"))


def service(name: str = "keyed_api", **changes: object) -> ServiceDefinition:
    return CATALOGUE.get(name).model_copy(update=changes)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/contacts", "https://api.example/v1/contacts"),
        ("/", "https://api.example/v1/"),
        ("/a/", "https://api.example/v1/a/"),
        ("/customers/1/googleAds:search", "https://api.example/v1/customers/1/googleAds:search"),
        ("/a b/ü", "https://api.example/v1/a%20b/%C3%BC"),
        ("/a%20b", "https://api.example/v1/a%20b"),
        ("/a?x=1&y=a%26b", "https://api.example/v1/a?x=1&y=a%26b"),
        ("/a?fields=id,name", "https://api.example/v1/a?fields=id,name"),
        ("https://api.example/v2/ads?after=Mg&access_token=canary", "https://api.example/v2/ads?after=Mg"),
        ("https://API.example:443/v1/ads", "https://api.example/v1/ads"),
    ],
)
def test_a_path_is_below_the_base_url(path: str, url: str) -> None:
    assert target(service(), "", path).url() == url


@pytest.mark.parametrize(
    "path",
    [
        *(
            "contacts",
            "",
            "..",
            "/..",
            "/a/../b",
            "//evil.example",
            "/a//b",
            "/a\\b",
            "/%2e%2e",
            "/a%2fb",
            "/%252e",
            "/a#b",
        ),
        *(
            "http://api.example/v1/a",
            "https://api.example:8443/a",
            "https://evil.example/a",
            "https://user@api.example/a",
        ),
        *("https://api.example.evil.example/a", "https://api.example@evil.example/", "https://api.example/../a"),
        *(
            "ftp://api.example/a",
            "https://[",
            "https://api.example:x/a",
            "/..;/a",
            "/．．/a",
            "/\u2025/a",
            "/a\nb",
            "/%ff",
        ),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        target(service(), "", path)
    assert caught.value.field == "path"


@given(st.text(max_size=30))
def test_whatever_the_path_the_host_stays(path: str) -> None:
    try:
        found = target(service(), "", "/" + path)
    except InvalidValueError:
        return
    assert found.url().startswith("https://api.example/v1/")
    assert found.path.isascii()
    assert checked_path(found.path) == found.path
    assert not {".", "..", ""} & set(segments(found.path)[:-1])


def test_parameters_are_added_and_tokens_are_not_taken() -> None:
    params: dict[str, Scalar | Sequence[Scalar]] = {
        "limit": 10,
        "archived": False,
        "properties": ["a", "b"],
        "access_token": "canary",
    }
    found = target(service(api_auth="query:Key"), "", "/a?KEY=canary&x=1", params)
    assert found.url([("Key", "k&1")]) == (
        "https://api.example/v1/a?x=1&limit=10&archived=false&properties=a&properties=b&Key=k%261"
    )
    assert "canary" not in repr(found)


def test_the_tenant_is_checked_for_every_request() -> None:
    assert target(service("shops"), "a.shops.example", "/x").url() == "https://a.shops.example/admin/x"
    for tenant in ("evil.example", "a.shops.example/x", "a.shops.example\n", ""):
        with pytest.raises(InvalidValueError):
            target(service("shops"), tenant, "/x")


@pytest.mark.parametrize(
    "tenant", ["user@a.example", "a.example?", "a.example#", "a.example?x=", "[::1", "a.example:x"]
)
def test_a_tenant_is_no_more_than_its_part_of_the_url(tenant: str) -> None:
    with pytest.raises(InvalidValueError):
        target(service("wide"), tenant, "/x")


def test_a_service_without_an_address_cannot_be_called() -> None:
    with pytest.raises(ServiceNotConfiguredError):
        target(service("nowhere"), "", "/x")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/crm/v3/objects/contacts", "/crm/v3/objects/contacts"),
        ("/crm/v3/objects/contacts/12345", "/crm/v3/objects/contacts/{…}"),
        ("/customers/123/googleAds:search", "/customers/{…}/googleAds:search"),
        ("/account-info/2026-03/details", "/account-info/2026-03/details"),
        ("/users/ada@example.com", "/users/{…}"),
        ("/bot12345:canary/send", "/{…}/send"),
        ("/act_1/ads", "/{…}/ads"),
        ("/a%20b", "/{…}"),
    ],
)
def test_a_log_has_words_and_no_ids(path: str, template: str) -> None:
    assert path_template(path) == template


@pytest.mark.parametrize(
    ("api_auth", "credentials", "shown"),
    [
        ("bearer", OAUTH, Authorization(headers={"authorization": "Bearer canary-token/1"})),
        ("bearer", ApiKeyCredentials(KEY), Authorization(headers={"authorization": "Bearer canary-key/1"})),
        ("header:X-Key", ApiKeyCredentials(KEY), Authorization(headers={"x-key": "canary-key/1"})),
        ("header:X-Key=Key", ApiKeyCredentials(KEY), Authorization(headers={"x-key": "Key canary-key/1"})),
        ("query:key", ApiKeyCredentials(KEY), Authorization(parameters=(("key", "canary-key/1"),))),
        ("body:key", ApiKeyCredentials(KEY), Authorization(fields={"key": "canary-key/1"})),
        ("basic", ApiKeyCredentials(KEY), Authorization(headers={"authorization": "Basic Y2FuYXJ5LWtleS8xOg=="})),
        (
            "basic",
            BasicCredentials("ada", KEY),
            AS_ADA,
        ),
        (
            "bearer",
            BasicCredentials("ada", KEY),
            AS_ADA,
        ),
    ],
)
def test_credentials_are_shown_as_the_catalogue_says(
    api_auth: str, credentials: OAuthCredentials | ApiKeyCredentials | BasicCredentials, shown: Authorization
) -> None:
    made = authorization(service(api_auth=api_auth), credentials, None)
    assert (made.headers, made.parameters, made.fields) == (shown.headers, shown.parameters, shown.fields)
    assert "canary" not in repr(made)
    hidden = {secret.get_secret_value() for secret in made.secrets}
    for value in (*made.headers.values(), *(value for _, value in made.parameters), *made.fields.values()):
        assert any(secret in value for secret in hidden)


def test_meta_s_calls_are_signed() -> None:
    signed = authorization(service(appsecret_proof=True), OAUTH, OAuthClient("id", SecretStr("canary-secret")))
    ((name, proof),) = signed.parameters
    # printf canary-token/1 | openssl dgst -sha256 -hmac canary-secret
    assert (name, proof) == ("appsecret_proof", "1892145c0a992728af54657d1a3ec0017f9d2dfafe8791ec54ea71df065cdce6")
    assert SecretStr(proof) in signed.secrets
    with pytest.raises(ServiceNotConfiguredError):
        authorization(service(appsecret_proof=True), OAUTH, None)


def test_a_key_in_the_body_replaces_the_callers() -> None:
    fields = {"key": "k&1"}
    assert with_fields(b"", "", fields) == (b"key=k%261", "application/x-www-form-urlencoded")
    assert with_fields(b'{"a": 1, "key": 2}', "application/json", fields)[0] == b'{"a":1,"key":"k&1"}'
    for body in (b"[1]", b"{", b"1"):
        with pytest.raises(InvalidValueError):
            with_fields(body, "application/json", fields)


@pytest.mark.parametrize("name", ["Authorization", "host", "Content-Length", "Cookie", "Transfer-Encoding", "TE"])
def test_the_app_does_not_write_what_the_client_writes(name: str) -> None:
    with pytest.raises(InvalidValueError):
        app_headers({name: "x"}, service())


@pytest.mark.parametrize(
    ("name", "value"), [("x-a", "1\r\nx-b: 2"), ("x a", "1"), ("x-a", "1\0"), ("", "1"), ("x-a", "☃")]
)
def test_a_header_that_http_cannot_carry_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidValueError):
        app_headers({name: value}, service())


@pytest.mark.parametrize("written", ["X-Key", "X_Key"])
def test_the_services_own_key_header_is_never_the_callers(written: str) -> None:
    given = [("x-key", "canary"), ("x_key", "canary"), ("authorization", "canary"), ("x-other", "1"), ("x-other", "2")]
    assert proxied_headers(given, service(api_auth=f"header:{written}")) == {"x-other": "1, 2"}


@pytest.mark.parametrize("rule", ["GET", "get /x", "GET x", "GET /a/**/b", "FETCH /x", "GET /x?y", "GET /a b", ""])
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="is not METHOD /path"):
        ProxyRule.parse(rule)
    with pytest.raises(ConfigurationError, match="PROXY_ALLOW"):
        ProxyRules.of(CATALOGUE, [f"keyed_api {rule}"])


def test_a_rule_for_an_unknown_service_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not begin with a service"):
        ProxyRules.of(CATALOGUE, ["unknown GET /x"])
