"""Which services exist: definitions by name, parsed from catalogue files (`[service.<name>]` tables of TOML)."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import ValidationError

from .errors import ConfigurationError, UnknownServiceError
from .service import ServiceDefinition


class Catalogue:
    """The services this system knows, in alphabetical order."""

    def __init__(self, services: Iterable[ServiceDefinition]) -> None:
        ordered = sorted(services, key=lambda service: service.name)
        self._services: Mapping[str, ServiceDefinition] = {service.name: service for service in ordered}

    @classmethod
    def from_files(cls, texts: Mapping[str, str], variable: Callable[[str], str | None], *, development: bool) -> Self:
        """Read TOML files, `texts` by file name.

        A service that a later file names again is replaced whole, unless its table says `based_on = "<service>"`: then
        it is that service with the keys of the table changed.
        `variable(name)` is the operator's value for a `${NAME}` in a service's texts, or None where the default under
        the service's `variables` holds. Services marked `development_only` exist in development alone.
        Raises ConfigurationError, naming the file, the service and the key.
        """
        tables: dict[str, dict[str, Any]] = {}
        services: dict[str, ServiceDefinition] = {}
        for file_name, text in texts.items():
            for name, table in _tables(file_name, text):
                where = f"{file_name} [service.{name}]"
                tables[name] = _based(where, table, tables)
                base = services.get(table.get("based_on", ""))
                bases = tuple(each for each in base.lineage if each != name) if base else ()
                services[name] = _definition(where, name, bases, tables[name], variable)
        return cls(service for service in services.values() if development or not service.development_only)

    def __iter__(self) -> Iterator[ServiceDefinition]:
        return iter(self._services.values())

    def __len__(self) -> int:
        return len(self._services)

    def get(self, service_name: str) -> ServiceDefinition:
        """The definition of one service. Raises UnknownServiceError."""
        try:
            return self._services[service_name]
        except KeyError:
            raise UnknownServiceError from None


def _tables(file_name: str, text: str) -> Iterable[tuple[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file_name} is not TOML: {error}") from None
    unknown = set(document) - {"service"}
    if unknown or not isinstance(document.get("service", {}), dict):
        raise ConfigurationError(f"{file_name} may hold only tables called [service.<name>].")
    services: dict[str, Any] = document.get("service", {})
    return services.items()


def _based(where: str, table: Any, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} must be a table.")
    base = table.get("based_on")
    if base is None:
        return table
    if not isinstance(base, str) or base not in known:
        raise ConfigurationError(f"{where} based_on: there is no service of that name before it.")
    own = {key: value for key, value in table.items() if key != "based_on"}
    return {**known[base], **own}


def _definition(
    where: str, name: str, bases: Sequence[str], table: Mapping[str, Any], variable: Callable[[str], str | None]
) -> ServiceDefinition:
    defaults = table.get("variables")
    defaults = defaults if isinstance(defaults, dict) else {}

    def value_of(found: re.Match[str]) -> str:
        value = variable(found[1]) or defaults.get(found[1])
        if found[1] not in defaults or not isinstance(value, str) or not value:
            raise ConfigurationError(f"{where} uses ${{{found[1]}}}: set it, or give it a default under variables.")
        return value

    substituted = {
        key: re.sub(r"\$\{([A-Z][A-Z0-9_]*)\}", value_of, text) if isinstance(text, str) else text
        for key, text in table.items()
    }
    try:
        return ServiceDefinition.model_validate({**substituted, "name": name, "bases": bases})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{where} {key}: {first['msg']}.") from None
