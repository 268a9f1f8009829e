"""A cookie's name is exactly its bytes."""

import pytest

from integrations_api.raw_cookies import cookie_value

NAME = "__Host-integrations-0123456789abcdef"


def read(*lines: bytes) -> str | None:
    return cookie_value([(b"cookie", line) for line in lines], NAME)


@pytest.mark.parametrize(
    "line",
    [b"%s=v1.a.b", b"a=1; %s=v1.a.b", b"%s=v1.a.b; a=1", b"a=1;%s=v1.a.b", b" \t%s=v1.a.b \t; b", b"=x; %s=v1.a.b"],
)
def test_it_is_found_among_others(line: bytes) -> None:
    assert read(line % NAME.encode()) == "v1.a.b"


@pytest.mark.parametrize(
    "before", [b"\xa0", b"\x85", b"\xc2\xa0", b"\x0b", b"\x0c", b"\x1f", b"\xe2\x80\xa8", b"%20", b'"', b"\x00"]
)
def test_a_name_that_only_looks_like_it_is_another(before: bytes) -> None:
    """A sibling host may set such a cookie; the browser lets nobody but us set the real one."""
    assert read(before + NAME.encode() + b"=v1.a.b") is None
    assert read(NAME.encode() + before + b"=v1.a.b") is None


def test_case_counts() -> None:
    assert read(NAME.lower().encode() + b"=v1.a.b") is None


def test_two_of_one_name_are_none() -> None:
    pair = NAME.encode() + b"=v1.a.b"
    assert read(pair + b"; " + pair) is None
    assert read(pair, pair) is None


def test_values_are_not_unquoted() -> None:
    assert read(NAME.encode() + b'="v1.a.b"') == '"v1.a.b"'
    assert read(NAME.encode() + b"=\xff") is None


def test_without_cookies_there_is_none() -> None:
    assert cookie_value([(b"accept", b"*/*")], NAME) is None
