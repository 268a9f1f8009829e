"""Signatures under published keys: the key decides how it is used, whatever a token's header says."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from supabase_integrations.adapters.json_web_tokens import (
    VerificationKey,
    read_claims,
    read_header,
    read_key_set,
    shared_secret_key,
)
from supabase_integrations.core.errors import ConfigurationError, UnauthenticatedError
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import SHARED_SECRET, SigningKey, claims, hs256, key_set, signing_key

ALGORITHMS = ("ES256", "RS256", "EdDSA")


def published(key: SigningKey) -> VerificationKey:
    return read_key_set(key_set(key))[key.key_id]


def segment(part: dict[str, Any] | bytes) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_header(token: str, header: dict[str, Any]) -> str:
    return ".".join([segment(header), *token.split(".")[1:]])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_signed_by_a_published_key_gives_its_claims(algorithm: str) -> None:
    key = signing_key(algorithm)
    payload = claims()
    assert read_claims(published(key).verified_payload(key.sign(payload))) == payload


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_payload_or_signature_is_refused(algorithm: str) -> None:
    key = signing_key(algorithm)
    header, payload, signature = key.sign(claims()).split(".")
    other_payload = segment(claims(sub="0" * 8))
    other_signature = key.sign(claims(role="anon")).split(".")[2]

    refusals = [
        refusal_of(published(key), f"{header}.{other_payload}.{signature}"),
        refusal_of(published(key), f"{header}.{payload}.{other_signature}"),
        refusal_of(published(key), f"{header}.{payload}."),
    ]

    assert refusals == ["token_signature_invalid"] * 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_keys_signature_is_refused_though_it_names_this_key(algorithm: str) -> None:
    theirs = signing_key(algorithm, "theirs")
    assert refusal_of(published(signing_key(algorithm)), theirs.sign(claims(), kid="current")) == (
        "token_signature_invalid"
    )


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "HS512", "RS256", "PS256", "ES384", "EdDSA"])
def test_a_header_cannot_choose_another_algorithm_than_the_keys(algorithm: str) -> None:
    key = signing_key("ES256")
    token = with_header(key.sign(claims()), {"alg": algorithm, "kid": key.key_id})
    assert refusal_of(published(key), token) == "token_algorithm_not_allowed"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_does_not_serve_as_a_shared_secret(algorithm: str) -> None:
    key = signing_key(algorithm)
    secrets = [
        key.public_pem,
        json.dumps(key.jwk).encode(),
        json.dumps(key.jwk["x" if "x" in key.jwk else "n"]).encode(),
    ]
    tokens = [forged_with_secret(secret, key.key_id) for secret in secrets]
    assert {refusal_of(published(key), token) for token in tokens} == {"token_algorithm_not_allowed"}


def test_a_key_inside_the_header_is_not_looked_at() -> None:
    attacker = signing_key("ES256", "attacker")
    token = attacker.sign(claims(), kid="current", jwk=attacker.jwk, jku="https://attacker.test/jwks.json")
    assert refusal_of(published(signing_key("ES256")), token) == "token_signature_invalid"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256", "crit": ["exp"], "exp": 1},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "crit": []},
        {"alg": "ES256", "kid": 7},
        {"alg": ["ES256"]},
        {"alg": None},
        {"kid": "current"},
    ],
)
def test_a_header_with_unknown_demands_or_wrong_types_is_malformed(header: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        read_header(with_header(signing_key().sign(claims()), header))
    assert refusal.value.code == "token_malformed"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "Bearer a.b.c",
        "e30=.e30.e30",
        "e30.e30.e30\r\nx: y",
        "e30.e30.\u00e9",
        "e30.e30.\ud800",
        "e30.e30.e30\n",
        segment(b"[]") + ".e30.e30",
        segment(b"{") + ".e30.e30",
        segment(b"\xff") + ".e30.e30",
        "e3.e30.e30",
    ],
)
def test_what_is_not_a_compact_token_is_malformed(token: str) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        read_header(token)
    assert refusal.value.code == "token_malformed"


@pytest.mark.parametrize("payload", [b"[]", b"", b"{", b"\xff", b"null"])
def test_a_signed_payload_that_is_no_json_object_is_malformed(payload: bytes) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        read_claims(payload)
    assert refusal.value.code == "token_malformed"


def test_a_shared_secret_verifies_its_own_tokens_and_no_others() -> None:
    key = shared_secret_key(SecretStr(SHARED_SECRET))
    assert read_claims(key.verified_payload(hs256(claims())))["role"] == "authenticated"
    assert refusal_of(key, hs256(claims(), "canary-another-shared-secret-of-40-chars")) == "token_signature_invalid"
    assert refusal_of(key, signing_key().sign(claims())) == "token_algorithm_not_allowed"


@pytest.mark.parametrize("secret", ["12345", "x" * 31])
def test_a_secret_that_can_be_guessed_is_a_configuration_error_without_the_secret(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_JWT_SECRET") as error:
        shared_secret_key(SecretStr(secret))
    assert secret not in str(error.value)


def test_a_key_shows_nothing_of_itself() -> None:
    assert SHARED_SECRET not in repr(shared_secret_key(SecretStr(SHARED_SECRET)))


def jwk_without(name: str) -> dict[str, Any]:
    return {field: value for field, value in signing_key().jwk.items() if field != name}


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": segment(b"x" * 64), "kid": "current", "alg": "HS256"},
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True) | {"kid": "current"},
        signing_key().jwk | {"use": "enc"},
        signing_key().jwk | {"key_ops": ["sign"]},
        signing_key().jwk | {"key_ops": "verify"},
        signing_key().jwk | {"alg": "HS256"},
        signing_key().jwk | {"alg": "none"},
        signing_key().jwk | {"alg": "RS256"},
        signing_key().jwk | {"crv": "P-384"},
        signing_key().jwk | {"crv": ["P-256"]},
        signing_key().jwk | {"kty": ["EC"]},
        signing_key().jwk | {"x": "AAAA"},
        signing_key().jwk | {"x": 7},
        signing_key().jwk | {"kid": 7},
        signing_key("RS256").jwk | {"n": "!!"},
        jwk_without("kid"),
        jwk_without("kty"),
        jwk_without("x"),
        RSAAlgorithm.to_jwk(
            rsa.generate_private_key(65_537, 1024).public_key(),  # noqa: S505 - weak on purpose
            as_dict=True,
        )
        | {"kid": "current"},
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True) | {"kid": "current"},
        "current",
        None,
    ],
)
def test_a_published_key_that_is_private_symmetric_weak_or_strange_is_left_out(entry: Any) -> None:
    good = signing_key("ES256", "good")
    assert list(read_key_set(key_set(good, entry))) == ["good"]


def test_a_key_needs_neither_alg_nor_use() -> None:
    bare = {name: value for name, value in signing_key().jwk.items() if name not in ("alg", "use")}
    assert read_key_set(key_set(bare | {"key_ops": ["verify"]}))["current"].algorithm == "ES256"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', key_set(*[signing_key()] * 33)],
    ids=["empty", "html", "list", "no keys", "keys object", "keys null", "too many"],
)
def test_a_body_that_is_no_key_set_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="JWK set"):
        read_key_set(body)


def refusal_of(key: VerificationKey, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as refusal:
        key.verified_payload(token)
    return refusal.value.code


def forged_with_secret(secret: bytes, key_id: str) -> str:
    """An HS256 token over any secret: PyJWT itself refuses to sign with what looks like a public key."""
    signing_input = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': key_id})}.{segment(claims())}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    return f"{signing_input}.{segment(algorithm.sign(signing_input.encode(), secret))}"
