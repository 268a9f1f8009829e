"""Whatever is wrong with a ciphertext has its own error, and no error claims what a key has not proven."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core import base64url
from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import (
    DecryptionError,
    EnvelopeTooLongError,
    MalformedEnvelopeError,
    MisplacedCiphertextError,
    NonCanonicalEnvelopeError,
    TamperedCiphertextError,
    TruncatedEnvelopeError,
    UnknownKeyError,
    UnsupportedEnvelopeVersionError,
    WrongCredentialVersionError,
    WrongKeyError,
    WrongOwnerError,
    WrongPurposeError,
    WrongRowError,
    WrongServiceError,
    WrongTenantError,
)
from supabase_integrations.core.keyring import Keyring

KEY, OTHER_KEY = "c0ffee" * 10 + "0001", "c0ffee" * 10 + "0002"
ENCRYPTION = Encryption(Keyring.from_hex(KEY))
OTHER = Encryption(Keyring.from_hex(OTHER_KEY))
BOTH = Encryption(Keyring.from_hex(KEY, [OTHER_KEY]))
PLACE = AssociatedData(
    Purpose.CREDENTIALS,
    table="integrations",
    column="credentials",
    id="canary-row",
    user_id="canary-user",
    service_name="shopify",
    tenant="canary.myshopify.com",
    credential_version=7,
)
ENVELOPE = ENCRYPTION.encrypt("canary-token", PLACE)
PREFIX, BODY = ENVELOPE[:12], ENVELOPE[12:]
SEALED = base64url.decode(BODY)


def refusal(envelope: str, place: AssociatedData = PLACE, encryption: Encryption = ENCRYPTION) -> DecryptionError:
    """The error an envelope is refused with."""
    with pytest.raises(DecryptionError) as raised:
        encryption.decrypt(envelope, place)
    return raised.value


def changed(raw: bytes, offset: int, mask: bytes) -> bytes:
    """The bytes with a mask applied at an offset."""
    middle = bytes(a ^ b for a, b in zip(raw[offset:], mask, strict=False))
    return raw[:offset] + middle + raw[offset + len(mask) :]


def flipped(raw: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    return changed(raw, bit // 8, bytes([1 << bit % 8]))


MISPLACEMENTS: list[tuple[type[MisplacedCiphertextError], dict[str, Any]]] = [
    (WrongPurposeError, {"purpose": Purpose.JOURNAL}),
    (WrongOwnerError, {"user_id": "canary-user-2"}),
    (WrongRowError, {"id": "canary-row-2"}),
    (WrongRowError, {"table": "oauth_states"}),
    (WrongRowError, {"column": "flow"}),
    (WrongServiceError, {"service_name": "hubspot"}),
    (WrongTenantError, {"tenant": "canary-2.myshopify.com"}),
    (WrongCredentialVersionError, {"credential_version": 8}),
    (WrongCredentialVersionError, {"credential_version": 6}),
]


@pytest.mark.parametrize(("error", "difference"), MISPLACEMENTS)
def test_a_genuine_ciphertext_in_another_place_is_refused_with_what_differs(
    error: type[MisplacedCiphertextError], difference: dict[str, Any]
) -> None:
    misplaced = refusal(ENVELOPE, replace(PLACE, **difference))
    assert type(misplaced) is error
    assert isinstance(misplaced, MisplacedCiphertextError)
    assert misplaced.fields == tuple(difference)
    assert str(misplaced).endswith(f"differs in: {', '.join(difference)}.")


def test_of_several_differences_the_gravest_is_raised_and_all_are_named() -> None:
    moved = replace(PLACE, id="canary-row-2", user_id="canary-user-2", tenant="")
    misplaced = refusal(ENVELOPE, moved)
    assert type(misplaced) is WrongOwnerError
    assert misplaced.fields == ("id", "user_id", "tenant")


def test_a_misplaced_ciphertext_of_a_retired_key_is_recognised_too() -> None:
    envelope = OTHER.encrypt("canary-token", PLACE)
    assert type(refusal(envelope, replace(PLACE, credential_version=8), BOTH)) is WrongCredentialVersionError


def test_an_unknown_key_is_named_by_its_id() -> None:
    unknown = refusal(OTHER.encrypt("canary-token", PLACE))
    assert type(unknown) is UnknownKeyError
    assert unknown.key_id == Keyring.from_hex(OTHER_KEY).primary_id


def test_a_key_id_that_was_replaced_by_that_of_another_listed_key_is_recognised() -> None:
    relabelled = PREFIX + OTHER.encrypt("canary-token", PLACE)[12:]
    assert type(refusal(relabelled, encryption=BOTH)) is WrongKeyError


def test_under_a_key_that_is_not_listed_a_replaced_key_id_is_tampering() -> None:
    relabelled = PREFIX + OTHER.encrypt("canary-token", PLACE)[12:]
    assert type(refusal(relabelled)) is TamperedCiphertextError


def test_any_single_flipped_bit_is_tampering() -> None:
    envelopes = [PREFIX + base64url.encode(flipped(SEALED, bit)) for bit in range(len(SEALED) * 8)]
    assert {type(refusal(envelope, encryption=BOTH)) for envelope in envelopes} == {TamperedCiphertextError}


def test_any_single_flipped_bit_is_tampering_in_any_place() -> None:
    elsewhere = replace(PLACE, credential_version=8)
    envelopes = [PREFIX + base64url.encode(flipped(SEALED, bit)) for bit in range(len(SEALED) * 8)]
    assert {type(refusal(envelope, elsewhere)) for envelope in envelopes} == {TamperedCiphertextError}


def test_the_copy_of_the_place_cannot_be_edited_without_the_key() -> None:
    """GCM is malleable: who knows the place can make its copy say another one, but cannot make the tag agree."""
    version = 12 + len(PLACE.encoded) - 1
    edited = PREFIX + base64url.encode(changed(SEALED, version, bytes([ord("7") ^ ord("8")])))
    assert type(refusal(edited)) is TamperedCiphertextError
    assert type(refusal(edited, replace(PLACE, credential_version=8))) is TamperedCiphertextError


def test_a_copy_that_claims_to_be_longer_than_the_ciphertext_is_tampering() -> None:
    claimed = base64url.encode(changed(SEALED, 12, b"\xff\xff"))
    assert type(refusal(PREFIX + claimed)) is TamperedCiphertextError


@given(st.integers(0, len(ENVELOPE) - 1), st.characters())
def test_any_other_character_anywhere_is_refused(position: int, character: str) -> None:
    text = ENVELOPE[:position] + character + ENVELOPE[position + 1 :]
    if text != ENVELOPE:
        assert isinstance(refusal(text), DecryptionError)


@given(st.binary(min_size=1, max_size=64), st.integers(0, len(SEALED)))
def test_inserted_bytes_are_tampering(inserted: bytes, position: int) -> None:
    text = PREFIX + base64url.encode(SEALED[:position] + inserted + SEALED[position:])
    assert type(refusal(text)) is TamperedCiphertextError


@given(st.text(max_size=100) | st.text(st.sampled_from("v1.0aA-_="), max_size=100))
def test_any_text_is_refused_with_an_error_of_ours(text: str) -> None:
    assert isinstance(refusal(text), DecryptionError)


def test_text_cut_anywhere_is_refused_as_what_its_rest_proves() -> None:
    cut = {length: type(refusal(ENVELOPE[:length])) for length in range(len(ENVELOPE))}
    assert {cut[length] for length in range(12)} == {MalformedEnvelopeError}
    # From 38 letters on, a nonce and a tag would fit: only the lengths that no bytes have still prove a cut.
    assert {cut[length] for length in range(12, 12 + 38, 4)} == {TruncatedEnvelopeError}
    assert {cut[length] for length in range(13, len(ENVELOPE), 4)} == {TruncatedEnvelopeError}
    whole_groups = {cut[length] for length in range(12 + 40, len(ENVELOPE), 4)}
    assert whole_groups == {TamperedCiphertextError}
    uneven = {cut[length] for length in range(12 + 38, len(ENVELOPE)) if length % 4 in {2, 3}}
    assert uneven <= {TamperedCiphertextError, NonCanonicalEnvelopeError}


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        pytest.param("", MalformedEnvelopeError, id="nothing"),
        pytest.param("canary-plaintext-token", MalformedEnvelopeError, id="a plaintext"),
        pytest.param(BODY, MalformedEnvelopeError, id="without a prefix"),
        pytest.param(PREFIX.upper() + BODY, MalformedEnvelopeError, id="upper case in the prefix"),
        pytest.param(" " + ENVELOPE, MalformedEnvelopeError, id="a space before"),
        pytest.param("v1.0123456." + BODY, MalformedEnvelopeError, id="a short key id"),
        pytest.param("v1.012345678." + BODY, MalformedEnvelopeError, id="a long key id"),
        pytest.param("v1.0123456\u0663." + BODY, MalformedEnvelopeError, id="an Arabic digit in the key id"),
        pytest.param("v01" + ENVELOPE[2:], UnsupportedEnvelopeVersionError, id="a leading zero"),
        pytest.param("v2" + ENVELOPE[2:], UnsupportedEnvelopeVersionError, id="version 2"),
        pytest.param("v10" + ENVELOPE[2:], UnsupportedEnvelopeVersionError, id="version 10"),
        pytest.param(ENVELOPE + "=", NonCanonicalEnvelopeError, id="padding"),
        pytest.param(ENVELOPE + "\n", NonCanonicalEnvelopeError, id="a newline after"),
        pytest.param(PREFIX + " " + BODY, NonCanonicalEnvelopeError, id="a space within"),
        pytest.param(PREFIX + "+" + BODY[1:], NonCanonicalEnvelopeError, id="the standard alphabet"),
        pytest.param(PREFIX + "\u00e9" + BODY[1:], NonCanonicalEnvelopeError, id="beyond ASCII"),
        pytest.param(PREFIX + "\ud800" + BODY[1:], NonCanonicalEnvelopeError, id="a lone surrogate"),
        pytest.param(PREFIX + "\0" + BODY[1:], NonCanonicalEnvelopeError, id="NUL"),
        pytest.param(PREFIX + "A" * 38 + "B", NonCanonicalEnvelopeError, id="unused bits that are not zero"),
        pytest.param(PREFIX, TruncatedEnvelopeError, id="a prefix alone"),
        pytest.param(PREFIX + "A" * 36, TruncatedEnvelopeError, id="27 bytes"),
        pytest.param(PREFIX + "A" * 38, TamperedCiphertextError, id="28 bytes"),
        pytest.param(PREFIX + "A" * 41, TruncatedEnvelopeError, id="an end within a byte"),
        pytest.param(PREFIX + "A" * 65_525, EnvelopeTooLongError, id="65,537 characters"),
        pytest.param(PREFIX + "\n" * 1_000_000, EnvelopeTooLongError, id="a million characters of anything"),
    ],
)
def test_a_text_that_is_no_envelope_is_refused_as_what_it_is(envelope: str, error: type[DecryptionError]) -> None:
    assert type(refusal(envelope)) is error


@pytest.mark.parametrize("read", [Encryption.key_id_of, ENCRYPTION.needs_reencryption])
def test_the_key_id_is_read_from_envelopes_only(read: Callable[[str], object]) -> None:
    with pytest.raises(UnsupportedEnvelopeVersionError):
        read("v2" + ENVELOPE[2:])
    with pytest.raises(MalformedEnvelopeError):
        read("canary")


def test_every_reason_has_a_code_of_its_own() -> None:
    def tree(error: type[DecryptionError]) -> list[type[DecryptionError]]:
        return [error, *(below for child in error.__subclasses__() for below in tree(child))]

    codes = [error.code for error in tree(DecryptionError)]
    assert len(codes) == len(set(codes))
