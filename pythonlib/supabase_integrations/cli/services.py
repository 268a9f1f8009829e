"""`integrations services`: what users can connect, and what is missing before they can."""

from .environment import EnvFile, read_environment


def services(env_file: EnvFile = None) -> None:
    """List the catalogue: which services are configured, what is missing, and the redirect URI to register."""
    from rich.console import Console
    from rich.table import Column, Table

    from ..configuration import load_catalogue, missing_settings
    from ..settings import CALLBACK_PATH, CatalogueSettings

    environment = read_environment(env_file)
    settings = CatalogueSettings.from_environment(environment)
    app_url = environment.get("APP_URL") or environment.get("NEXT_PUBLIC_APP_URL") or "<APP_URL>"
    missing_names = Column("Missing settings", no_wrap=True)
    table = Table(Column("Service", no_wrap=True), "Type", "Connects by", "Configured", missing_names)
    for service in load_catalogue(settings, environment):
        missing = missing_settings(service, environment)
        table.add_row(service.name, service.service_type, service.auth, "no" if missing else "yes", "\n".join(missing))
    console = Console()
    console.print(table)
    console.print("Redirect URI to register at every service, exactly as it stands here:")
    console.print(app_url.rstrip("/") + CALLBACK_PATH, soft_wrap=True, highlight=False, markup=False)
