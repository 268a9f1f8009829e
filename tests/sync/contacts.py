"""The demo CRM's contacts as a test wants them: how many, in pages of which size, and what happens on the way."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.scripted_service import Answer, Asked

Interruption = Callable[[Asked], Answer | None]


@dataclass
class ContactBook:
    """Answers GET /api/contacts. `before` may answer in its place."""

    contacts: list[dict[str, Any]]
    page: int = 50
    before: Interruption | None = None
    raw: dict[str, bytes] = field(default_factory=dict)
    """Bodies by cursor, in place of the pages."""
    pages_given: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, asked: Asked) -> Answer:
        """One page."""
        cursor = asked.query.get("cursor", "")
        if self.before and (answer := self.before(asked)):
            return answer
        with self._lock:
            self.pages_given.append(cursor)
        if cursor in self.raw:
            return Answer(200, self.raw[cursor])
        start = int(cursor or 0)
        following = start + self.page
        more = str(following) if following < len(self.contacts) else None
        return Answer.json({"contacts": self.contacts[start:following], "next_cursor": more})


def people(count: int) -> list[dict[str, Any]]:
    """So many contacts."""
    return [
        {"id": str(number), "name": f"Person {number}", "email": f"p{number}@example.com"} for number in range(count)
    ]
