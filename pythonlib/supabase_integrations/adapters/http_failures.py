"""What a failed HTTP exchange means: aiohttp's errors as httpx's.

After `ConnectError`, `ConnectTimeout`, `PoolTimeout` and `UnsupportedProtocol` the request certainly did not reach the
server; after all others it may have been executed. httpx-aiohttp's own table calls a refused connection and a server
that hangs up half-way both `ConnectTimeout`, lets some of aiohttp's errors through, and keeps messages that hold the
whole URL, with the secrets in its query.
"""

from collections.abc import Mapping

import aiohttp
import httpx

from .http_connector import NoFreeConnectionError


class ReplyTooLargeError(httpx.TransportError):
    """The reply is larger than this client accepts."""


# The first that fits: aiohttp's more special errors stand before the classes they belong to.
_MEANINGS: Mapping[type[Exception], tuple[type[httpx.TransportError], str]] = {
    NoFreeConnectionError: (httpx.PoolTimeout, "No connection to {host} was free in time."),
    aiohttp.ConnectionTimeoutError: (httpx.ConnectTimeout, "No connection to {host} in time."),
    aiohttp.ClientConnectorDNSError: (httpx.ConnectError, "The name {host} could not be resolved."),
    aiohttp.ClientSSLError: (httpx.ConnectError, "No TLS connection to {host}: certificate or protocol refused."),
    aiohttp.ClientConnectorError: (httpx.ConnectError, "No connection to {host}."),
    aiohttp.InvalidURL: (httpx.UnsupportedProtocol, "The address is not an http or https URL."),
    aiohttp.NonHttpUrlClientError: (httpx.UnsupportedProtocol, "The address is not an http or https URL."),
    TimeoutError: (httpx.ReadTimeout, "{host} did not answer in time."),
    aiohttp.ServerDisconnectedError: (httpx.RemoteProtocolError, "{host} hung up before it had answered."),
    aiohttp.ClientResponseError: (httpx.RemoteProtocolError, "{host} answered with something that is not HTTP."),
}


def translated(error: BaseException, host: str) -> httpx.TransportError:
    """The httpx error for one of aiohttp's or the socket's. Of the request its message names the host only."""
    for raised, (meaning, message) in _MEANINGS.items():
        if isinstance(error, raised):
            return meaning(message.format(host=host))
    return httpx.ReadError(f"The connection to {host} broke.")
