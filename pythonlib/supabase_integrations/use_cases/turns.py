"""Whose turn it was: what makes claims of a few rows each as fair across users as one of many."""

from collections import deque
from collections.abc import Iterable
from typing import Final
from uuid import UUID

REMEMBERED: Final = 500
"""The longest claim there is. Turns that are further back count for nobody, and a user who had many waits no longer for
others than it takes to claim so many of theirs.
"""


class Turns:
    """The users whose rows this process claimed last, each as often as a row of theirs was."""

    def __init__(self) -> None:
        self._users: deque[UUID] = deque(maxlen=REMEMBERED)

    @property
    def served(self) -> tuple[UUID, ...]:
        """The last 500 of them."""
        return tuple(self._users)

    def add(self, users: Iterable[UUID]) -> None:
        """Rows of these users were claimed."""
        self._users.extend(users)
