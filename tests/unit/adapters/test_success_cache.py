"""The memory of successes is bounded, forgets in time, and holds no token."""

from datetime import timedelta

from supabase_integrations.adapters.success_cache import SuccessCache, token_digest
from tests.unit.fakes import START

MINUTE = timedelta(minutes=1)


def test_a_success_is_remembered_until_its_time_has_come() -> None:
    cache: SuccessCache[str] = SuccessCache()
    cache.put(b"a", "yes", until=START + MINUTE)
    assert cache.get(b"a", now=START + MINUTE - timedelta(microseconds=1)) == "yes"
    assert cache.get(b"a", now=START + MINUTE) is None
    assert len(cache) == 0


def test_a_full_memory_forgets_the_oldest_first() -> None:
    cache: SuccessCache[int] = SuccessCache(max_entries=3)
    for number in range(3):
        cache.put(bytes([number]), number, until=START + MINUTE)
    cache.put(b"\x00", 100, until=START + MINUTE)
    cache.put(b"\x03", 3, until=START + MINUTE)
    assert len(cache) == 3
    assert [cache.get(bytes([number]), now=START) for number in range(4)] == [100, None, 2, 3]


def test_a_digest_tells_tokens_apart_and_shows_none() -> None:
    assert token_digest("canary-a") != token_digest("canary-b")
    assert b"canary" not in token_digest("canary-a")
    assert len(token_digest("canary \ud800")) == 32
