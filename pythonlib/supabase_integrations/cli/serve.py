"""`integrations serve`: the HTTP API."""

from .environment import EnvFile, read_environment


def serve(env_file: EnvFile = None) -> None:
    """Run the HTTP API on HOST and PORT, until it is asked to stop."""
    import uvicorn

    from integrations_api import create_app

    from ..logs import configure_logs
    from ..settings import Settings

    environment = read_environment(env_file)
    settings = Settings.from_environment(environment)
    app = create_app(settings, environment)
    configure_logs()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
