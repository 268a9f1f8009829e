"""Log lines that are an event and its fields, as a library may write them: nobody sees them who has not asked for them.

Where structlog is configured, by `configure_logs` or by the application, they go its way. Elsewhere they are records of
the standard library under `supabase_integrations`, where the application's handlers find them, if it has any. structlog
itself, while nobody configured it, would print them.
"""

import logging
from collections.abc import Mapping
from typing import Final

import structlog

_ROOT: Final = "supabase_integrations"


class StructuredLog:
    """What one area of this package, such as `refresh`, tells. The fields are for whoever calls to choose."""

    def __init__(self, area: str) -> None:
        name = f"{_ROOT}.{area}"
        self._structured = structlog.get_logger(name)
        self._plain = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """Something went as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something did not, and is tried again or waits for a user."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something did not that the operator has to look at."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        if structlog.is_configured():
            getattr(self._structured, level)(event, **fields)
        else:
            getattr(self._plain, level)("%s", _Line(event, fields), stacklevel=3)


class _Line:
    """An event and its fields as one line, put together where somebody reads it."""

    __slots__ = ("_event", "_fields")

    def __init__(self, event: str, fields: Mapping[str, object]) -> None:
        self._event = event
        self._fields = fields

    def __str__(self) -> str:
        return " ".join((self._event, *(f"{name}={value!r}" for name, value in self._fields.items())))
