"""Opening the limiter as the settings say."""

import sys

import pytest

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.rate_limiting import open_rate_limiter
from supabase_integrations.settings import Settings
from tests.unit.conftest import load

REQUIRED = {
    "SUPABASE_URL": "https://project.example",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_canary",
    "ENCRYPTION_KEY": "ab" * 32,
    "APP_URL": "https://api.example",
}


async def test_without_an_address_the_limits_hold_in_this_process() -> None:
    async with open_rate_limiter(load()) as limiter:
        await limiter.acquire("hubspot", account="1")


async def test_an_address_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "supabase_integrations.adapters.redis_rate_limits", raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"supabase-integrations\[redis\]"):
        async with open_rate_limiter(load(), SecretStr("redis://127.0.0.1:1")):
            pass


@pytest.mark.parametrize("url", ["redis://host:6379/0", "rediss://:canary@host:6380/1", "unix:///run/redis.sock"])
def test_an_address_is_read_and_kept_secret(url: str) -> None:
    settings = Settings.from_environment({**REQUIRED, "RATE_LIMIT_URL": url})
    assert settings.rate_limit_url is not None
    assert settings.rate_limit_url.get_secret_value() == url
    assert url not in repr(settings)


@pytest.mark.parametrize("url", ["http://:canary@host", "host:6379", "redis"])
def test_an_address_of_something_else_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({**REQUIRED, "RATE_LIMIT_URL": url})
    assert str(refused.value) == "RATE_LIMIT_URL must be an address like redis://host:6379/0, or rediss:// for TLS."
