"""Catalogue files: what is read, and how each mistake is told."""

import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.errors import ConfigurationError, InvalidValueError, UnknownServiceError
from tests.unit.conftest import load

ACME = """
[service.acme]
display_name = "Acme"
service_type = "crm"
authorization_endpoint = "https://acme.example/authorize"
token_endpoint = "https://acme.example/token"
"""


HTTP_ACCOUNT = 'account_id_from = { source = "request", field = "id", request = "GET http://acme.example/" }'


def test_the_services_that_come_with_the_project() -> None:
    names = [service.name for service in load()]
    assert names == ["demo_crm", "google_ads", "hubspot", "meta_ads", "shopify"]


def test_the_demo_service_exists_in_development_alone() -> None:
    text = ACME + "development_only = true\n"
    assert len(Catalogue.from_files({"a.toml": text}, lambda _: None, development=True)) == 1
    with pytest.raises(UnknownServiceError):
        Catalogue.from_files({"a.toml": text}, lambda _: None, development=False).get("acme")


def test_operators_add_services_and_replace_them_whole() -> None:
    assert load(ACME).get("acme").token_endpoint == "https://acme.example/token"
    replaced = load(ACME.replace("acme]", "hubspot]")).get("hubspot")
    assert replaced.display_name == "Acme"
    assert replaced.scopes == ()


def test_a_client_secret_is_never_sent_to_a_host_of_the_users_choice() -> None:
    tenant = 'tenant_param = "host"\ntenant_pattern = "%s"\n'
    text = ACME.replace('"https://acme.example/token"', '"https://{host}/token"')
    for anybody in (r"^[a-z0-9][a-z0-9.-]+$", r"^[a-z0-9.-]+\\.com$", r"^\\S+$", r"^(acme\\.example|.*\\.io)$"):
        with pytest.raises(ConfigurationError, match="token_endpoint: tenant_pattern must pin the domain"):
            load(text + tenant % anybody)
    assert load(text + tenant % r"^[a-z]+\\.acme\\.example$").get("acme").needs_tenant
    below = ACME.replace('"https://acme.example/token"', '"https://{host}.acme.example/token"')
    assert load(below + tenant % r"^[a-z0-9.-]+$").get("acme").needs_tenant
    loose = load(below + tenant % r"^\\S+$").get("acme")
    for breaking in ("evil.example/", "evil.example?", "evil.example#", "a@evil.example", "evil.example\\", "a%2f"):
        with pytest.raises(InvalidValueError):
            loose.url(loose.token_endpoint, breaking)


@pytest.mark.parametrize(
    ("pattern", "per", "is_refused"),
    [
        (r"^[^/]+$", "service", True),
        (r"^[^/]+$", "account", False),
        (r"^[a-z]+\\.acme\\.example$", "service", False),
    ],
)
def test_a_host_of_the_users_choice_does_not_slow_down_everybody(pattern: str, per: str, is_refused: bool) -> None:
    text = f'''
        [service.dashboards]
        display_name = "Dashboards"
        service_type = "analytics"
        auth = "api_key"
        tenant_param = "host"
        tenant_pattern = "{pattern}"
        api_base_url = "https://{{host}}/api"
        rate_limit = {{ requests = 10, window_s = 1, per = "{per}" }}
    '''
    if not is_refused:
        assert load(text).get("dashboards").rate_limit is not None
        return
    with pytest.raises(ConfigurationError, match="rate_limit: with per = service, tenant_pattern must pin the domain"):
        load(text)


@pytest.mark.parametrize(
    ("share", "per", "told"),
    [
        ("0", "service", r"user_share: Input should be greater than 0"),
        ("nan", "service", r"user_share: Input should be less than or equal to 1"),
        ("25", "service", r"user_share: Input should be less than or equal to 1"),
        ("0.5", "account", r'user_share divides what all users share: it belongs to per = "service"'),
        ("0.25", "tenant", r'user_share divides what all users share: it belongs to per = "service"'),
    ],
)
def test_a_users_share_of_a_limit_is_a_part_of_what_all_share(share: str, per: str, told: str) -> None:
    table = '[service.hubspot]\nbased_on = "hubspot"\nrate_limit = {{ requests = 10, window_s = 1, {} }}'
    with pytest.raises(ConfigurationError, match=rf"\[service\.hubspot\] rate_limit.*{told}"):
        load(table.format(f'per = "{per}", user_share = {share}'))
    found = [
        load(table.format(f'per = "service"{more}')).get("hubspot").rate_limit for more in ("", ", user_share = 1")
    ]
    assert [rule.user_share for rule in found if rule] == [0.25, 1.0]


