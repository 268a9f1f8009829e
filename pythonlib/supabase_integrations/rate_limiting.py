"""The rate limiter, opened: in this process alone, or with what all processes share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from .core.catalogue import Catalogue
from .core.errors import ConfigurationError
from .core.secret import SecretStr
from .port_rate_limits import RateLimitStore
from .use_cases.rate_limiter import RateLimiter


@asynccontextmanager
async def open_rate_limiter(catalogue: Catalogue, url: SecretStr | None = None) -> AsyncIterator[RateLimiter]:
    """A limiter for the services of a catalogue; `url` is RATE_LIMIT_URL. Raises ConfigurationError."""
    async with AsyncExitStack() as stack:
        store: RateLimitStore | None = None
        if url is not None:
            try:
                from .adapters.redis_rate_limits import open_redis_rate_limits
            except ModuleNotFoundError:
                raise ConfigurationError(
                    "RATE_LIMIT_URL is set, and the package redis is missing: install supabase-integrations[redis]."
                ) from None
            store = await stack.enter_async_context(open_redis_rate_limits(url))
        limiter = RateLimiter(catalogue, store)
        stack.push_async_callback(limiter.aclose)
        yield limiter
