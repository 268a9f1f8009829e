"""Sealing and opening 1 KiB of JSON, against the bare AESGCM call with the same associated data and against Fernet.

Every candidate takes its turn in every round. A figure is the best round: for work that never waits, anything above it
was the machine doing something else.
"""

import os
import time
from collections.abc import Callable

import orjson
from _table import print_table, ratio
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from supabase_integrations.core import base64url
from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import WrongCredentialVersionError
from supabase_integrations.core.json_types import JsonObject
from supabase_integrations.core.keyring import Keyring

ROUNDS, CALLS = 200, 500

VALUE: JsonObject = {"access_token": "a" * 700, "refresh_token": "r" * 226, "expires_in": 3600, "scope": "s" * 31}
TEXT = orjson.dumps(VALUE).decode()
PLAINTEXT = TEXT.encode()

Seconds = dict[str, float]


def place(version: int = 7) -> AssociatedData:
    """A place with every field filled, as credentials have it."""
    return AssociatedData(
        Purpose.CREDENTIALS,
        table="integrations",
        column="credentials",
        id="5c1f7b7e-7a3b-4a53-9a0c-2f1c51d3a111",
        user_id="0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b222",
        service_name="shopify",
        tenant="canary.myshopify.com",
        credential_version=version,
    )


def seconds_per_call(candidates: dict[str, Callable[[], object]]) -> Seconds:
    """The best round of each candidate, in seconds a call."""
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            rounds[name].append((time.perf_counter() - start) / CALLS)
    return {name: min(times) for name, times in rounds.items()}


def seal(key: str) -> Seconds:
    """Sealing, by name; the first candidate is the baseline."""
    encryption, aead, fernet = (
        Encryption(Keyring.from_hex(key)),
        AESGCM(bytes.fromhex(key)),
        Fernet(Fernet.generate_key()),
    )
    here, nonce = place(), os.urandom(12)
    body = base64url.decode(encryption.encrypt(TEXT, here)[12:])
    return seconds_per_call(
        {
            "AESGCM.encrypt with a fresh nonce": lambda: aead.encrypt(os.urandom(12), PLAINTEXT, here.encoded),
            "AESGCM.encrypt with a used nonce": lambda: aead.encrypt(nonce, PLAINTEXT, here.encoded),
            "Encryption.encrypt": lambda: encryption.encrypt(TEXT, here),
            "  its base64url alone": lambda: base64url.encode(body),
            "  and the place built anew": lambda: encryption.encrypt(TEXT, place()),
            "Encryption.encrypt_object": lambda: encryption.encrypt_object(VALUE, here),
            "Encryption.seal_bytes": lambda: encryption.seal_bytes(PLAINTEXT, here),
            "Fernet.encrypt": lambda: fernet.encrypt(PLAINTEXT),
        }
    )


def open_(key: str) -> Seconds:
    """Opening, by name; the first candidate is the baseline."""
    encryption, aead, fernet = (
        Encryption(Keyring.from_hex(key)),
        AESGCM(bytes.fromhex(key)),
        Fernet(Fernet.generate_key()),
    )
    here, elsewhere, nonce = place(), place(version=8), os.urandom(12)
    ciphertext, token = aead.encrypt(nonce, PLAINTEXT, here.encoded), fernet.encrypt(PLAINTEXT)
    envelope, sealed = encryption.encrypt(TEXT, here), encryption.seal_bytes(PLAINTEXT, here)
    body = envelope[12:]

    def refuse() -> None:
        try:
            encryption.decrypt(envelope, elsewhere)
        except WrongCredentialVersionError:
            return

    return seconds_per_call(
        {
            "AESGCM.decrypt": lambda: aead.decrypt(nonce, ciphertext, here.encoded),
            "Encryption.decrypt": lambda: encryption.decrypt(envelope, here),
            "  its base64url alone": lambda: base64url.decode(body),
            "  and the place built anew": lambda: encryption.decrypt(envelope, place()),
            "  refusing another version": refuse,
            "Encryption.decrypt_object": lambda: encryption.decrypt_object(envelope, here),
            "Encryption.open_bytes": lambda: encryption.open_bytes(sealed, here),
            "Fernet.decrypt": lambda: fernet.decrypt(token),
        }
    )


def rows(seconds: Seconds) -> list[tuple[str, ...]]:
    """The lines of a table: the first name is the baseline, the last one is Fernet."""
    bare, fernet = next(iter(seconds.values())), next(reversed(seconds.values()))
    return [(name, f"{each * 1e6:.2f}", ratio(each, bare), ratio(each, fernet)) for name, each in seconds.items()]


def main() -> None:
    """Measure and print."""
    key = Encryption.generate_key()
    sealing, opening = seal(key), open_(key)
    both = {
        "AESGCM, both": sealing["AESGCM.encrypt with a fresh nonce"] + opening["AESGCM.decrypt"],
        "Encryption, both": sealing["Encryption.encrypt"] + opening["Encryption.decrypt"],
        "Fernet, both": sealing["Fernet.encrypt"] + opening["Fernet.decrypt"],
    }
    print_table(
        f"Sealing and opening {len(PLAINTEXT):,} bytes of JSON",
        ("", "µs", "× AESGCM", "× Fernet"),
        [*rows(sealing), *rows(opening), *rows(both)],
        packages=("cryptography", "orjson"),
    )


if __name__ == "__main__":
    main()
