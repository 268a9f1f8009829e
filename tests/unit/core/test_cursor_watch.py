"""Lists that go round in circles are noticed, and others are not taken for them."""

from itertools import chain, cycle, islice

import pytest

from supabase_integrations.core.cursor_watch import CursorWatch
from supabase_integrations.core.errors import EndlessListError, ProviderUnavailableError


def pages_until_noticed(before: int, around: int, first: str | None = None) -> int:
    """How many cursors of a list are seen that has so many pages before a circle, and so many in it."""
    watch = CursorWatch(first)
    straight, circle = range(before), range(before, before + around)
    for seen, page in enumerate(islice(chain(straight, cycle(circle)), 10 * (before + around)), start=1):
        try:
            watch.see(f"page {page}")
        except EndlessListError:
            return seen
    pytest.fail("the circle was not noticed")


@pytest.mark.parametrize("before", [*range(12), 63, 64, 65, 1000])
@pytest.mark.parametrize("around", [*range(1, 12), 63, 64, 65, 1000])
def test_a_circle_is_noticed_after_it_was_gone_round_and_soon(before: int, around: int) -> None:
    assert before + around < pages_until_noticed(before, around) <= 3 * max(before, around) + 1


def test_one_that_leads_back_to_where_the_list_was_begun_is_noticed_there() -> None:
    watch = CursorWatch("a")
    with pytest.raises(EndlessListError):
        watch.see("a")


def test_a_list_without_a_circle_never_is() -> None:
    watch = CursorWatch(None)
    for page in range(100_000):
        watch.see(str(page))


def test_what_handles_services_that_fail_handles_this() -> None:
    assert issubclass(EndlessListError, ProviderUnavailableError)
