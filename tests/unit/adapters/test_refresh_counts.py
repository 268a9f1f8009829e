"""What a minute's totals are made of: every outcome is counted, and told to the log all the same."""

from typing import Any, cast

from supabase_integrations.adapters.refresh_counts import RefreshCounts
from supabase_integrations.core.errors import IntegrationError
from supabase_integrations.core.models import Integration, RefreshFailure
from supabase_integrations.port import RefreshLog

ROW = cast(Integration, object())


class Told:
    """Implements `port.RefreshLog`: remembers what it was told of."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattr__(self, event: str) -> Any:
        return lambda row, *_, **__: self.events.append(event) if row is ROW else None


def test_every_outcome_is_counted_by_its_code_and_told() -> None:
    told = Told()
    counts = RefreshCounts(cast(RefreshLog, told))

    counts.refreshed(ROW, reason="expired", seconds=0.1)
    counts.refreshed(ROW, reason="expired", seconds=0.1)
    for code in ("invalid_grant", "provider_unavailable", "invalid_grant"):
        counts.failed(ROW, RefreshFailure(None, code, None, 1), IntegrationError(), seconds=0.1)
    counts.replayed(ROW)
    counts.kept(ROW)
    counts.not_kept(ROW)
    counts.refused(ROW, "permission_denied")
    counts.skipped(ROW, "unknown_service")

    assert counts.take() == {
        "refreshed": 2,
        "failed": 3,
        "failed_invalid_grant": 2,
        "failed_provider_unavailable": 1,
        "replayed": 1,
        "kept": 1,
        "skipped": 1,
        "skipped_unknown_service": 1,
        "not_kept": 1,
        "not_stored": 1,
    }
    assert counts.take() == {}
    assert told.events == ["refreshed"] * 2 + ["failed"] * 3 + ["replayed", "kept", "not_kept", "refused", "skipped"]
