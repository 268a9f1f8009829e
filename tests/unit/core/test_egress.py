"""Which addresses may be called."""

import pytest

from supabase_integrations.core.egress import may_call

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1"]
FORBIDDEN = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "localhost",
    "",
    "1.1.1",
]


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("allow_loopback", [True, False])
def test_public_addresses_may_be_called(address: str, allow_loopback: bool) -> None:
    assert may_call(address, allow_loopback=allow_loopback)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_development(address: str) -> None:
    assert may_call(address, allow_loopback=True)
    assert not may_call(address, allow_loopback=False)


@pytest.mark.parametrize("address", FORBIDDEN)
@pytest.mark.parametrize("allow_loopback", [True, False])
def test_everything_else_may_not(address: str, allow_loopback: bool) -> None:
    assert not may_call(address, allow_loopback=allow_loopback)
