"""`integrations serve`: the HTTP API."""

import gc
import socket
from typing import Final

from ..core.errors import ConfigurationError
from .environment import EnvFile, read_environment

MAX_CONNECTIONS: Final = 2000
"""Beyond it, new requests are answered with 503 at once."""


def serve(env_file: EnvFile = None) -> None:
    """Run the HTTP API on HOST and PORT, until it is asked to stop."""
    # What is imported and built stays. Looking for garbage in it takes a tenth of the start, and 50 ms in which no
    # request is served each time it is gone through later.
    gc.disable()
    import uvicorn

    from integrations_api import create_app

    from ..adapters.file_journal import check_state_dir
    from ..adapters.structured_log import StructuredLog
    from ..bounded_http import BoundedHttpProtocol
    from ..configuration import Configuration
    from ..logs import configure_logs
    from ..settings import refuse_database_access

    environment = read_environment(env_file)
    configuration = Configuration.from_environment(environment)
    if not configuration.settings.is_development:
        refuse_database_access(environment)
    # Told here, with the reason: what fails once the server starts is logged without its message.
    check_state_dir(configuration.settings.state_dir)
    app = create_app(configuration)
    host, port = configuration.settings.host, configuration.settings.port
    listening = _listen(host, port)
    configure_logs()
    StructuredLog("serve").info("serve.listening", host=host, port=port, app_url=configuration.settings.app_url)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        limit_concurrency=MAX_CONNECTIONS,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port} ({_reason(error)}): end what uses it, or set HOST and PORT."
        ) from None


def _reason(error: OSError) -> str:
    # The socket module adds the address, which the message has already.
    return (error.strerror or "").partition(" (while ")[0]
