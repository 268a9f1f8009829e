"""Keys come from settings: a wrong one is named by its setting and the cure, never by its value."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.secret import SecretStr

PRIMARY = "c0ffee" * 10 + "0001"
RETIRED = "c0ffee" * 10 + "0002"
OLDER = "c0ffee" * 10 + "0003"


def test_a_key_is_named_by_the_first_8_hex_digits_of_its_sha256() -> None:
    assert Keyring.from_hex(PRIMARY).primary_id == sha256(bytes.fromhex(PRIMARY)).hexdigest()[:8]


def test_the_first_key_is_primary_and_the_order_is_kept() -> None:
    keyring = Keyring.from_hex(PRIMARY, [RETIRED, OLDER])
    assert keyring.key_ids == tuple(Keyring.from_hex(key).primary_id for key in (PRIMARY, RETIRED, OLDER))
    assert keyring.primary_id == keyring.key_ids[0]


def test_secret_strings_and_upper_case_digits_are_the_same_keys() -> None:
    assert Keyring.from_hex(SecretStr(PRIMARY), [SecretStr(RETIRED.upper())]) == Keyring.from_hex(PRIMARY, [RETIRED])


def test_a_repr_shows_ids_only() -> None:
    keyring = Keyring.from_hex(PRIMARY, [RETIRED])
    assert "c0ffee" not in f"{keyring!r} {keyring} {keyring.keys[0]!r}"
    assert repr(bytes.fromhex(PRIMARY))[2:-1] not in repr(keyring)
    assert keyring.primary_id in repr(keyring)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param(PRIMARY[:-1], "it has 63", id="a character short"),
        pytest.param(PRIMARY + "a", "it has 65", id="a character long"),
        pytest.param(PRIMARY + "\n", "it has 65", id="a newline at its end"),
        pytest.param(PRIMARY[:-1] + " ", "64 hexadecimal", id="a space in place of a digit"),
        pytest.param(PRIMARY[:-1] + "g", "64 hexadecimal", id="not a digit"),
        pytest.param(PRIMARY[:-1] + "\uff11", "64 hexadecimal", id="a fullwidth digit"),
        pytest.param("0x" + PRIMARY[2:], "64 hexadecimal", id="a prefix"),
        pytest.param("0" * 64, "all zeros", id="zeros"),
    ],
)
def test_a_malformed_key_is_refused_with_its_setting_and_the_command(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Keyring.from_hex(text)
    message = str(refusal.value)
    assert message.startswith("ENCRYPTION_KEY ")
    assert complaint in message
    assert "`integrations generate-key`" in message
    assert "c0ffee" not in message


def test_a_malformed_retired_key_is_named_by_its_position() -> None:
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS_RETIRED, key 2, is not a key"):
        Keyring.from_hex(PRIMARY, [RETIRED, "short"])


@pytest.mark.parametrize("retired", [[PRIMARY], [RETIRED, RETIRED], [PRIMARY.upper()]])
def test_a_key_is_listed_once(retired: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="is listed 2 times: ENCRYPTION_KEYS_RETIRED holds former keys only"):
        Keyring.from_hex(PRIMARY, retired)


@given(st.text(max_size=80))
def test_whatever_the_setting_holds_the_answer_is_a_keyring_or_a_configuration_error(text: str) -> None:
    try:
        keyring = Keyring.from_hex(text)
    except ConfigurationError:
        return
    assert len(keyring.key_ids) == 1
