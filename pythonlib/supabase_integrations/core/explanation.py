"""A connection and what happened to it, told as sentences. Nothing of its credentials or settings is in them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from .explanation_words import Reason, reason_for, what, who
from .models import Integration, IntegrationEvent, IntegrationStatus
from .plurals import counted

_REFRESHED: Final = (IntegrationStatus.ACTIVE, IntegrationStatus.ERROR)
"""Where the worker looks at a row."""
_LATE: Final = timedelta(minutes=5)
"""A row that has been due for so long is waiting for a worker."""
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True, slots=True)
class Record:
    """All that the tables hold of one id and owner. `row` is None where it was deleted.

    `key_id` names the key the credentials are sealed under, None where there are none; `events` are the newest, the
    oldest of them first, and `older_events` counts those before.
    """

    user_id: UUID
    integration_id: UUID
    row: Integration | None
    key_id: str | None
    events: tuple[IntegrationEvent, ...]
    older_events: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences under four headings. They may hold what users wrote, but no character that a terminal would obey."""

    identity: tuple[str, ...]
    state: tuple[str, ...]
    history: tuple[str, ...]
    next_steps: tuple[str, ...]


def explain(record: Record, now: datetime) -> Explanation:
    """What a connection is, how it is, what happened, and what to do next."""
    if record.row is None:
        return _explain_deleted(record)
    reason = _reason(record.row, now)
    return Explanation(
        identity=_identity(record.row, record.key_id),
        state=_state(record.row, reason, now),
        history=_history(record),
        next_steps=(reason.next_step,),
    )


def printable(text: str) -> str:
    """Text with every character spelt out that is not one to be seen: controls, and marks that turn text around."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _explain_deleted(record: Record) -> Explanation:
    last = record.events[-1]
    state = ["The connection is deleted; only its history is left."]
    if last.status is not None and last.status is not IntegrationStatus.ACTIVE:
        state.append(f"At its end it was {last.status}. {reason_for(last.status, last.error_code).why}")
    elif last.error_code is not None:
        state.append(reason_for(last.status, last.error_code).why)
    return Explanation(
        identity=(f"A connection to {last.service_name}, of user {record.user_id}.",),
        state=tuple(printable(line) for line in state),
        history=_history(record),
        next_steps=("Nothing can be done with it. To have it again, the user connects the account anew.",),
    )


def _identity(row: Integration, key_id: str | None) -> tuple[str, ...]:
    account = f"account {row.external_account_id}" if row.external_account_id else "its only account"
    named = f', called "{row.display_name}"' if row.display_name else ""
    sealed = f"sealed under key {key_id}" if key_id else "none: they were removed"
    lines = (
        f"A connection to {row.service_name} ({row.service_type}), {account}{named}, of user {row.user_id}.",
        f"Connected at {_moment(row.created_at)}; last changed in any way at {_moment(row.updated_at)}.",
        f"Credentials: {sealed}, version {row.credential_version}.",
    )
    return tuple(printable(line) for line in lines)


def _state(row: Integration, reason: Reason, now: datetime) -> tuple[str, ...]:
    lines = [f"Status: {row.status}. {reason.why}"]
    if row.last_error_code is not None:
        noted = f" at {_moment(row.last_error_at)}" if row.last_error_at else ""
        lines.append(f"Last error: {row.last_error_code}{noted}.")
    if row.refresh_failures == 1:
        lines.append("The last attempt to renew it failed.")
    elif row.refresh_failures:
        lines.append(f"{row.refresh_failures} attempts to renew it failed in a row.")
    lines.append(_token(row, now))
    if row.last_refreshed_at:
        lines.append(f"It was last renewed {_ago(row.last_refreshed_at, now)}.")
    lines += [line for line in (_lease(row, now), _schedule(row, now)) if line]
    return tuple(printable(line) for line in lines)


def _token(row: Integration, now: datetime) -> str:
    if row.expires_at is None:
        return "Its credentials have no end that is known here."
    if row.expires_at > now:
        return f"Its access token ends {_ahead(row.expires_at, now)}."
    return f"Its access token ended {_ago(row.expires_at, now)}."


def _lease(row: Integration, now: datetime) -> str | None:
    if row.refresh_lease_until is None:
        return None
    if row.refresh_lease_until > now:
        until = _moment(row.refresh_lease_until)
        return f"Somebody is renewing or changing its credentials at this moment, until {until} at the latest."
    return (
        f"Whoever was renewing it did not finish: their lease ended {_ago(row.refresh_lease_until, now)}."
        " If they had a new token, it is in the journal of their machine, and a worker there stores it."
    )


def _schedule(row: Integration, now: datetime) -> str | None:
    if row.status not in _REFRESHED:
        return None
    if row.next_refresh_at is None:
        return "It is not renewed in the background."
    if row.next_refresh_at > now:
        return f"The worker looks at it {_ahead(row.next_refresh_at, now)}."
    return f"The worker was to look at it {_ago(row.next_refresh_at, now)}."


def _reason(row: Integration, now: datetime) -> Reason:
    """Why it is as it is; an active connection without a fault may still wait for somebody."""
    if row.status is not IntegrationStatus.ACTIVE or row.last_error_code is not None:
        return reason_for(row.status, row.last_error_code)
    if row.next_refresh_at is not None and row.next_refresh_at < now - _LATE:
        return Reason(
            "It is due, and no worker has come to it.",
            "See that `integrations worker` runs and what it logs; a call for its credentials renews it too.",
        )
    if row.expires_at is not None and row.expires_at <= now and row.next_refresh_at is None:
        return Reason(
            "Its token has ended, and nothing renews it in the background.",
            "A call for its credentials renews it, or finds that the user has to connect again.",
        )
    if row.expires_at is not None and row.expires_at < now - _LATE:
        return Reason(
            "Its token has ended, and the worker came to it and left it as it is.",
            "The worker's log says why, under `credential.refresh_skipped` and this id: the worker's settings have no"
            " client for the service, or not the key above, or not that of a new token in its journal"
            " (`integrations rotate-key --status`).",
        )
    return reason_for(row.status, None)


def _history(record: Record) -> tuple[str, ...]:
    is_or_are = "is" if record.older_events == 1 else "are"
    older = (f"{counted(record.older_events, 'older event')} {is_or_are} not shown.",) if record.older_events else ()
    return (*older, *(printable(_event(event, record.user_id)) for event in record.events))


def _event(event: IntegrationEvent, owner: UUID) -> str:
    actor = who(event.actor_role, event.actor_id == owner)
    left = f"; then it was {event.status}" if event.status else ""
    code = f" ({event.error_code})" if event.error_code else ""
    did = what(event.event, event.actor_role, event.changed_columns)
    return f"{_moment(event.created_at)}: {actor} {did}{left}{code}."


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_distance(now - moment)} ago, at {_moment(moment)}"


def _ahead(moment: datetime, now: datetime) -> str:
    return f"in {_distance(moment - now)}, at {_moment(moment)}"


def _distance(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    unit, size = next((unit, size) for unit, size in _UNITS if seconds >= size or size == 1)
    return counted(seconds // size, unit)
