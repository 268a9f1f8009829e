"""How long somebody waits for another's lease on a row."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

LEASE: Final = timedelta(seconds=60)
"""What the database grants. A request to a service is bounded well below it."""
GRACE: Final = timedelta(seconds=15)
"""How long after a lease that was not given back nobody else gets one: what its holder's journal kept comes first."""
LEASE_WAIT: Final = timedelta(seconds=40)
"""How long a caller waits for the holder: longer than a request to a service and its writing may take. Callers with
less patience give up by themselves.
"""


def pauses() -> Iterator[float]:
    """Seconds between two looks, growing from a tenth to one, that add up to the whole wait."""
    left, pause = LEASE_WAIT.total_seconds(), 0.1
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * 1.5, 1.0)
