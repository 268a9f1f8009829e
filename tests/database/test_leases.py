"""Who may replace credentials: one at a time, for sixty seconds by the database's clock."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg

from tests.database.acts import ENVELOPE, Actor, Row, change, connect_service, refused

NEW = f"{ENVELOPE}new"


async def lapse(fate: Actor) -> None:
    """Let every lease end."""
    await fate.run("update public.integrations set refresh_lease_until = now() - interval '1 second'")


async def test_a_lease_lasts_sixty_seconds_whatever_the_client_wants(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())

    lasts = await owner.value("select refresh_lease_until - now() as lasts from public.integrations")
    assert isinstance(lasts, timedelta)
    assert timedelta(seconds=50) < lasts <= timedelta(seconds=60)


async def test_while_a_lease_lives_nobody_else_gets_one(owner: Actor) -> None:
    integration = await connect_service(owner)
    first = uuid4()
    await change(owner, integration, refresh_lease_owner=first)
    with refused("55P03", "integrations_lease_is_exclusive"):
        await change(owner, integration, refresh_lease_owner=uuid4())

    assert await owner.value("select refresh_lease_owner from public.integrations") == first


async def test_a_living_lease_is_not_prolonged(owner: Actor) -> None:
    integration = await connect_service(owner)
    holder = uuid4()
    (taken,) = await change(owner, integration, refresh_lease_owner=holder)
    (again,) = await change(owner, integration, refresh_lease_owner=holder)
    assert again["refresh_lease_until"] == taken["refresh_lease_until"]


async def test_a_lapsed_lease_goes_to_whoever_asks(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    await lapse(fate)
    (row,) = await change(owner, integration, refresh_lease_owner=uuid4())
    assert row["refresh_lease_until"] - row["updated_at"] > timedelta(seconds=50)


async def test_its_owner_may_take_a_lapsed_lease_again(owner: Actor, fate: Actor) -> None:
    """The column keeps its value then, and still a new end must be set."""
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    await lapse(fate)
    (row,) = await change(owner, integration, refresh_lease_owner=holder)
    assert row["refresh_lease_until"] - row["updated_at"] > timedelta(seconds=50)


async def test_a_cleared_lease_is_free_at_once(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    (row,) = await change(owner, integration, refresh_lease_owner=None)
    assert row["refresh_lease_until"] is None

    await change(owner, integration, refresh_lease_owner=uuid4())


async def test_credentials_are_not_replaced_without_a_lease(owner: Actor, worker: Actor) -> None:
    integration = await connect_service(owner)
    for credentials in (NEW, None):
        with refused("55000", "integrations_credentials_need_a_lease"):
            await change(owner, integration, credentials=credentials)
        with refused("55000", "integrations_credentials_need_a_lease"):
            await worker.acting(owner.id).run("update public.integrations set credentials = %s", credentials)
    with refused("55000", "integrations_credentials_need_a_lease"):
        await change(owner, integration, credentials=NEW, refresh_lease_owner=uuid4())


async def test_credentials_are_replaced_by_a_statement_that_carries_or_clears_the_lease(owner: Actor) -> None:
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    (carried,) = await change(owner, integration, credentials=NEW)
    assert carried["refresh_lease_owner"] == holder

    (cleared,) = await change(owner, integration, credentials=None, refresh_lease_owner=None)
    assert (cleared["credentials"], cleared["credential_version"]) == (None, 3)


async def test_a_lapsed_lease_is_not_taken_and_used_in_one_statement(owner: Actor, fate: Actor) -> None:
    """Whoever takes it over has to read again first: the holder before may have written."""
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    await lapse(fate)
    with refused("55000", "integrations_credentials_need_a_lease"):
        await change(owner, integration, credentials=NEW, refresh_lease_owner=uuid4())


async def test_a_token_that_arrives_after_its_lease_lapsed_is_kept_while_nobody_took_over(
    owner: Actor, fate: Actor
) -> None:
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    await lapse(fate)
    assert len(await write_fenced(owner, integration, holder, seen_version=1)) == 1


async def test_a_token_that_arrives_after_somebody_took_over_is_fenced_out(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    late, other = uuid4(), uuid4()
    await change(owner, integration, refresh_lease_owner=late)
    await lapse(fate)
    await change(owner, integration, refresh_lease_owner=other)

    assert await write_fenced(owner, integration, late, seen_version=1) == []
    assert len(await write_fenced(owner, integration, other, seen_version=1)) == 1
    await change(owner, integration, refresh_lease_owner=late)
    assert await write_fenced(owner, integration, late, seen_version=1) == []


async def test_a_leased_row_is_not_due_before_the_lease_ends(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner, next_refresh_at="2020-01-01 00:00:00+00")
    await fate.run("update public.integrations set next_refresh_at = now() - interval '1 hour'")
    (leased,) = await change(owner, integration, refresh_lease_owner=uuid4())
    assert leased["next_refresh_at"] == leased["refresh_lease_until"]

    (rescheduled,) = await change(owner, integration, next_refresh_at="2020-01-01 00:00:00+00")
    assert rescheduled["next_refresh_at"] == leased["refresh_lease_until"]


async def test_of_twenty_who_ask_at_once_exactly_one_gets_the_lease(owner: Actor) -> None:
    integration = await connect_service(owner)

    asked = [uuid4() for _ in range(20)]
    outcomes = await asyncio.gather(
        *(change(owner.again(), integration, refresh_lease_owner=lease) for lease in asked), return_exceptions=True
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, psycopg.errors.LockNotAvailable)]
    winners = [row["refresh_lease_owner"] for rows in outcomes if isinstance(rows, list) for row in rows]
    assert (len(winners), len(refusals)) == (1, 19)
    assert winners == [await owner.value("select refresh_lease_owner from public.integrations")]


async def write_fenced(actor: Actor, integration: UUID, holder: UUID, *, seen_version: int) -> list[Row]:
    """As the service does it: new credentials, only where the lease and the version are still what they were."""
    return await actor.run(
        "update public.integrations set credentials = %s, refresh_lease_owner = null"
        " where id = %s and refresh_lease_owner = %s and credential_version = %s returning *",
        f"{NEW}{holder.hex}",
        integration,
        holder,
        seen_version,
    )
