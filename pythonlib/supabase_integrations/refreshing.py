"""What both doors share: sealing, the way to the services, the journal, and the one refresher over them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .adapters.clock import SystemClock
from .adapters.file_journal import open_file_journal
from .adapters.journal_log import JournalLogger
from .adapters.provider_http import CONNECTIONS_PER_HOST, open_provider_http
from .adapters.refresh_log import RefreshLogger
from .core.catalogue import Catalogue
from .core.encryption import Encryption
from .core.oauth_messages import OAuthClient
from .port import Clock, Journal, ProviderHttp, RefreshLog
from .uninterrupted import uninterrupted
from .use_cases.credential_vault import CredentialVault
from .use_cases.journal_replay import JournalReplay, OpenStore
from .use_cases.refresher import Refresher


@dataclass(frozen=True, slots=True)
class Refreshing:
    """The machinery of one process; it holds nobody's identity."""

    encryption: Encryption
    clock: Clock
    http: ProviderHttp
    vault: CredentialVault
    journal: Journal
    refresher: Refresher

    def replay(self, open_store: OpenStore) -> JournalReplay:
        """Stores what this machine's journal kept, through the doors that `open_store` has."""
        return JournalReplay(self.journal, open_store, self.refresher, self.clock, JournalLogger())

    @asynccontextmanager
    async def replaying(self, open_store: OpenStore) -> AsyncIterator[None]:
        """Do so beside everything else for as long as the block lasts."""
        replaying = asyncio.create_task(self.replay(open_store).run())
        try:
            yield
        finally:
            replaying.cancel()
            await asyncio.wait([replaying])


@asynccontextmanager
async def open_refreshing(
    catalogue: Catalogue,
    clients: Mapping[str, OAuthClient],
    encryption: Encryption,
    *,
    state_dir: Path,
    is_development: bool,
    connections_per_host: int = CONNECTIONS_PER_HOST,
    log: RefreshLog | None = None,
) -> AsyncIterator[Refreshing]:
    """Open it for as long as the block lasts; at the end, refreshes that have begun are waited for. `log` is told
    what becomes of refreshes, by default in the process's log.

    Raises ConfigurationError where the journal cannot be kept under `state_dir`.
    """
    clock = SystemClock()
    async with (
        open_provider_http(allow_loopback=is_development, max_connections_per_host=connections_per_host) as http,
        open_file_journal(state_dir, encryption, clock, JournalLogger()) as journal,
    ):
        vault = CredentialVault(encryption, clock)
        refresher = Refresher(catalogue, clients, vault, http, clock, journal=journal, log=log or RefreshLogger(clock))
        try:
            yield Refreshing(encryption, clock, http, vault, journal, refresher)
        finally:
            # However often it is cancelled: what a service sends now exists nowhere else.
            await uninterrupted(refresher.drain())
