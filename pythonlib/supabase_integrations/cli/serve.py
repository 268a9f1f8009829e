"""`integrations serve`: the HTTP API."""

import socket

from ..core.errors import ConfigurationError
from .environment import EnvFile, read_environment


def serve(env_file: EnvFile = None) -> None:
    """Run the HTTP API on HOST and PORT, until it is asked to stop."""
    import uvicorn

    from integrations_api import create_app

    from ..configuration import Configuration
    from ..logs import configure_logs

    configuration = Configuration.from_environment(read_environment(env_file))
    app = create_app(configuration)
    listening = _listen(configuration.settings.host, configuration.settings.port)
    configure_logs()
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=30)
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port} ({error.strerror}): end what uses it, or set HOST and PORT."
        ) from None
