"""What `make dev` says when it is ready."""

from collections.abc import Mapping

import pytest

from supabase_integrations.local.state import Description
from supabase_integrations.local.welcome import addresses


@pytest.mark.parametrize(
    ("pids", "told"),
    [
        pytest.param({"api": 1, "worker": 2}, "/state/logs/worker.log", id="with a worker"),
        pytest.param({"api": 1}, "off", id="WORKER=off"),
    ],
)
def test_it_tells_of_the_worker_and_keeps_its_password_to_itself(pids: Mapping[str, int], told: str) -> None:
    description = Description(
        api_url="http://127.0.0.1:8000",
        supabase_url="http://127.0.0.1:54321",
        publishable_key="sb_publishable_…",
        database_url="postgresql://postgres:canary@127.0.0.1:54322/postgres",
        jwt_secret="canary",
        worker_database_url="postgresql://integrations_worker:canary@127.0.0.1:54322/postgres",
        demo_url="http://127.0.0.1:9400",
        pids=dict(pids),
        state_dir="/state",
        log_dir="/state/logs",
    )
    shown = dict(addresses(description))
    assert told in shown["Worker"]
    assert "canary" not in str(shown)
