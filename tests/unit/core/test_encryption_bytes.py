"""The compact form for bytes, which carries no copy of its place: it opens, or it does not."""

from dataclasses import replace
from typing import Any

import pytest

from supabase_integrations.core import base64url
from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import (
    DecryptionError,
    EnvelopeTooLongError,
    TamperedCiphertextError,
    TruncatedEnvelopeError,
    UnknownKeyError,
)
from supabase_integrations.core.keyring import Keyring

KEY, OTHER_KEY = "c0ffee" * 10 + "0001", "c0ffee" * 10 + "0002"
ENCRYPTION = Encryption(Keyring.from_hex(KEY))
OTHER = Encryption(Keyring.from_hex(OTHER_KEY))
BOTH = Encryption(Keyring.from_hex(KEY, [OTHER_KEY]))
PLACE = AssociatedData(Purpose.STATE, id="canary")
BINARY = ENCRYPTION.seal_bytes(b"canary-state", PLACE)


def flipped(raw: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    return bytes(byte ^ (1 << bit % 8 if index == bit // 8 else 0) for index, byte in enumerate(raw))


def test_any_single_flipped_bit_keeps_bytes_from_opening() -> None:
    def error(sealed: bytes) -> type[Exception]:
        with pytest.raises(DecryptionError) as raised:
            BOTH.open_bytes(sealed, PLACE)
        return type(raised.value)

    errors = [error(flipped(BINARY, bit)) for bit in range(len(BINARY) * 8)]
    assert set(errors[:32]) == {UnknownKeyError}
    assert set(errors[32:]) == {DecryptionError}


@pytest.mark.parametrize(
    "difference",
    [{"purpose": Purpose.COOKIE}, {"id": "canary-2"}, {"user_id": "canary-user"}, {"credential_version": 1}],
)
def test_bytes_open_in_their_place_only(difference: dict[str, Any]) -> None:
    with pytest.raises(DecryptionError, match="does not open"):
        ENCRYPTION.open_bytes(BINARY, replace(PLACE, **difference))


@pytest.mark.parametrize(
    ("sealed", "error"),
    [
        pytest.param(b"", TruncatedEnvelopeError, id="nothing"),
        pytest.param(BINARY[:31], TruncatedEnvelopeError, id="31 bytes"),
        pytest.param(BINARY[:-1], DecryptionError, id="a byte short"),
        pytest.param(BINARY + b"\0", DecryptionError, id="a byte long"),
        pytest.param(OTHER.seal_bytes(b"canary", PLACE), UnknownKeyError, id="another key"),
        pytest.param(BINARY + bytes(45_056), EnvelopeTooLongError, id="longer than any"),
    ],
)
def test_bytes_that_were_not_sealed_are_refused_as_what_they_are(sealed: bytes, error: type[DecryptionError]) -> None:
    with pytest.raises(DecryptionError) as raised:
        ENCRYPTION.open_bytes(sealed, PLACE)
    assert type(raised.value) is error


def test_the_text_form_and_the_binary_form_do_not_open_as_each_other() -> None:
    envelope = ENCRYPTION.encrypt("canary", PLACE)
    with pytest.raises(DecryptionError, match="does not open"):
        ENCRYPTION.open_bytes(BINARY[:4] + base64url.decode(envelope[12:]), PLACE)
    with pytest.raises(TamperedCiphertextError):
        ENCRYPTION.decrypt(envelope[:12] + base64url.encode(BINARY[4:]), PLACE)
