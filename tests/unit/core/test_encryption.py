"""What is sealed comes back whole, in its place, under any listed key."""

import inspect
import math
import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import UnexpectedContentError, UnsealableValueError
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.plaintext import MAX_LENGTH

OLD_KEY, NEW_KEY = "c0ffee" * 10 + "0001", "c0ffee" * 10 + "0002"
ENCRYPTION = Encryption(Keyring.from_hex(NEW_KEY))
BEFORE_ROTATION = Encryption(Keyring.from_hex(OLD_KEY))
AFTER_ROTATION = Encryption(Keyring.from_hex(NEW_KEY, [OLD_KEY]))
PLACE = AssociatedData(Purpose.CREDENTIALS, table="integrations", column="credentials", id="canary-row")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(texts)
def test_a_text_comes_back(text: str) -> None:
    assert ENCRYPTION.decrypt(ENCRYPTION.encrypt(text, PLACE), PLACE) == text


@given(st.dictionaries(texts, json_values, max_size=6))
def test_an_object_comes_back_with_the_types_of_its_values(value: dict[str, Any]) -> None:
    opened = ENCRYPTION.decrypt_object(ENCRYPTION.encrypt_object(value, PLACE), PLACE)
    assert opened == value
    assert repr(opened) == repr(value)  # 1 == 1.0 == True, but their reprs differ


@given(st.binary(max_size=300))
def test_bytes_come_back(plaintext: bytes) -> None:
    assert ENCRYPTION.open_bytes(ENCRYPTION.seal_bytes(plaintext, PLACE), PLACE) == plaintext


def test_nul_is_part_of_the_text() -> None:
    assert ENCRYPTION.decrypt(ENCRYPTION.encrypt("\0canary\0", PLACE), PLACE) == "\0canary\0"


def test_the_same_text_is_never_sealed_into_the_same_envelope() -> None:
    assert len({ENCRYPTION.encrypt("canary", PLACE) for _ in range(1_000)}) == 1_000


