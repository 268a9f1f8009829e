"""A fake service for each test, and one user's connections to it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.clients.fake_service import FakeService, running_fake
from tests.clients.office import Office, open_office


@pytest.fixture
def fake() -> Iterator[FakeService]:
    """The service."""
    with running_fake() as service:
        yield service


@pytest.fixture
async def office(fake: FakeService, tmp_path: Path) -> AsyncIterator[Office]:
    """The connections."""
    async with open_office(fake, tmp_path / "state") as opened:
        yield opened
