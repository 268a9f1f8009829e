"""What can be synced: lists at services, and how their records are called."""

from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from ..core.errors import UnknownResourceError
from ..core.json_types import JsonObject
from ..core.service import ServiceDefinition
from .integration_client import IntegrationClient


class RecordPage(Protocol):
    """Some records, and where the next ones begin: None after the last page."""

    @property
    def records(self) -> Sequence[JsonObject]:
        """The records."""
        ...

    @property
    def cursor(self) -> str | None:
        """It holds no secret."""
        ...

    @property
    def is_partial(self) -> bool:
        """Whether the service has refused a part of the list up to here; a list that is gone on with remembers it."""
        ...


class RecordPages(Protocol):
    """A list at a service, from its beginning or from where it stopped."""

    def pages(self, after: str | None = None) -> AsyncIterator[RecordPage]:
        """The pages after a page's `cursor`."""
        ...


@dataclass(frozen=True, slots=True)
class SyncResource:
    """One kind of record of one service.

    `open` gives the list: of everything for None, or of what changed since a moment where `lists_changes`. `id_of` is
    given a record and says what the service calls it, None where it does not. `is_whole`: a record that a list of
    everything does not have is gone at the service, unless a page says that the list is partial; False where it always
    shows a part only, such as the last weeks.
    """

    open: Callable[[IntegrationClient, datetime | None], RecordPages]
    id_of: Callable[[JsonObject], object]
    lists_changes: bool = False
    is_whole: bool = True


SyncResources: TypeAlias = Mapping[str, Mapping[str, SyncResource]]
"""By the service's name and the resource's."""


def find_resource(resources: SyncResources, service: ServiceDefinition, resource: str) -> SyncResource:
    """The service's own, or that of the nearest service it is based on. Raises UnknownResourceError."""
    of_service = ChainMap(*(dict(resources.get(name, {})) for name in service.lineage))
    found = of_service.get(resource)
    if found is None:
        known = ", ".join(sorted(of_service)) or "none"
        raise UnknownResourceError(f"{service.name} has no such resource to sync. It has: {known}.")
    return found