def test_the_longest_text_in_the_longest_place_fits_an_envelope() -> None:
    longest_place = AssociatedData(Purpose.CREDENTIALS, tenant="t" * (2_048 - len("11:credentials0:0:0:0:0:2014:1:0")))
    text = "\u4e2d" * (MAX_LENGTH // 3)
    envelope = ENCRYPTION.encrypt(text, longest_place)
    assert len(longest_place.encoded) == 2_050
    assert len(envelope) <= 65_536
    assert ENCRYPTION.decrypt(envelope, longest_place) == text


@pytest.mark.parametrize(
    "seal",
    [
        pytest.param(lambda: ENCRYPTION.encrypt("a" * (MAX_LENGTH + 1), PLACE), id="ASCII"),
        pytest.param(lambda: ENCRYPTION.encrypt("\u4e2d" * (MAX_LENGTH // 3 + 1), PLACE), id="three bytes a letter"),
        pytest.param(lambda: ENCRYPTION.encrypt_object({"a": "b" * (MAX_LENGTH - 7)}, PLACE), id="object"),
        pytest.param(lambda: ENCRYPTION.seal_bytes(bytes(MAX_LENGTH + 1), PLACE), id="bytes"),
    ],
)
def test_a_byte_more_is_refused_before_it_is_sealed(seal: Callable[[], object]) -> None:
    with pytest.raises(UnsealableValueError, match="at most 45056 can be sealed"):
        seal()


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnsealableValueError, match="lone surrogate"):
        ENCRYPTION.encrypt("canary\udc80", PLACE)


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": math.nan}, id="NaN"),
        pytest.param({"a": [None, {"b": math.inf}]}, id="a nested infinity"),
        pytest.param({"a": (1.0, -math.inf)}, id="an infinity in a tuple"),
        pytest.param({"a": 2**64}, id="an integer beyond 64 bits"),
        pytest.param({1: "a"}, id="a key that is not a text"),
        pytest.param({"a": "\ud800"}, id="a surrogate in a value"),
        pytest.param({"\ud800": "a"}, id="a surrogate in a key"),
        pytest.param({"a": b"bytes"}, id="bytes"),
        pytest.param({"a": {1, 2}}, id="a set"),
        pytest.param({"a": datetime(2026, 1, 1, tzinfo=UTC)}, id="a time"),
        pytest.param({"a": Point(1)}, id="a dataclass"),
        pytest.param(["a"], id="a list"),
        pytest.param("a", id="a text"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_json_does_not_carry_exactly_is_refused(value: Any) -> None:
    with pytest.raises(UnsealableValueError, match="not an object that JSON carries exactly"):
        ENCRYPTION.encrypt_object(value, PLACE)


def test_none_and_the_word_null_are_kept() -> None:
    value = {"a": None, "b": "null", "c": [1.5, None]}
    assert ENCRYPTION.decrypt_object(ENCRYPTION.encrypt_object(value, PLACE), PLACE) == value


def test_read_only_mappings_are_objects_too() -> None:
    value = MappingProxyType({"config": MappingProxyType({"shop": "canary"})})
    opened = ENCRYPTION.decrypt_object(ENCRYPTION.encrypt_object(value, PLACE), PLACE)
    assert opened == {"config": {"shop": "canary"}}


@pytest.mark.parametrize("text", ["canary", "[]", "null", '"canary"', "1", "{", ""])
def test_a_text_that_is_no_object_does_not_open_as_one(text: str) -> None:
    with pytest.raises(UnexpectedContentError, match="does not hold a JSON object"):
        ENCRYPTION.decrypt_object(ENCRYPTION.encrypt(text, PLACE), PLACE)


def test_a_retired_key_opens_and_asks_to_be_replaced() -> None:
    envelope = BEFORE_ROTATION.encrypt("canary", PLACE)
    assert not BEFORE_ROTATION.needs_reencryption(envelope)
    assert AFTER_ROTATION.needs_reencryption(envelope)
    assert AFTER_ROTATION.decrypt(envelope, PLACE) == "canary"


def test_the_primary_key_seals() -> None:
    envelope = AFTER_ROTATION.encrypt("canary", PLACE)
    assert Encryption.key_id_of(envelope) == Keyring.from_hex(NEW_KEY).primary_id
    assert not AFTER_ROTATION.needs_reencryption(envelope)


def test_bytes_sealed_under_a_retired_key_open() -> None:
    assert AFTER_ROTATION.open_bytes(BEFORE_ROTATION.seal_bytes(b"canary", PLACE), PLACE) == b"canary"


def test_an_object_and_a_text_share_one_form() -> None:
    assert ENCRYPTION.decrypt(ENCRYPTION.encrypt_object({"a": 1}, PLACE), PLACE) == '{"a":1}'


@pytest.mark.parametrize(
    "method", ["encrypt", "decrypt", "encrypt_object", "decrypt_object", "seal_bytes", "open_bytes"]
)
def test_nobody_chooses_a_nonce_or_forgets_the_place(method: str) -> None:
    _self, _value, place = inspect.signature(getattr(Encryption, method)).parameters.values()
    assert place.name == "associated_data"
    assert place.default is inspect.Parameter.empty


def test_one_encryption_serves_many_threads() -> None:
    places = [replace(PLACE, credential_version=version) for version in range(400)]
    with ThreadPoolExecutor(8) as pool:
        envelopes = list(
            pool.map(lambda place: ENCRYPTION.encrypt(f"canary-{place.credential_version}", place), places)
        )
        opened = list(pool.map(ENCRYPTION.decrypt, envelopes, places))
    assert opened == [f"canary-{version}" for version in range(400)]


def test_a_generated_key_makes_a_keyring_and_never_comes_twice() -> None:
    keys = [Encryption.generate_key() for _ in range(100)]
    assert len(Keyring.from_hex(keys[0], keys[1:]).key_ids) == 100
    assert {len(key) for key in keys} == {64}


def test_a_token_is_base64url_of_the_bytes_asked_for() -> None:
    assert len(Encryption.generate_token()) == 43
    assert len(Encryption.generate_token(48)) == 64
    assert set(Encryption.generate_token(3_000)) == set(string.ascii_letters + string.digits + "-_")


def test_a_token_that_could_be_guessed_is_refused() -> None:
    assert len(Encryption.generate_token(16)) == 22
    with pytest.raises(ValueError, match="at least 16"):
        Encryption.generate_token(15)
