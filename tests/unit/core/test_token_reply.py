"""What counts as a token, and what each other answer means (RFC 6749 §5.1, §5.2)."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.errors import (
    InvalidClientError,
    InvalidGrantError,
    MalformedTokenResponseError,
    ProviderUnavailableError,
    TokenEndpointError,
)
from supabase_integrations.core.http_messages import HttpReply
from supabase_integrations.core.journal_entry import JournalEntry, entry_to_json
from supabase_integrations.core.models import Caller, IntegrationRef
from supabase_integrations.core.plaintext import from_object
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.token_reply import parse_token_reply
from tests.unit.conftest import load
from tests.unit.fakes import START

CATALOGUE = load()
JSON = {"content-type": "application/json;charset=utf-8"}


def parse(reply: HttpReply, service: str = "demo_crm") -> OAuthCredentials:
    return parse_token_reply(reply, CATALOGUE.get(service), START, requested_scopes=("asked",)).credentials


def reply(status: int = 200, **fields: Any) -> HttpReply:
    return HttpReply(status, JSON, orjson.dumps(fields))


def test_a_complete_reply() -> None:
    tokens = parse(
        reply(
            access_token="canary-a",
            token_type="bearer",
            refresh_token="canary-r",
            expires_in=3600,
            refresh_token_expires_in=7200,
            scope="a b",
        )
    )
    assert tokens.access_token.get_secret_value() == "canary-a"
    assert tokens.refresh_token is not None
    assert tokens.refresh_token.get_secret_value() == "canary-r"
    assert tokens.expires_at == START + timedelta(hours=1)
    assert tokens.refresh_token_expires_at == START + timedelta(hours=2)
    assert tokens.scopes == ("a", "b")
    assert "canary" not in repr(tokens)


def test_form_encoded_replies_are_read() -> None:
    body = b"access_token=canary-a&scope=repo%2Cgist&token_type=bearer&expires_in=60"
    tokens = parse(HttpReply(200, {"content-type": "application/x-www-form-urlencoded"}, body))
    assert tokens.access_token.get_secret_value() == "canary-a"
    assert tokens.scopes == ("repo", "gist")
    assert tokens.expires_at == START + timedelta(minutes=1)


def test_json_under_a_wrong_content_type_is_read() -> None:
    body = orjson.dumps({"access_token": "canary-a"})
    assert parse(HttpReply(200, {"content-type": "text/html"}, body)).access_token.get_secret_value() == "canary-a"


def test_a_byte_order_mark_costs_no_token() -> None:
    body = b"\xef\xbb\xbf" + orjson.dumps({"access_token": "canary-a"})
    assert parse(HttpReply(200, JSON, body)).access_token.get_secret_value() == "canary-a"


@pytest.mark.parametrize(
    ("value", "seconds"), [(60, 60), ("60", 60), (60.5, 60.5), ("3599.0", 3599), (10**12, 315360000)]
)
def test_expires_in_is_a_number_or_a_text(value: object, seconds: float) -> None:
    assert parse(reply(access_token="a", expires_in=value)).expires_at == START + timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, 0, "0", ""])
def test_no_lifetime_means_that_it_does_not_expire(value: object) -> None:
    assert parse(reply(access_token="a", expires_in=value), "meta_ads").expires_at is None


def test_an_unsaid_lifetime_is_the_catalogues_where_it_can_be_renewed() -> None:
    assert parse(reply(access_token="a", refresh_token="r")).expires_at == START + timedelta(hours=1)


@pytest.mark.parametrize("value", [-1, "soon", True, [], {}, "NaN", "Infinity", "-5"])
def test_a_lifetime_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(MalformedTokenResponseError):
        parse(reply(access_token="a", expires_in=value))


@pytest.mark.parametrize("value", [-1, "soon", True, [], {}, "NaN", "1e999", "-5"])
def test_a_refresh_token_is_not_lost_for_a_lifetime_that_is_none(value: object) -> None:
    """Its service has ended the one before: a reply that is refused ends the connection."""
    tokens = parse(reply(access_token="a", refresh_token="r", expires_in=value, refresh_token_expires_in=value))
    assert tokens.refresh_token is not None
    assert tokens.expires_at == START + timedelta(hours=1)
    assert tokens.refresh_token_expires_at is None


@pytest.mark.parametrize("value", [7, True, [], {}, "a b", "a\r\nb", "urn:ietf:params:oauth:token-type:jwt"])
def test_a_token_type_that_is_none_is_refused_unless_a_refresh_token_would_be_lost(value: object) -> None:
    with pytest.raises(MalformedTokenResponseError):
        parse(reply(access_token="a", token_type=value))
    assert parse(reply(access_token="a", refresh_token="r", token_type=value)).token_type == "Bearer"


def test_an_empty_field_is_an_absent_one() -> None:
    tokens = parse(reply(access_token="a", refresh_token="", token_type="", expires_in="", scope=""))
    assert tokens == parse(reply(access_token="a"))


@pytest.mark.parametrize("letter", ["x", "\\", '"'])
def test_the_largest_reply_can_be_sealed_and_kept(letter: str) -> None:
    """What could not be stored would be found out when the service has ended the token before it."""
    jwt = SecretStr("j" * 8192)
    user_id = uuid4()
    largest = 12_288 if letter == "x" else 6_144
    scopes = [letter * 32 + str(number) for number in range(1000)]
    tokens = parse(reply(access_token=letter * largest, refresh_token=letter * largest, scope=scopes))
    payload = CredentialPayload("demo_crm", "t" * 200, tokens)
    caller = Caller(user_id, jwt, START, str(uuid4()))
    entry = JournalEntry(IntegrationRef(user_id, uuid4()), 2**31, uuid4(), payload, caller, START)
    assert len(from_object(entry_to_json(entry))) > 30_000
    with pytest.raises(MalformedTokenResponseError):
        parse(reply(access_token=letter * (largest + 1)))


@pytest.mark.parametrize("value", [None, "", 7, True, [], {"token": "a"}, "a\nb", "a\0", "ä", "x" * 16_385])
def test_an_access_token_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(MalformedTokenResponseError):
        parse(reply(access_token=value))


@pytest.mark.parametrize("value", [7, 0, False, [], {}, "a\r\nb"])
def test_a_refresh_token_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(MalformedTokenResponseError):
        parse(reply(access_token="a", refresh_token=value))


def test_scopes_default_to_those_asked_for() -> None:
    assert parse(reply(access_token="a")).scopes == ("asked",)
    assert parse(reply(access_token="a", scope=["x", "y", "x", 3])).scopes == ("x", "y")


def test_what_is_no_scope_is_left_out() -> None:
    """The database would refuse the row, after the service has already given the old refresh token away."""
    assert parse(reply(access_token="a", scope="read \u00e9")).scopes == ("read",)
    assert parse(reply(access_token="a", scope=["a b", "ok", "\0", "x" * 257, ""])).scopes == ("ok",)
    assert len(parse(reply(access_token="a", scope=[f"s{number}" for number in range(500)])).scopes) == 100


@pytest.mark.parametrize("status", [200, 400, 401, 418])
def test_an_error_counts_at_any_status(status: int) -> None:
    with pytest.raises(InvalidGrantError) as error:
        parse(reply(status, error="invalid_grant", access_token="canary-a"))
    assert error.value.status == status
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
def test_errors_of_the_operators_are_told_apart(code: str) -> None:
    with pytest.raises(InvalidClientError):
        parse(reply(401, error=code))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "OAuthException", "code": 190}, "oauthexception"),
        ("canary description with spaces", "unknown_error"),
        ({"nested": {}}, "unknown_error"),
        (7, "unknown_error"),
    ],
)
def test_other_errors_become_a_plain_word(error: object, code: str) -> None:
    with pytest.raises(TokenEndpointError) as raised:
        parse(reply(400, error=error))
    assert raised.value.error == code
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_without_oauth_words_is_still_a_refusal(status: int) -> None:
    with pytest.raises(TokenEndpointError):
        parse(HttpReply(status, {"content-type": "text/html"}, b"<html>canary</html>"))
    with pytest.raises(TokenEndpointError):
        parse(reply(status, message="canary", access_token="canary-not-a-token"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"token"', b"access_token", b"\xff\xfe", b"{"])
def test_a_page_is_not_a_token(body: bytes) -> None:
    with pytest.raises(MalformedTokenResponseError):
        parse(HttpReply(200, {"content-type": "text/html"}, body))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_outage_is_never_a_verdict(status: int) -> None:
    with pytest.raises(ProviderUnavailableError) as error:
        parse(HttpReply(status, {"retry-after": "17", **JSON}, b'{"error":"invalid_grant"}'))
    assert error.value.retry_after == timedelta(seconds=17)
