"""What an access token's claims must say: every check has its own stable code."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from supabase_integrations.core.access_token import AccessTokenPolicy, TokenOwner, check_claims
from supabase_integrations.core.errors import ForbiddenError, RefusedError, UnauthenticatedError
from supabase_integrations.core.token_refusal import TokenRefusal
from tests.token_issuer import PROJECT, SESSION, USER, claims

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = AccessTokenPolicy(f"{PROJECT}/auth/v1")


def at(seconds: float) -> float:
    return NOW.timestamp() + seconds


def test_an_ordinary_users_claims_name_their_owner() -> None:
    owner = check_claims(claims(NOW), POLICY, now=NOW)
    assert owner == TokenOwner(USER, NOW + timedelta(hours=1), SESSION)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": at(-10)}, "token_expired"),
        ({"exp": at(-86_400)}, "token_expired"),
        ({"exp": 0}, "token_expired"),
        ({"exp": None}, "token_malformed"),
        ({"exp": "soon"}, "token_malformed"),
        ({"exp": True}, "token_malformed"),
        ({"exp": 1e300}, "token_malformed"),
        ({"exp": float("nan")}, "token_malformed"),
        ({"nbf": at(11)}, "token_not_yet_valid"),
        ({"iat": at(11)}, "token_not_yet_valid"),
        ({"nbf": "now"}, "token_malformed"),
        ({"iss": "https://other.supabase.test/auth/v1"}, "token_issuer_invalid"),
        ({"iss": f"{PROJECT}/auth/v1/"}, "token_issuer_invalid"),
        ({"iss": [f"{PROJECT}/auth/v1"]}, "token_issuer_invalid"),
        ({"aud": "anon"}, "token_audience_invalid"),
        ({"aud": ["anon"]}, "token_audience_invalid"),
        ({"aud": "authenticated,anon"}, "token_audience_invalid"),
        ({"sub": "service"}, "token_subject_invalid"),
        ({"sub": ""}, "token_subject_invalid"),
        ({"sub": 7}, "token_subject_invalid"),
        ({"sub": USER.hex}, "token_subject_invalid"),
        ({"sub": f"{{{USER}}}"}, "token_subject_invalid"),
        ({"sub": f"urn:uuid:{USER}"}, "token_subject_invalid"),
        ({"role": "service_role"}, "token_role_invalid"),
        ({"role": "anon"}, "token_role_invalid"),
        ({"role": ["authenticated"]}, "token_role_invalid"),
    ],
)
def test_a_wrong_claim_is_refused_with_the_code_of_its_check(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        check_claims(claims(NOW, **changed), POLICY, now=NOW)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("exp", "token_malformed"),
        ("iss", "token_issuer_invalid"),
        ("aud", "token_audience_invalid"),
        ("sub", "token_subject_invalid"),
        ("role", "token_role_invalid"),
    ],
)
def test_a_missing_claim_is_refused_like_a_wrong_one(missing: str, code: str) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        check_claims(claims(NOW, without=[missing]), POLICY, now=NOW)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": at(-9.9)},
        {"exp": at(0.5)},
        {"nbf": at(10)},
        {"iat": at(10)},
        {"aud": ["anon", "authenticated"]},
        {"sub": str(USER).upper()},
        {"is_anonymous": None},
    ],
)
def test_clocks_may_differ_by_ten_seconds_and_forms_may_differ_as_standards_allow(changed: dict[str, Any]) -> None:
    assert check_claims(claims(NOW, **changed), POLICY, now=NOW).user_id == USER


@pytest.mark.parametrize("claim", ["iat", "nbf", "session_id", "is_anonymous"])
def test_claims_that_are_optional_may_be_absent(claim: str) -> None:
    assert check_claims(claims(NOW, without=[claim]), POLICY, now=NOW).user_id == USER


def test_a_session_id_of_another_type_is_no_session_id() -> None:
    assert check_claims(claims(NOW, session_id=7), POLICY, now=NOW).session_id is None


@pytest.mark.parametrize("value", [True, "true", "false", 0, 1, {}])
def test_an_anonymous_user_is_forbidden_unless_allowed(value: object) -> None:
    anonymous = claims(NOW, is_anonymous=value)
    with pytest.raises(ForbiddenError) as refusal:
        check_claims(anonymous, POLICY, now=NOW)
    assert refusal.value.code == "anonymous_not_allowed"

    tolerant = AccessTokenPolicy(POLICY.issuer, allow_anonymous_users=True)
    assert check_claims(anonymous, tolerant, now=NOW).user_id == USER


@pytest.mark.parametrize("client_id", ["app-2", "", ["app-1"], {"app-1": 1}, 1, False])
def test_a_token_of_an_app_that_is_not_listed_is_forbidden(client_id: object) -> None:
    policy = AccessTokenPolicy(POLICY.issuer, allowed_oauth_clients=frozenset({"app-1"}))
    with pytest.raises(ForbiddenError) as refusal:
        check_claims(claims(NOW, client_id=client_id), policy, now=NOW)
    assert refusal.value.code == "oauth_client_not_allowed"


def test_a_token_of_a_listed_app_is_accepted() -> None:
    policy = AccessTokenPolicy(POLICY.issuer, allowed_oauth_clients=frozenset({"app-1"}))
    assert check_claims(claims(NOW, client_id="app-1"), policy, now=NOW).user_id == USER


def test_where_no_issuer_is_needed_a_wrong_one_is_still_refused() -> None:
    without = claims(NOW, without=["iss"])
    assert check_claims(without, POLICY, now=NOW, issuer_required=False).user_id == USER
    with pytest.raises(UnauthenticatedError) as refusal:
        check_claims(claims(NOW, iss="https://other.test"), POLICY, now=NOW, issuer_required=False)
    assert refusal.value.code == "token_issuer_invalid"


@pytest.mark.parametrize("refusal", TokenRefusal)
def test_every_refusal_has_a_code_and_says_something(refusal: TokenRefusal) -> None:
    error = refusal.error()
    assert isinstance(error, RefusedError)
    assert error.code == refusal.value
    assert str(error).endswith(".")


def test_the_owner_is_the_subject_and_nobody_else() -> None:
    other = UUID(int=5)
    assert check_claims(claims(NOW, sub=str(other)), POLICY, now=NOW).user_id == other
