"""Arrays taken apart while they arrive: the same items wherever the pieces are cut."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.errors import ReplyTooLargeError
from supabase_integrations.core.json_stream import ArrayItems

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.sampled_from('ab"\\[]{},:é\n'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\{[', max_size=3), inner, max_size=3),
    max_leaves=12,
)
ITEMS = st.lists(
    st.lists(VALUES, max_size=3) | st.dictionaries(st.text('x"}', max_size=3), VALUES, max_size=3), max_size=5
)


def taken_apart(text: bytes, cuts: list[int]) -> tuple[list[Any], bool]:
    """The items of an array that comes in pieces."""
    items, found, begin = ArrayItems(), [], 0
    for end in [*sorted(cuts), len(text)]:
        found += [orjson.loads(item) for item in items.feed(text[begin:end])]
        begin = end
    return found, items.is_complete


@given(ITEMS, st.booleans(), st.data())
def test_the_pieces_do_not_matter(items: list[Any], is_indented: bool, data: st.DataObject) -> None:
    text = orjson.dumps(items, option=orjson.OPT_INDENT_2 if is_indented else None)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    assert taken_apart(text, cuts) == (items, True)


@given(ITEMS)
def test_byte_by_byte_is_the_same(items: list[Any]) -> None:
    text = orjson.dumps(items)
    assert taken_apart(text, list(range(len(text)))) == (items, True)


@given(ITEMS.filter(bool), st.data())
def test_an_array_that_breaks_off_is_not_complete(items: list[Any], data: st.DataObject) -> None:
    text = orjson.dumps(items)
    assert not taken_apart(text[: data.draw(st.integers(0, len(text) - 1))], [])[1]


def test_an_item_without_end_is_given_up() -> None:
    items = ArrayItems(max_item_bytes=100)
    assert items.feed(b'[{"a":"' + b"x" * 80) == []
    with pytest.raises(ReplyTooLargeError):
        items.feed(b"x" * 80)


def test_items_before_and_after_do_not_count() -> None:
    items = ArrayItems(max_item_bytes=100)
    whole = b'{"a":"' + b"x" * 80 + b'"}'
    assert items.feed(b"[" + b",".join([whole] * 50) + b"]") == [whole] * 50
