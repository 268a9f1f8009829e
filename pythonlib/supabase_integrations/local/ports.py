"""Loopback ports: every server of the local system listens on 127.0.0.1 only."""

import errno
import socket
from collections.abc import Mapping

from .errors import LocalStackError

HOST = "127.0.0.1"


def require_free(ports: Mapping[str, int]) -> None:
    """Raise `LocalStackError`, naming every port, by its setting, that cannot be listened on."""
    problems = [problem for setting, port in ports.items() if (problem := _problem(port, setting))]
    if problems:
        raise LocalStackError("\n".join(problems))


def _problem(port: int, setting: str) -> str | None:
    try:
        _bind(port)
    except OSError as error:
        if error.errno == errno.EACCES:
            reason = f"port {port} may only be used by root"
        elif error.errno == errno.EADDRINUSE:
            reason = f"port {port} is already in use"
        else:
            reason = f"port {port} cannot be used: {error}"
        return f"{reason}. Choose another one with {setting}, or end what uses it."
    return None


def _bind(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do it: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
