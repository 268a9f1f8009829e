"""What an operator has decided, checked as a whole: settings, services, and this server's registrations at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from .core.catalogue import Catalogue
from .core.errors import ConfigurationError
from .core.oauth_messages import OAuthClient
from .core.proxy_rules import ProxyRules
from .core.secret import SecretStr
from .core.service import ServiceDefinition
from .core.service_kinds import TokenEndpointAuth
from .resources import catalogue_file
from .settings import CatalogueSettings, Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a process is opened with. `clients` are by service name, of the services that are configured."""

    settings: Settings
    catalogue: Catalogue
    clients: Mapping[str, OAuthClient]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check everything. Raises ConfigurationError."""
        settings = Settings.from_environment(environment)
        catalogue = load_catalogue(settings, environment)
        # Only here are the names of the services known, and only before the server starts is a mistake told in full.
        ProxyRules.of(catalogue, settings.proxy_allow)
        return cls(settings, catalogue, load_clients(catalogue, environment))


def load_catalogue(settings: CatalogueSettings, environment: Mapping[str, str]) -> Catalogue:
    """The services that come with the project, and those of PROVIDERS_FILE. Raises ConfigurationError."""
    texts = {"the built-in catalogue": catalogue_file().read_text("utf-8")}
    if settings.providers_file:
        try:
            texts[str(settings.providers_file)] = settings.providers_file.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(f"PROVIDERS_FILE {settings.providers_file}: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"PROVIDERS_FILE {settings.providers_file} is not UTF-8 at byte {error.start}: save it as UTF-8."
            ) from None
    return Catalogue.from_files(texts, environment.get, development=settings.is_development)


def load_clients(catalogue: Catalogue, environment: Mapping[str, str]) -> dict[str, OAuthClient]:
    """This server's registrations, by service name, for every service that needs one and is configured completely."""
    return {
        service.name: OAuthClient(
            environment[service.client_id_name],
            SecretStr(environment.get(service.client_secret_name, "")),
            tuple(
                (header, SecretStr(value))
                for header, name in service.secret_headers.items()
                if (value := environment.get(name, "").strip())
            ),
        )
        for service in catalogue
        if service.needs_client and not missing_settings(service, environment)
    }


def missing_settings(service: ServiceDefinition, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The settings that are still needed before users can connect a service."""
    if not service.needs_client:
        return ()
    needed = [service.client_id_name]
    if service.token_endpoint_auth is not TokenEndpointAuth.NONE:
        needed.append(service.client_secret_name)
    return tuple(name for name in needed if not environment.get(name, "").strip())
