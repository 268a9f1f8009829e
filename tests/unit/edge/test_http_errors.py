"""Which status an error of ours is answered with."""

import pytest

from integrations_api.http_errors import status_of
from supabase_integrations.core.errors import (
    AuthUnavailableError,
    IntegrationError,
    JournalUnavailableError,
    StoreUnavailableError,
)


@pytest.mark.parametrize("error", [AuthUnavailableError(), JournalUnavailableError(), StoreUnavailableError()])
def test_what_is_away_for_now_is_503_and_no_mistake_of_the_caller_or_of_ours(error: IntegrationError) -> None:
    assert status_of(error) == 503
