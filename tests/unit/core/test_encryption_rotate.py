"""Sealing the content of an envelope anew: under the primary key, for another place, without looking at it."""

import pytest

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import (
    TamperedCiphertextError,
    UnknownKeyError,
    WrongCredentialVersionError,
)
from supabase_integrations.core.keyring import Keyring

OLD_KEY, NEW_KEY = "ca4a27" * 10 + "f00d", "0ddba11" * 9 + "0"
OLD = Encryption(Keyring.from_hex(OLD_KEY))
NEW = Encryption(Keyring.from_hex(NEW_KEY))
BOTH = Encryption(Keyring.from_hex(NEW_KEY, [OLD_KEY]))


def place(version: int) -> AssociatedData:
    """A row's credentials at a version."""
    return AssociatedData(Purpose.CREDENTIALS, table="integrations", id="canary-row", credential_version=version)


def test_what_was_sealed_opens_under_the_new_key_and_in_the_new_place_only() -> None:
    old = OLD.encrypt_object({"token": "canary"}, place(1))
    new = BOTH.rotate(old, place(1), place(2))
    assert NEW.decrypt_object(new, place(2)) == {"token": "canary"}
    with pytest.raises(WrongCredentialVersionError):
        NEW.decrypt_object(new, place(1))
    with pytest.raises(UnknownKeyError):
        OLD.decrypt(new, place(2))


def test_the_content_keeps_its_very_bytes() -> None:
    text = '{"b":1, "a":[ ]}\n'
    assert NEW.decrypt(BOTH.rotate(OLD.encrypt(text, place(1)), place(1), place(2)), place(2)) == text


def test_what_does_not_open_is_not_sealed_anew() -> None:
    old = OLD.encrypt("canary", place(1))
    with pytest.raises(WrongCredentialVersionError):
        BOTH.rotate(old, place(2), place(3))
    with pytest.raises(UnknownKeyError):
        NEW.rotate(old, place(1), place(2))
    changed = old[:-4] + ("AAAA" if old[-4:] != "AAAA" else "BBBB")
    with pytest.raises(TamperedCiphertextError) as caught:
        BOTH.rotate(changed, place(1), place(2))
    assert caught.value.__context__ is None
