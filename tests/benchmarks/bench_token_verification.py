"""Verifying an access token, for the first time and remembered, against the bare PyJWT call with the same checks.

Every candidate takes its turn in every round. A figure is the best round: for work that never waits, anything above it
was the machine doing something else. Nothing is sent: published keys come from a transport in memory. An HS256 token
is verified with a development secret; asking Supabase Auth instead takes what the network takes, once a minute.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
from _table import print_table, ratio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.core.secret import SecretStr

ROUNDS, CALLS = 40, 100
PROJECT = "https://canary-project.supabase.test"
ISSUER = f"{PROJECT}/auth/v1"
SECRET = "canary-shared-jwt-secret-of-40-characters"


@dataclass(frozen=True)
class Project:
    """How one project signs: the key it signs with, and the one that is published or shared."""

    algorithm: str
    signing: Any
    published: dict[str, Any] | None

    @property
    def verifying(self) -> jwt.PyJWK | str:
        """What bare PyJWT verifies with."""
        return jwt.PyJWK(self.published) if self.published else SECRET

    def tokens(self) -> list[str]:
        """Tokens of as many users as there are calls in a round."""
        return [jwt.encode(claims(), self.signing, self.algorithm, {"kid": "current"}) for _ in range(CALLS)]


def projects() -> list[Project]:
    elliptic, large = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65_537, 2048)
    named = {"kid": "current", "use": "sig"}
    return [
        Project("HS256", SECRET, None),
        Project("ES256", elliptic, ECAlgorithm.to_jwk(elliptic.public_key(), as_dict=True) | named | {"alg": "ES256"}),
        Project("RS256", large, RSAAlgorithm.to_jwk(large.public_key(), as_dict=True) | named | {"alg": "RS256"}),
    ]


def claims() -> dict[str, Any]:
    """What Supabase Auth puts into the token of an ordinary user."""
    issued_at = int(time.time())
    user_id = str(uuid4())
    return {
        "iss": ISSUER,
        "sub": user_id,
        "aud": "authenticated",
        "exp": issued_at + 3600,
        "iat": issued_at,
        "email": "user@example.com",
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"email": "user@example.com", "email_verified": True, "sub": user_id},
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": issued_at}],
        "session_id": str(uuid4()),
        "is_anonymous": False,
    }


def bare(project: Project) -> Callable[[str], Any]:
    """PyJWT alone, told to check what we check of signature, times, issuer and audience."""
    key, options = project.verifying, {"require": ["exp", "sub", "aud"], "enforce_minimum_key_length": True}
    return lambda token: jwt.decode(
        token,
        key,
        algorithms=[project.algorithm],
        audience="authenticated",
        issuer=ISSUER,
        leeway=10,
        options=options,  # type: ignore[arg-type]
    )


async def verifier(http: httpx.AsyncClient, warm: str) -> SupabaseTokenVerifier:
    """One that has fetched the published keys and remembers nobody."""
    fresh = SupabaseTokenVerifier(http, PROJECT, "sb_publishable_canary", development_secret=SecretStr(SECRET))
    await fresh.verify(warm)
    return fresh


async def seconds_per_call(project: Project) -> dict[str, float]:
    """The best round of each candidate, in seconds a call."""
    tokens = project.tokens()
    warm = tokens.pop()
    decode = bare(project)
    rounds: dict[str, list[float]] = {"PyJWT": [], "first time": [], "remembered": []}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=json.dumps({"keys": [project.published]})))
    async with open_http_pool(transport=transport) as http:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for token in tokens:
                decode(token)
            rounds["PyJWT"].append(time.perf_counter() - start)
            ours = await verifier(http, warm)
            for name in ("first time", "remembered"):
                start = time.perf_counter()
                for token in tokens:
                    await ours.verify(token)
                rounds[name].append(time.perf_counter() - start)
    return {name: min(times) / len(tokens) for name, times in rounds.items()}


async def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, ...]] = []
    for project in projects():
        seconds = await seconds_per_call(project)
        for name, each in seconds.items():
            label = "jwt.decode" if name == "PyJWT" else f"SupabaseTokenVerifier, {name}"
            rows.append((f"{project.algorithm}  {label}", f"{each * 1e6:.1f}", ratio(each, seconds["PyJWT"])))
    print_table("Verifying one access token", ("", "µs", "× jwt.decode"), rows, packages=("PyJWT", "cryptography"))


if __name__ == "__main__":
    asyncio.run(main())
