"""The one place where a connection to a third-party service begins.

The address is checked where the socket for it is made: after the one resolution, and for hosts written as numbers too,
so that there is no second look-up that could answer something else.
"""

import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from ..core.egress import may_call
from ..core.errors import ProviderUnavailableError

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]


class ForbiddenAddressError(ProviderUnavailableError):
    """The service's host name leads to an address that must not be called from here."""

    code = "forbidden_address"


def guarded_sockets(*, allow_loopback: bool) -> Callable[[AddressInfo], socket.socket]:
    """Makes sockets for addresses that may be called, and raises ForbiddenAddressError for all others.

    `allow_loopback` is for development alone.
    """

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not may_call(str(address[0]), allow_loopback=allow_loopback):
            raise ForbiddenAddressError
        return socket.socket(family, kind, protocol)

    return make
