"""The state parameter authenticates itself."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.errors import InvalidStateError
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.state import new_state, read_state, state_hash
from tests.unit.fakes import START

PAGE = "https://app.example/integrations"
ENCRYPTION = Encryption(Keyring.from_hex("ab" * 32))


def test_a_state_names_its_page_and_its_end() -> None:
    state = new_state(ENCRYPTION, redirect_to=PAGE, now=START)
    authentic = read_state(ENCRYPTION, state)
    assert authentic.expires_at == START + timedelta(minutes=10)
    assert authentic.redirect_to(["https://app.example/", PAGE]) == PAGE
    assert authentic.redirect_to(["https://app.example/"]) is None
    assert authentic.hash == state_hash(state)


def test_a_state_without_page_leads_nowhere() -> None:
    authentic = read_state(ENCRYPTION, new_state(ENCRYPTION, redirect_to=None, now=START))
    assert authentic.redirect_to([PAGE]) is None


def test_states_are_never_the_same() -> None:
    states = {new_state(ENCRYPTION, redirect_to=PAGE, now=START) for _ in range(1000)}
    assert len({state[:40] for state in states}) == 1000


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    state = new_state(ENCRYPTION, redirect_to=PAGE, now=START)
    raw = bytearray(urlsafe_b64decode(state + "=" * (-len(state) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidStateError):
        read_state(ENCRYPTION, urlsafe_b64encode(bytes(raw)).decode().rstrip("="))


def test_there_is_one_way_to_write_a_state() -> None:
    state = new_state(ENCRYPTION, redirect_to=PAGE, now=START)
    for other in (state + "=", state + "\n", " " + state, state + "A", state[:-1]):
        with pytest.raises(InvalidStateError):
            read_state(ENCRYPTION, other)


def test_a_state_of_another_service_key_is_refused() -> None:
    state = new_state(Encryption(Keyring.from_hex("cd" * 32)), redirect_to=PAGE, now=START)
    with pytest.raises(InvalidStateError):
        read_state(ENCRYPTION, state)


def test_a_state_outlives_the_rotation_of_its_key() -> None:
    state = new_state(ENCRYPTION, redirect_to=PAGE, now=START)
    rotated = Encryption(Keyring.from_hex("cd" * 32, ["ab" * 32]))
    assert read_state(rotated, state).hash == state_hash(state)
