"""What is copied from services into synced_records: how far a run is, when the next one asks for everything, and which
records can be stored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import orjson

from .json_types import JsonObject
from .models import IntegrationRef

MAX_DATA_BYTES: Final = 256 * 1024
"""Of one record as compact JSON. The database's own bound is twice that, for it prints JSON wider."""
MAX_DEPTH: Final = 100
"""Levels of a record: what every JSON reader holds."""
OVERLAP: Final = timedelta(minutes=10)
"""Changes are asked for from this long before the last run began: clocks differ, and services index late."""
LONGEST_RUN: Final = timedelta(days=1)
"""A run that is older is begun anew: services forget where a list stood."""
_LONGEST_ID: Final = 255
_FIRST_WAIT: Final = timedelta(minutes=1)
_DOUBLINGS: Final = 10

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class SyncRef:
    """A resource of a connection."""

    integration: IntegrationRef
    resource: str

    @property
    def user_id(self) -> UUID:
        """Whose it is."""
        return self.integration.user_id


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What the operator decides. `every` is how long after a run the next one is due."""

    every: timedelta
    complete_every: timedelta = timedelta(hours=24)
    max_records: int = 1_000_000


@dataclass(frozen=True, slots=True)
class SyncState:
    """How far a sync is; times are the database's. `started_at` None: no run is under way."""

    now: datetime
    cursor: str | None = field(repr=False)
    started_at: datetime | None
    changes_since: datetime | None
    records: int
    failures: int
    synced_until: datetime | None
    complete_until: datetime | None


class SkipReason(StrEnum):
    """Why a record is not stored."""

    NO_ID = "no_id"
    NUL_CHARACTER = "nul_character"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    REFUSED = "refused_by_database"


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """A record that may be stored; `data` is its JSON."""

    external_id: str
    data: bytes = field(repr=False)


def resumes(state: SyncState) -> bool:
    """Whether a run goes on, instead of a new one."""
    return state.started_at is not None and state.now - state.started_at < LONGEST_RUN


def changes_since(state: SyncState, complete_every: timedelta, *, lists_changes: bool) -> datetime | None:
    """From when on a new run asks for changes; None where it asks for everything, so that deletions are found."""
    if not lists_changes or state.synced_until is None or state.complete_until is None:
        return None
    if state.now - state.complete_until >= complete_every:
        return None
    return state.synced_until - OVERLAP


def wait_after_failure(failures: int) -> timedelta:
    """How long after the given failure in a row (0: the first) a sync is tried again: a minute, doubled each time."""
    wait: timedelta = _FIRST_WAIT * 2 ** min(failures, _DOUBLINGS)
    return wait


def record_of(found: JsonObject, external_id: object) -> SyncRecord | SkipReason:
    """A record as it is stored, or why it cannot be."""
    name = str(external_id) if isinstance(external_id, (str, int)) and not isinstance(external_id, bool) else ""
    if not name or len(name) > _LONGEST_ID or _CONTROL.search(name):
        return SkipReason.NO_ID
    try:
        data = orjson.dumps(found)
    except orjson.JSONEncodeError:
        # What a parser gave can be written but for its depth.
        return SkipReason.TOO_DEEP
    if len(data) > MAX_DATA_BYTES:
        return SkipReason.TOO_LARGE
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth_exceeds(found, MAX_DEPTH):
        return SkipReason.TOO_DEEP
    if _NUL.search(data):
        return SkipReason.NUL_CHARACTER
    return SyncRecord(name, data)


def _depth_exceeds(found: object, most: int) -> bool:
    """Without recursion: the depth is the service's to choose."""
    level: list[object] = [found]
    for _ in range(most):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
