"""Who may replace credentials: one at a time, for sixty seconds by the database's clock, and a grace between two."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database.acts import ENVELOPE, Actor, Row, change, connect_service, refused

NEW = f"{ENVELOPE}new"

GRACE: Final = timedelta(seconds=15)


async def lapse(fate: Actor, ago: timedelta = timedelta(seconds=1)) -> None:
    """Let every lease have ended a while ago."""
    await fate.run("update public.integrations set refresh_lease_until = now() - %s", ago)


async def test_a_lease_lasts_sixty_seconds_whatever_the_client_wants(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())

    lasts = await owner.value("select refresh_lease_until - updated_at as lasts from public.integrations")
    assert isinstance(lasts, timedelta)
    assert timedelta(seconds=59) < lasts < timedelta(seconds=61)


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


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(seconds=1), GRACE - timedelta(seconds=3)])
async def test_a_lease_that_just_lapsed_is_still_refused_to_others(owner: Actor, fate: Actor, ago: timedelta) -> None:
    """What a holder that died was sent may be in its journal, and is written under its name when it starts again."""
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    await lapse(fate, ago)
    with refused("55P03", "integrations_lease_is_exclusive"):
        await change(owner, integration, refresh_lease_owner=uuid4())
    assert await write_fenced(owner, integration, uuid4(), seen_version=1) == []
    assert len(await write_fenced(owner, integration, holder, seen_version=1)) == 1

    await change(owner, integration, refresh_lease_owner=uuid4())


async def test_the_worker_waits_for_the_grace_too(owner: Actor, worker: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    await lapse(fate)
    with refused("55P03", "integrations_lease_is_exclusive"):
        await change(worker.acting(owner.id), integration, refresh_lease_owner=uuid4())
    await lapse(fate, GRACE)
    assert len(await change(worker.acting(owner.id), integration, refresh_lease_owner=uuid4())) == 1


async def test_a_lapsed_lease_goes_after_the_grace_to_whoever_asks(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    await lapse(fate, GRACE)
    (row,) = await change(owner, integration, refresh_lease_owner=uuid4())
    assert row["refresh_lease_until"] - row["updated_at"] > timedelta(seconds=50)


@pytest.mark.parametrize("ago", [timedelta(seconds=1), GRACE, timedelta(hours=1)])
async def test_its_owner_may_take_a_lapsed_lease_again(owner: Actor, fate: Actor, ago: timedelta) -> None:
    """The column keeps its value then, and still a new end must be set."""
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    await lapse(fate, ago)
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
    await lapse(fate, GRACE)
    with refused("55000", "integrations_credentials_need_a_lease"):
        await change(owner, integration, credentials=NEW, refresh_lease_owner=uuid4())


@pytest.mark.parametrize("ago", [timedelta(seconds=1), GRACE, timedelta(hours=1)])
async def test_a_token_that_arrives_after_its_lease_lapsed_is_kept_while_nobody_took_over(
    owner: Actor, fate: Actor, ago: timedelta
) -> None:
    integration = await connect_service(owner)
    holder = uuid4()
    await change(owner, integration, refresh_lease_owner=holder)
    await lapse(fate, ago)
    assert len(await write_fenced(owner, integration, holder, seen_version=1)) == 1


async def test_a_token_that_arrives_after_somebody_took_over_is_fenced_out(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    late, other = uuid4(), uuid4()
    await change(owner, integration, refresh_lease_owner=late)
    await lapse(fate, GRACE)
    await change(owner, integration, refresh_lease_owner=other)

    assert await write_fenced(owner, integration, late, seen_version=1) == []
    assert len(await write_fenced(owner, integration, other, seen_version=1)) == 1
    await change(owner, integration, refresh_lease_owner=late)
    assert await write_fenced(owner, integration, late, seen_version=1) == []


async def test_a_leased_row_is_not_due_before_the_lease_and_the_grace_end(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner, next_refresh_at="2020-01-01 00:00:00+00")
    await fate.run("update public.integrations set next_refresh_at = now() - interval '1 hour'")
    (leased,) = await change(owner, integration, refresh_lease_owner=uuid4())
    assert leased["next_refresh_at"] == leased["refresh_lease_until"] + GRACE

    (rescheduled,) = await change(owner, integration, next_refresh_at="2020-01-01 00:00:00+00")
    assert rescheduled["next_refresh_at"] == leased["refresh_lease_until"] + GRACE


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
