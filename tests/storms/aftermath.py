"""What became of every connection after a turmoil, counted twice: in the tables, and at the service."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.errors import ReauthorizationRequiredError
from supabase_integrations.core.models import IntegrationRef, IntegrationStatus
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests.storms.grants import DemoClient
from tests.storms.rows import OpenRow, fate_at
from tests.storms.system import process_environment
from tests.storms.token_proxy import Exchange, digest
from tests.storms.turmoil import Turmoil

TOKEN_SECONDS: Final = 2
_A_MOMENT: Final = 3.0
"""Within it a living worker has written a reply to its journal."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What there was when all was quiet again."""

    lost: Mapping[IntegrationRef, Exchange]
    """At the service: it sent a refresh token that is in no row and that nobody ever came back with."""
    unexplained: tuple[Exchange, ...]
    """Those of them that went to a worker which was not killed then."""
    dead: frozenset[IntegrationRef]
    """In the table: rows that are not active."""
    ended: frozenset[IntegrationRef]
    """At the service: rows whose refresh token it would not accept."""
    handed_out: Mapping[IntegrationRef, bool]
    """Whether the service accepts the access token that a caller was given at last."""


async def aftermath(turmoil: Turmoil, demo: DemoClient, catalogue: Catalogue, encryption: Encryption) -> Aftermath:
    """Refresh every connection once more, and compare the rows with what the service knows."""
    handed_out = await refreshed_once_more(turmoil, demo)
    async with fate_at(turmoil.database.superuser_url, encryption) as fate:
        rows = await fate.read(sorted(set(turmoil.service.owners.values())), catalogue)
    lost = lost_replies(turmoil, rows)
    alive = await asyncio.gather(*(demo.is_active(row.refresh_token) for row in rows.values()))
    return Aftermath(
        lost={turmoil.service.owners[exchange.spent]: exchange for exchange in lost},
        unexplained=tuple(exchange for exchange in lost if not was_killed_then(turmoil, exchange)),
        dead=frozenset(ref for ref, row in rows.items() if row.integration.status is not IntegrationStatus.ACTIVE),
        ended=frozenset(ref for ref, is_alive in zip(rows, alive, strict=True) if not is_alive),
        handed_out=handed_out,
    )


def lost_replies(turmoil: Turmoil, rows: Mapping[IntegrationRef, OpenRow]) -> list[Exchange]:
    """The exchanges whose new refresh token was never seen again."""
    presented = {exchange.spent for exchange in turmoil.proxy.exchanges}
    current = {digest(row.refresh_token.get_secret_value()) for row in rows.values()}
    return [
        exchange
        for exchange in turmoil.proxy.exchanges
        if exchange.brought is not None and exchange.brought not in presented | current
    ]


def was_killed_then(turmoil: Turmoil, exchange: Exchange) -> bool:
    """Whether who asked was killed before the reply was complete, or a moment after."""
    worker = turmoil.fleet.workers.get(exchange.door)
    if worker is None or worker.killed_at is None:
        return False
    return exchange.replied_at is None or worker.killed_at < exchange.replied_at + _A_MOMENT


async def refreshed_once_more(turmoil: Turmoil, demo: DemoClient) -> dict[IntegrationRef, bool]:
    """Ask for the credentials of every connection, long after its token expired; whether the service accepts them."""
    await asyncio.sleep(TOKEN_SECONDS)
    await turmoil.time.end_everything()
    settings = {"WORKER_DATABASE_URL": turmoil.database.worker_url("last")}
    environment = process_environment(demo, turmoil.proxy.url("last"), turmoil.fleet.folder / "one", settings)

    # Few at a time, so that a token is looked at within its two seconds.
    turn = asyncio.Semaphore(8)

    async with open_worker_integrations(WorkerConfiguration.from_environment(environment)) as door:

        async def once_more(ref: IntegrationRef) -> bool | None:
            async with turn:
                for _ in range(20):
                    began = time.monotonic()
                    try:
                        credentials = await door.get_integration_credentials(ref.id, ref.user_id)
                    except ReauthorizationRequiredError:
                        return None
                    assert isinstance(credentials, OAuthCredentials)
                    is_active = await demo.is_active(credentials.access_token)
                    # What is handed out has half of its time before it; a refusal after that says nothing.
                    if is_active or time.monotonic() - began < TOKEN_SECONDS / 2:
                        return is_active
                return False

        refs = sorted(set(turmoil.service.owners.values()))
        heard = await asyncio.gather(*map(once_more, refs))
    return {ref: accepted for ref, accepted in zip(refs, heard, strict=True) if accepted is not None}
