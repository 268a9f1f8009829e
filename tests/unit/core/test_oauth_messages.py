"""Requests as each service wants them (RFC 6749 §2.3.1, §4.1.3; RFC 7636)."""

from base64 import b64decode

import orjson
import pytest

from supabase_integrations.core.errors import InvalidValueError
from supabase_integrations.core.http_messages import HttpRequest
from supabase_integrations.core.oauth_messages import (
    AuthorizationRequest,
    OAuthClient,
    account_request,
    appsecret_proof,
    authorization_url,
    code_exchange_request,
)
from supabase_integrations.core.pkce import code_challenge
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service import ServiceDefinition
from tests.unit.fakes import form_of

CLIENT = OAuthClient("id:with space", SecretStr("canary-secret&/ü"))


def service(**changes: object) -> ServiceDefinition:
    fields: dict[str, object] = {
        "name": "acme",
        "display_name": "Acme",
        "service_type": "crm",
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
        "api_base_url": "https://api.acme.example",
    }
    return ServiceDefinition.model_validate(fields | changes)


def exchange(**changes: object) -> HttpRequest:
    return code_exchange_request(
        service(**changes),
        CLIENT,
        code=SecretStr("canary-code"),
        code_verifier=SecretStr("canary-verifier"),
        redirect_uri="https://api.example/cb",
        tenant="",
    )


def test_pkce_is_the_rfcs() -> None:
    """RFC 7636 Appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_client_secret_post() -> None:
    form = form_of(exchange())
    assert form["client_id"] == "id:with space"
    assert form["client_secret"] == "canary-secret&/ü"
    assert "authorization" not in exchange().headers


def test_client_secret_basic_encodes_both_halves() -> None:
    request = exchange(token_endpoint_auth="client_secret_basic")
    pair = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair == "id%3Awith+space:canary-secret%26%2F%C3%BC"
    assert "client_secret" not in form_of(request)


def test_a_public_client_sends_no_secret() -> None:
    request = exchange(token_endpoint_auth="none")
    assert form_of(request)["client_id"] == "id:with space"
    assert b"canary-secret" not in request.body


def test_json_requests() -> None:
    request = exchange(token_request_format="json", token_params={"expiring": "1"})
    assert request.headers["content-type"] == "application/json"
    assert orjson.loads(request.body)["expiring"] == "1"


@pytest.mark.parametrize(("pkce", "sent"), [("S256", True), ("none", False)])
def test_the_verifier_is_sent_where_the_service_knows_pkce(pkce: str, sent: bool) -> None:
    assert ("code_verifier" in form_of(exchange(pkce=pkce))) is sent


def test_no_secret_shows_in_a_request() -> None:
    assert "canary" not in repr(exchange(token_endpoint_auth="client_secret_basic"))


def test_fixed_parameters_win_over_the_callers() -> None:
    acme = service(authorization_params={"access_type": "offline"}, allowed_authorization_params=["hint"])
    request = AuthorizationRequest("https://api.example/cb", "s", SecretStr("v"), (), additional_params={"hint": "x"})
    url = authorization_url(acme, CLIENT, request)
    assert "access_type=offline" in url
    assert "hint=x" in url
    assert "scope=" not in url
    with pytest.raises(InvalidValueError):
        authorization_url(
            acme,
            CLIENT,
            AuthorizationRequest("u", "s", SecretStr("v"), (), additional_params={"access_type": "online"}),
        )


def test_an_endpoint_with_a_query_keeps_it() -> None:
    acme = service(authorization_endpoint="https://acme.example/authorize?owner=user")
    url = authorization_url(acme, CLIENT, AuthorizationRequest("https://api.example/cb", "s", SecretStr("v"), ()))
    assert url.startswith("https://acme.example/authorize?owner=user&response_type=code&")


def test_api_requests_carry_the_token_as_the_service_wants_it() -> None:
    def headers(api_auth: str) -> dict[str, str]:
        request = account_request(
            service(api_auth=api_auth), CLIENT, access_token=SecretStr("canary-t"), request="GET /me", tenant=""
        )
        assert request.url == "https://api.acme.example/me"
        return dict(request.headers)

    assert headers("bearer")["authorization"] == "Bearer canary-t"
    assert headers("header:X-Token")["x-token"] == "canary-t"
    assert headers("header:Authorization=Zoho-oauthtoken")["authorization"] == "Zoho-oauthtoken canary-t"


def test_appsecret_proof_is_hmac_sha256_of_the_token_under_the_secret() -> None:
    """RFC 4231 test case 2, whose key and data are texts."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert appsecret_proof(SecretStr("Jefe"), SecretStr("what do ya want for nothing?")) == expected
