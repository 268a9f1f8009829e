"""Which addresses this service may call on behalf of a user: public ones, and loopback in development alone.

An IPv6 address may carry an IPv4 one (mapped, 6to4, Teredo, NAT64): the one inside decides as well.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""RFC 6052 §2.1 and RFC 8215."""
_COMPATIBLE: Final = IPv6Network("::/96")
"""RFC 4291 §2.5.5.1: deprecated, and still routed inside by some systems. Holds ::1 too, which is asked for before."""


def may_call(address: str, *, allow_loopback: bool) -> bool:
    """Whether a connection to this numeric address (with or without a zone) is allowed."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if parsed.is_loopback:
        return allow_loopback
    return all(_is_public(candidate) for candidate in (parsed, *_embedded(parsed)))


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: Address) -> Iterator[IPv4Address]:
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
