"""How long somebody waits for another's lease on a row."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

LEASE: Final = timedelta(seconds=60)
"""What the database grants. A request to a service is bounded well below it."""
LEASE_WAIT: Final = timedelta(seconds=20)
"""How long a caller waits for the holder: longer than a request to a service may take, and no longer than a client
waits for us.
"""


def pauses() -> Iterator[float]:
    """Seconds between two looks, growing from a tenth to two, that add up to the whole wait."""
    left, pause = LEASE_WAIT.total_seconds(), 0.1
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * 1.5, 2.0)
