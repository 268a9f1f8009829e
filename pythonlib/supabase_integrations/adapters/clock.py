"""The machine's own clock."""

import asyncio
from datetime import UTC, datetime


class SystemClock:
    """Implements `port.Clock`."""

    def now(self) -> datetime:
        """The current moment, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await asyncio.sleep(seconds)