def test_a_service_may_be_based_on_another() -> None:
    catalogue = load(
        '[service.hubspot]\nbased_on = "hubspot"\nscopes = ["oauth"]\n'
        '[service.hubspot_eu]\nbased_on = "hubspot"\napi_base_url = "https://eu.hubapi.example"\n'
    )
    assert catalogue.get("hubspot").scopes == catalogue.get("hubspot_eu").scopes == ("oauth",)
    assert catalogue.get("hubspot").api_base_url == "https://api.hubapi.com"
    assert catalogue.get("hubspot_eu").client_id_name == "HUBSPOT_CLIENT_ID"
    with pytest.raises(ConfigurationError, match="based_on"):
        load('[service.acme]\nbased_on = "nowhere"\n')
    with pytest.raises(ConfigurationError, match="based_on"):
        load('[service.acme]\nbased_on = ["hubspot"]\n')


@pytest.mark.parametrize(
    ("service", "client_id", "secret"),
    [
        ("meta_ads", "META_APP_ID", "META_APP_SECRET"),
        ("google_ads", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
        ("hubspot", "HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET"),
        ("shopify", "SHOPIFY_API_KEY", "SHOPIFY_API_SECRET"),
        ("acme", "ACME_CLIENT_ID", "ACME_CLIENT_SECRET"),
    ],
)
def test_the_settings_of_each_service(service: str, client_id: str, secret: str) -> None:
    definition = load(ACME).get(service)
    assert (definition.client_id_name, definition.client_secret_name) == (client_id, secret)


def test_variables_come_from_the_operator_or_the_file() -> None:
    text = (
        ACME.replace("https://acme.example", "${ACME_URL}") + 'variables = { ACME_URL = "https://default.example" }\n'
    )
    default = Catalogue.from_files({"a.toml": text}, lambda _: None, development=False)
    given = Catalogue.from_files({"a.toml": text}, {"ACME_URL": "https://mine.example"}.get, development=False)
    assert default.get("acme").token_endpoint == "https://default.example/token"
    assert given.get("acme").token_endpoint == "https://mine.example/token"


def test_a_variable_that_is_not_declared_does_not_reach_into_the_environment() -> None:
    text = ACME.replace("acme.example/token", "${ENCRYPTION_KEY}.example/token")
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEY"):
        Catalogue.from_files({"a.toml": text}, {"ENCRYPTION_KEY": "canary"}.get, development=False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('token_endpont = "x"', "token_endpont"),
        ('pkce = "plain"', "pkce"),
        ("scopes = [1]", "scopes"),
        ('service_type = "other"', "service_type"),
        ('refresh = "exchange"', "refresh_grant"),
        ('revocation_endpoint = "http://acme.example/revoke"', "revocation_endpoint"),
        ('revocation_endpoint = "https://user@acme.example/revoke"', "revocation_endpoint"),
        ('revocation_endpoint = "https://{shop}.example/revoke"', "shop"),
        ('tenant_param = "shop"', "tenant_pattern"),
        ('tenant_param = "shop"\ntenant_pattern = "[a-z]+"', "anchored"),
        ('tenant_param = "shop"\ntenant_pattern = "^[a-z$"', "regular expression"),
        ('allowed_authorization_params = ["state"]', "state"),
        ('account_id_from = { source = "request", field = "id" }', "request"),
        ('account_id_from = { source = "id_token" }', "field"),
        (
            'account_id_from = { source = "request", field = "id", request = "GET http://acme.example/" }',
            "account_id_from",
        ),
        ('account_id_from = { source = "request", field = "id", request = "GET @evil.example/" }', "request"),
        ('account_id_from = { source = "guess", field = "id" }', "source"),
        ("access_token_lifetime_s = 0", "access_token_lifetime_s"),
        ("callback_hmac = true", "tenant_param"),
        ('account_id_from = { source = "introspection", field = "id" }', "introspection_endpoint"),
        ('api_auth = "token"', "api_auth"),
        ('api_auth = "header:X-Key\\r\\nX-Evil"', "api_auth"),
    ],
)
def test_a_mistake_names_file_service_and_key(line: str, told: str) -> None:
    text = ACME if not line.startswith("service_type") else ACME.replace('service_type = "crm"\n', "")
    with pytest.raises(ConfigurationError) as error:
        load(text + line + "\n")
    assert "extra0.toml [service.acme]" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "text", ["[services.acme]\n", "service = 3\n", "[service]\nacme = 1\n", "[service.Acme]\n", "x"]
)
def test_files_that_are_no_catalogue(text: str) -> None:
    with pytest.raises(ConfigurationError):
        load(text)


def test_a_tenant_is_checked_before_every_url() -> None:
    shopify = load().get("shopify")
    assert shopify.url(shopify.token_endpoint, "a.myshopify.com") == "https://a.myshopify.com/admin/oauth/access_token"
    with pytest.raises(InvalidValueError):
        shopify.url(shopify.token_endpoint, "a.myshopify.com.evil.example")
    with pytest.raises(InvalidValueError):
        shopify.url(shopify.token_endpoint, "")
