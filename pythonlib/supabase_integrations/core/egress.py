"""Which addresses this service may call on behalf of a user: public ones, and loopback in development alone.

An IPv6 address may stand for an IPv4 one (mapped, NAT64): then that one decides. Tunnels that would hide one (6to4,
Teredo) are refused, and so is what older versions of Python's `is_global` still call global.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_STANDS_FOR_IPV4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""RFC 4291 §2.5.5.2 and RFC 6052 §2.1: the last 32 bits are the IPv4 address."""
_REFUSED: Final = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/23"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
    IPv6Network("fec0::/10"),
)
"""From IANA's special-purpose registries (RFC 6890): what `is_global` does not cover in every Python since 3.11."""


def may_call(address: str, *, allow_loopback: bool) -> bool:
    """Whether a connection to this numeric address (with or without a zone) is allowed."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if parsed.is_loopback:
        return allow_loopback
    return _is_public(_meant(parsed))


def _meant(address: Address) -> Address:
    if isinstance(address, IPv6Address) and any(address in network for network in _STANDS_FOR_IPV4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_link_local
    refused = any(address.version == network.version and address in network for network in _REFUSED)
    return address.is_global and not special and not refused
