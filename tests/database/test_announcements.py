"""What becomes due before the worker's next look is announced, with a moment and nobody's id; nothing else is."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final, LiteralString
from uuid import uuid4

import psycopg
import pytest

from tests.database.acts import OWNER, Actor, Row, change, connect_service
from tests.database.test_claim_due_refreshes import CLAIM, fill

LISTEN: LiteralString = "listen integrations_due"
END: Final = "end of the test"

LONG_AGO: Final = "2020-01-01 00:00:00+00"
"""The guard makes it 30 seconds ahead."""


def in_seconds(seconds: int) -> datetime:
    """A moment ahead."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
async def listener(worker: Actor) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
    """The worker's session, where announcements arrive."""
    connection = await worker.again().connection()
    await connection.execute("set role integrations_worker")
    await connection.execute(LISTEN)
    yield connection
    await connection.close()


async def heard(listener: psycopg.AsyncConnection[Row], operator: Actor) -> list[str]:
    """Everything announced until now: notifications arrive in the order of commits, so one of our own ends it."""
    await operator.run("select pg_notify('integrations_due', %s)", END)
    payloads: list[str] = []
    async for notification in listener.notifies(timeout=60):
        if notification.payload == END:
            return payloads
        payloads.append(notification.payload)
    raise AssertionError(f"The last announcement did not arrive, only {payloads}.")


async def schedule(owner: Actor) -> list[str]:
    """What an announcement of the only row must say."""
    moment = await owner.value("select next_refresh_at from public.integrations")
    assert isinstance(moment, datetime)
    return [str(ceil(moment.timestamp()))]


@pytest.mark.parametrize("status", ["active", "error"])
async def test_an_insert_that_is_due_within_a_minute_is_announced(
    owner: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row], status: str
) -> None:
    await connect_service(owner, status=status, next_refresh_at=LONG_AGO)
    assert await heard(listener, operator) == await schedule(owner)


async def test_a_schedule_moved_into_the_next_minute_is_announced_once(
    owner: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row]
) -> None:
    integration = await connect_service(owner, next_refresh_at=in_seconds(3600))
    await change(owner, integration, next_refresh_at=in_seconds(40))
    await change(owner, integration, display_name="Ada", status="active")
    assert await heard(listener, operator) == await schedule(owner)


async def test_the_workers_own_retry_is_announced_to_other_workers(
    owner: Actor, worker: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row]
) -> None:
    integration = await connect_service(owner)
    acting = worker.acting(owner.id)
    await change(acting, integration, refresh_lease_owner=uuid4())
    await change(acting, integration, refresh_lease_owner=None, next_refresh_at=in_seconds(45), refresh_failures=1)
    assert await heard(listener, operator) == await schedule(owner)


@pytest.mark.parametrize("status", ["inactive", "needs_reauthorization", "revoked"])
async def test_a_connection_that_is_taken_up_again_while_due_is_announced(
    owner: Actor, fate: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row], status: str
) -> None:
    integration = await connect_service(owner, status=status, next_refresh_at=LONG_AGO)
    assert await heard(listener, operator) == []
    await fate.run("update public.integrations set next_refresh_at = now() - interval '1 hour'")
    await change(owner, integration, status="active")
    assert await heard(listener, operator) == await schedule(owner)


async def test_nothing_else_is_announced(
    owner: Actor, worker: Actor, fate: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row]
) -> None:
    """Every announcement takes a lock that all of the server's announcing commits share."""
    unscheduled = await connect_service(owner, external_account_id="unscheduled")
    await connect_service(owner, external_account_id="later", next_refresh_at=in_seconds(90))
    await connect_service(owner, external_account_id="paused", status="inactive", next_refresh_at=LONG_AGO)
    await change(owner, unscheduled, next_refresh_at=in_seconds(90))
    await change(owner, unscheduled, status="error", next_refresh_at=None)
    await change(owner, unscheduled, status="active")

    await fate.run(
        "update public.integrations set next_refresh_at = now() - interval '1 hour' where id = %s", unscheduled
    )
    await change(owner, unscheduled, status="error")
    (claimed,) = await worker.run(CLAIM, 10, uuid4())
    assert claimed["id"] == unscheduled
    await change(worker.acting(OWNER), unscheduled, refresh_lease_owner=None, next_refresh_at=in_seconds(3600))
    await owner.run("delete from public.integrations")

    assert await heard(listener, operator) == []


async def test_a_hundred_rows_of_one_transaction_are_a_few_announcements(
    fate: Actor, owner: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row]
) -> None:
    await fill(fate, OWNER, 100, "1 hour")
    await owner.run("update public.integrations set next_refresh_at = '-infinity'")
    assert 1 <= len(await heard(listener, operator)) < 10  # one for each second that it took


async def test_a_change_that_is_rolled_back_is_not_announced(
    owner: Actor, operator: Actor, listener: psycopg.AsyncConnection[Row]
) -> None:
    connection = await owner.connection()
    async with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        await owner.begin(cursor)
        await cursor.execute(
            "insert into public.integrations (service_name, service_type, next_refresh_at)"
            " values ('demo_crm', 'crm', '-infinity')"
        )
    assert await heard(listener, operator) == []


async def test_strangers_who_listen_hear_a_moment_and_no_more(owner: Actor, stranger: Actor, operator: Actor) -> None:
    """LISTEN cannot be revoked, so an announcement must be fit for everyone who can connect."""
    connection = await stranger.connection()
    await connection.execute("set role authenticated")
    await connection.execute(LISTEN)
    await connect_service(owner, next_refresh_at=LONG_AGO, external_account_id="canary-account")
    (payload,) = await heard(connection, operator)
    assert payload.isdecimal()
    assert [payload] == await schedule(owner)
