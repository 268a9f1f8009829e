"""RFC 4648 §5 without padding: one text for some bytes, and no other text for them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core import base64url


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foob", "Zm9vYg"), (b"fooba", "Zm9vYmE")],
)
def test_the_vectors_of_rfc_4648_section_10_hold_without_their_padding(raw: bytes, text: str) -> None:
    assert base64url.encode(raw) == text
    assert base64url.decode(text) == raw


def test_the_last_two_letters_of_the_alphabet_are_the_url_safe_ones() -> None:
    assert base64url.encode(b"\xfb\xff") == "-_8"


@given(st.binary(max_size=200))
def test_any_bytes_come_back(raw: bytes) -> None:
    assert base64url.decode(base64url.encode(raw)) == raw


@given(st.binary(max_size=200))
def test_the_text_is_the_standard_library_s_without_padding(raw: bytes) -> None:
    assert base64url.encode(raw) == base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(st.text(st.sampled_from("AQgwB-_+/= \n\r\t.~\0é\ud800"), max_size=12))
def test_only_the_canonical_text_decodes(text: str) -> None:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Zg==", id="padding"),
        pytest.param("Zm9v====", id="padding after a whole group"),
        pytest.param("Zm9v=", id="one padding character"),
        pytest.param("Zh", id="four unused bits are not zero"),
        pytest.param("Zm9", id="two unused bits are not zero"),
        pytest.param("Zm9vY", id="no bytes have this length"),
        pytest.param("++++", id="plus of the standard alphabet"),
        pytest.param("////", id="slash of the standard alphabet"),
        pytest.param("Zm9v\n", id="newline at the end"),
        pytest.param("Zm 9v", id="space"),
        pytest.param("\tZm9v", id="tab"),
        pytest.param("Zm9\0", id="NUL"),
        pytest.param("Zm9\u00e9", id="beyond ASCII"),
        pytest.param("Zm9v\u00e9\u00e9\u00e9\u00e9", id="a whole group beyond ASCII"),
        pytest.param("\uff3am9v", id="a fullwidth Z"),
        pytest.param("Zm9\ud800", id="a lone surrogate"),
    ],
)
def test_another_spelling_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        base64url.decode(text)
    assert text not in str(refusal.value)
