"""What a signed-in user with curl's freedom cannot decide about a connection: identity, version, schedule, time."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.database.acts import ENVELOPE, STRANGER, Actor, change, connect_service, refused

SOON = timedelta(minutes=5)


async def test_an_insert_starts_at_version_one_without_a_lease(owner: Actor) -> None:
    await connect_service(owner, next_refresh_at="2020-01-01 00:00:00+00")

    row = await owner.row("select *, now() as now from public.integrations")
    assert row["user_id"] == owner.id
    assert row["credential_version"] == 1
    assert row["refresh_lease_owner"] is None
    assert row["refresh_lease_until"] is None
    assert abs(row["created_at"] - row["now"]) < SOON
    assert row["updated_at"] == row["created_at"]


async def test_even_the_tables_owner_does_not_choose_version_lease_or_creation(owner: Actor, operator: Actor) -> None:
    """The grants keep users from these columns; were they granted by mistake, the guard still would."""
    row = await operator.row(
        "insert into public.integrations (user_id, service_name, service_type, credential_version, created_at,"
        " refresh_lease_owner, refresh_lease_until)"
        " values (%s, 'demo_crm', 'crm', 7, '2001-01-01', gen_random_uuid(), 'infinity') returning *",
        owner.id,
    )
    assert (row["credential_version"], row["refresh_lease_owner"], row["refresh_lease_until"]) == (1, None, None)
    assert abs(row["created_at"] - datetime.now(UTC)) < SOON

    row = await operator.row("update public.integrations set credential_version = 9, created_at = now() returning *")
    assert row["credential_version"] == 1


@pytest.mark.parametrize(
    ("column", "value"), [("user_id", STRANGER), ("id", uuid4()), ("service_name", "another_service")]
)
async def test_a_connection_cannot_become_another_one(
    owner: Actor, operator: Actor, column: str, value: object
) -> None:
    """Its credentials are sealed over these: not even the operator's update could be opened afterwards."""
    integration = await connect_service(owner)
    with refused("23514", "integrations_identity_is_fixed"):
        await change(operator, integration, **{column: value})


async def test_every_change_of_credentials_counts_one_version(owner: Actor) -> None:
    integration = await connect_service(owner)
    for version in (2, 3):
        await change(owner, integration, refresh_lease_owner=owner.id)
        (row,) = await change(owner, integration, credentials=f"{ENVELOPE}{version}", refresh_lease_owner=None)
        assert row["credential_version"] == version


async def test_an_old_envelope_put_back_gets_a_version_it_was_not_sealed_for(owner: Actor) -> None:
    integration = await connect_service(owner, credentials=f"{ENVELOPE}one")
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=f"{ENVELOPE}two")
    (row,) = await change(owner, integration, credentials=f"{ENVELOPE}one")

    assert (row["credentials"], row["credential_version"]) == (f"{ENVELOPE}one", 3)


async def test_an_id_is_used_once(owner: Actor, stranger: Actor) -> None:
    """Deleted and inserted again, the row would begin at version 1, where its first envelope opens."""
    integration = await connect_service(owner)
    await owner.run("delete from public.integrations")
    with refused("23505", "integrations_id_used_once"):
        await connect_service(owner, id=integration)

    await connect_service(stranger, id=integration)


async def test_an_id_whose_insert_was_rolled_back_is_still_free(owner: Actor) -> None:
    integration = uuid4()
    with refused("23514"):
        await connect_service(owner, id=integration, service_type="nonsense")

    await connect_service(owner, id=integration)


async def test_a_refresh_is_scheduled_thirty_seconds_ahead_at_least(owner: Actor) -> None:
    integration = await connect_service(owner, next_refresh_at="-infinity")
    row = await owner.row("select next_refresh_at, updated_at from public.integrations")
    assert timedelta(seconds=20) < row["next_refresh_at"] - row["updated_at"] < timedelta(seconds=40)

    (row,) = await change(owner, integration, next_refresh_at=datetime.now(UTC) - timedelta(days=1))
    assert row["next_refresh_at"] - row["updated_at"] > timedelta(seconds=20)


async def test_no_schedule_stays_no_schedule(owner: Actor) -> None:
    integration = await connect_service(owner)
    (row,) = await change(owner, integration, refresh_lease_owner=owner.id, status="inactive")
    assert row["next_refresh_at"] is None


async def test_a_schedule_that_lies_further_ahead_is_kept(owner: Actor) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    integration = await connect_service(owner, next_refresh_at=tomorrow)
    (row,) = await change(owner, integration, status="error")
    assert row["next_refresh_at"] == tomorrow


async def test_a_failures_wait_is_not_cut_short_by_its_user(owner: Actor) -> None:
    """Whoever could, would have this server ask a failing service as often as they like."""
    until = datetime.now(UTC) + timedelta(hours=1)
    integration = await connect_service(owner)
    await change(owner, integration, refresh_failures=5, next_refresh_at=until)
    for attempt in (
        {"refresh_failures": 0},
        {"refresh_failures": 0, "next_refresh_at": None},
        {"next_refresh_at": None},
        {"next_refresh_at": datetime.now(UTC)},
        {"refresh_failures": 4, "status": "inactive"},
        {"refresh_failures": 0, "next_refresh_at": None, "status": "active", "refresh_lease_owner": owner.id},
        {"refresh_failures": 0, "next_refresh_at": None, "refresh_lease_owner": None},
    ):
        (row,) = await change(owner, integration, **attempt)
        assert (row["refresh_failures"], row["next_refresh_at"]) == (5, until), attempt


async def test_a_pretended_failure_has_the_least_wait(owner: Actor) -> None:
    integration = await connect_service(owner)
    (row,) = await change(owner, integration, refresh_failures=1, next_refresh_at=None)
    assert row["next_refresh_at"] - row["updated_at"] > timedelta(seconds=20)


async def test_new_credentials_end_a_row_of_failures(owner: Actor) -> None:
    due_at = datetime.now(UTC) + timedelta(minutes=30)
    integration = await connect_service(owner)
    await change(owner, integration, refresh_failures=5, next_refresh_at=due_at + timedelta(hours=1))
    await change(owner, integration, refresh_lease_owner=owner.id)
    renewed = {"credentials": f"{ENVELOPE}new", "refresh_failures": 0, "next_refresh_at": due_at}
    (row,) = await change(owner, integration, **renewed, refresh_lease_owner=None)
    assert (row["refresh_failures"], row["next_refresh_at"]) == (0, due_at)


async def test_a_failure_may_order_no_wait_where_its_user_has_to_act(owner: Actor) -> None:
    integration = await connect_service(owner, next_refresh_at=datetime.now(UTC) + timedelta(hours=1))
    (row,) = await change(owner, integration, refresh_failures=1, next_refresh_at=None, status="needs_reauthorization")
    assert row["next_refresh_at"] is None


async def test_every_update_moves_updated_at(owner: Actor) -> None:
    integration = await connect_service(owner)
    (first,) = await change(owner, integration, status="error")
    (second,) = await change(owner, integration, status="error")
    assert first["created_at"] < first["updated_at"] < second["updated_at"]
