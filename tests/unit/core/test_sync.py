"""How far a sync is, and which records can be stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.sync import (
    MAX_DATA_BYTES,
    MAX_DEPTH,
    SkipReason,
    SyncRecord,
    SyncState,
    changes_since,
    record_of,
    resumes,
    wait_after_failure,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
IDLE = SyncState(
    now=NOW,
    cursor=None,
    started_at=None,
    changes_since=None,
    records=0,
    failures=0,
    synced_until=NOW - HOUR,
    complete_until=NOW - 2 * HOUR,
)


@pytest.mark.parametrize(
    ("started_at", "expected"), [(None, False), (NOW - HOUR, True), (NOW - DAY, False), (NOW - 2 * DAY, False)]
)
def test_a_run_goes_on_for_a_day(started_at: datetime | None, expected: bool) -> None:
    assert resumes(replace(IDLE, started_at=started_at)) is expected


def test_changes_are_asked_for_from_before_the_last_run() -> None:
    assert changes_since(IDLE, DAY, lists_changes=True) == NOW - HOUR - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("state", "lists_changes"),
    [
        (IDLE, False),
        (replace(IDLE, synced_until=None), True),
        (replace(IDLE, complete_until=None), True),
        (replace(IDLE, complete_until=NOW - DAY), True),
    ],
)
def test_everything_is_asked_for_otherwise(state: SyncState, lists_changes: bool) -> None:
    assert changes_since(state, DAY, lists_changes=lists_changes) is None


def test_failures_are_waited_after_longer_each_time_and_not_for_good() -> None:
    minutes = [wait_after_failure(failures).total_seconds() / 60 for failures in (0, 1, 2, 10, 11, 99_999)]
    assert minutes == [1, 2, 4, 1024, 1024, 1024]


def nested(levels: int) -> Any:
    """So many lists inside each other."""
    found: Any = []
    for _ in range(levels - 1):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("record", "external_id", "expected"),
    [
        ({"a": 1}, None, SkipReason.NO_ID),
        ({"a": 1}, "", SkipReason.NO_ID),
        ({"a": 1}, "x" * 256, SkipReason.NO_ID),
        ({"a": 1}, "a\nb", SkipReason.NO_ID),
        ({"a": 1}, True, SkipReason.NO_ID),
        ({"a": 1}, 1.5, SkipReason.NO_ID),
        ({"a": 1}, {"b": 1}, SkipReason.NO_ID),
        ({"a": "\x00"}, "1", SkipReason.NUL_CHARACTER),
        ({"\x00": 1}, "1", SkipReason.NUL_CHARACTER),
        ({"a": "\\\x00"}, "1", SkipReason.NUL_CHARACTER),
        ({"a": "x" * MAX_DATA_BYTES}, "1", SkipReason.TOO_LARGE),
        ({"a": nested(MAX_DEPTH)}, "1", SkipReason.TOO_DEEP),
        ({"a": nested(600)}, "1", SkipReason.TOO_DEEP),
    ],
)
def test_what_cannot_be_stored_is_named(record: dict[str, Any], external_id: object, expected: SkipReason) -> None:
    assert record_of(record, external_id) is expected


@pytest.mark.parametrize(
    ("record", "external_id"),
    [
        ({"a": "\\u0000"}, "1"),
        ({"a": "\\\\u0000"}, "x" * 255),
        ({"a": "x" * (MAX_DATA_BYTES - 8)}, "1"),
        ({"a": nested(MAX_DEPTH - 1)}, 7),
        ({"a": [[]] * 1000}, "gid://shopify/Product/1"),
        ({}, 0),
    ],
)
def test_what_can_be_stored_is_stored_as_it_is(record: dict[str, Any], external_id: str | int) -> None:
    stored = record_of(record, external_id)
    assert isinstance(stored, SyncRecord)
    assert (stored.external_id, orjson.loads(stored.data)) == (str(external_id), record)


# A parser gives no halves of surrogate pairs.
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_exactly_the_texts_with_a_nul_are_refused(text: str) -> None:
    found = record_of({"text": text}, "1")
    assert (found is SkipReason.NUL_CHARACTER) == ("\x00" in text)


def test_a_record_shows_nothing_of_itself() -> None:
    assert "canary" not in repr(record_of({"name": "canary"}, "1"))
