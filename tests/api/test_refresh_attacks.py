"""A signed-in user who mixes our API with the Data API, to have this server ask a service more often than it should."""

from datetime import UTC, datetime

from tests.api.test_refresh import connect_scripted, refresh
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService


async def test_a_wait_after_a_failure_is_not_ended_by_curl(ada: Person, scripted: ScriptedService) -> None:
    row = await connect_scripted(ada, scripted)
    scripted.scripts["/token"] = lambda _: Answer.json({"error": "server_error"}, 503)
    attempts: tuple[dict[str, object], ...] = (
        {"refresh_failures": 0, "next_refresh_at": None},
        {"next_refresh_at": datetime.now(UTC).isoformat()},
        {"refresh_failures": 0, "next_refresh_at": None, "status": "inactive"},
        {"refresh_failures": 0, "next_refresh_at": None, "status": "active", "last_error_code": None},
        {"refresh_lease_owner": str(ada.user_id)},
        {"refresh_failures": 0, "next_refresh_at": None, "refresh_lease_owner": None},
        {"refresh_failures": 100_000, "next_refresh_at": None},
    )
    async with ada.data_api() as curl:
        assert (await refresh(ada, row)).status_code == 502
        for attempt in attempts:
            changed = await curl.patch(f"/integrations?id=eq.{row['id']}", json=attempt)
            assert changed.status_code == 204, changed.text
            if "refresh_lease_owner" not in attempt or attempt["refresh_lease_owner"] is None:
                assert (await refresh(ada, row)).status_code in (409, 502)
    assert len(scripted.asked_for("/token")) == 1
