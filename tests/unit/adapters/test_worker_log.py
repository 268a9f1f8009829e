"""What an operator reads about the worker."""

from uuid import uuid4

from structlog.testing import capture_logs

from supabase_integrations.adapters.refresh_counts import RefreshCounts
from supabase_integrations.adapters.worker_log import StructuredWorkerLog
from supabase_integrations.core.models import IntegrationRef
from tests.unit.fakes import FakeRefreshLog


def test_an_error_that_nobody_foresaw_is_an_alarm_with_advice_and_without_its_message() -> None:
    ref = IntegrationRef(uuid4(), uuid4())
    with capture_logs() as lines:
        StructuredWorkerLog(RefreshCounts(FakeRefreshLog())).crashed(ref, KeyError("canary-token"))
    (line,) = lines
    assert (line["error"], line["alarm"], line["integration_id"]) == ("KeyError", True, str(ref.id))
    assert "integrations explain" in line["advice"]
    assert "canary" not in str(line)
