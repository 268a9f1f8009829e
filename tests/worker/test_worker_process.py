"""`integrations worker` as a process: it renews what is due, shares the work, waits out outages, and stops cleanly."""

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from supabase_integrations.core.models import IntegrationStatus
from tests import canaries
from tests.scripted_service import Answer, Asked, ScriptedService, tokens
from tests.worker.world import Workers, World


def slowly(seconds: float) -> Answer:
    """A good answer after a while."""
    answer = tokens(Asked("POST", "/token", {}, {}, {}, b""))
    return Answer(answer.status, answer.body, answer.headers, delay=seconds)


async def test_what_is_due_is_renewed_and_scheduled_again(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    refs = await world.connect(20)
    worker = await workers.start()

    rows = await world.until_renewed(refs)

    assert len(service.asked_for("/token")) == 20
    for row in rows:
        integration = row.integration
        assert row.credentials.access_token.get_secret_value() == canaries.ACCESS_TOKEN
        assert (integration.status, integration.refresh_lease_owner) == (IntegrationStatus.ACTIVE, None)
        assert integration.next_refresh_at is not None
        assert integration.expires_at is not None
        assert integration.next_refresh_at < integration.expires_at
    lines = await worker.until_logged("credential.refreshed", 20)
    assert {(line["user_id"], line["integration_id"]) for line in lines} == {
        (str(ref.user_id), str(ref.id)) for ref in refs
    }


async def test_two_workers_share_the_work_and_renew_nothing_twice(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    both = await asyncio.gather(*(workers.start(WORKER_CONCURRENCY="8") for _ in range(2)))
    all_slots = threading.Barrier(16, timeout=60)

    def when_both_are_busy(asked: Asked) -> Answer:
        """Neither of them can renew everything while the other one has not looked yet."""
        if len(service.asked_for("/token")) <= 16:
            all_slots.wait()
        return tokens(asked)

    service.scripts["/token"] = when_both_are_busy
    refs = await world.connect(60, each=2)

    rows = await world.until_renewed(refs)

    assert len(service.asked_for("/token")) == 120
    assert {row.integration.credential_version for row in rows} == {2}
    await both[0].until(lambda: sum(len(worker.lines("credential.refreshed")) for worker in both) >= 120)
    shares = [len(worker.lines("credential.refreshed")) for worker in both]
    assert sum(shares) == 120
    assert min(shares) >= 8


async def test_users_take_turns_where_one_connection_is_renewed_at_a_time(world: World, workers: Workers) -> None:
    """Thirty rows of one user are due for longer than anybody else's."""
    await world.connect(1, each=30)
    await world.fate.database.execute(
        "update public.integrations set next_refresh_at = now() - interval '1 hour' where next_refresh_at is not null"
    )
    await world.connect(5)
    worker = await workers.start(WORKER_CONCURRENCY="1")

    lines = await worker.until_logged("credential.refreshed", 6)

    assert len({line["user_id"] for line in lines[:6]}) == 6


async def test_a_stop_finishes_what_was_begun_and_begins_nothing(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    stopping = threading.Event()

    def when_it_stops(asked: Asked) -> Answer:
        stopping.wait(20)  # a service that does not answer is given up after 25 s
        return tokens(asked)

    service.scripts["/token"] = when_it_stops
    refs = await world.connect(20)
    worker = await workers.start(WORKER_CONCURRENCY="8")
    await worker.until(lambda: len(service.asked_for("/token")) == 8)

    worker.signal()
    await worker.until_logged("worker.stopping")
    stopping.set()

    assert await worker.ended() == 0
    rows = await world.read(refs)
    assert sorted(row.integration.credential_version for row in rows) == [1] * 12 + [2] * 8
    assert {row.integration.refresh_lease_owner for row in rows} == {None}
    assert worker.lines("worker.stopped")[0]["unfinished"] == 0
    assert len(service.asked_for("/token")) == 8


async def test_a_second_signal_ends_it_at_once(world: World, workers: Workers, service: ScriptedService) -> None:
    has_ended, answered = threading.Event(), list[bool]()

    def when_it_has_ended(asked: Asked) -> Answer:
        answered.append(has_ended.wait(20))
        return tokens(asked)

    service.scripts["/token"] = when_it_has_ended
    await world.connect(1)
    worker = await workers.start()
    await worker.until(lambda: bool(service.asked_for("/token")))

    worker.signal()
    await worker.until_logged("worker.stopping")
    worker.signal(signal.SIGINT)

    assert await worker.ended() == 1
    assert answered == [], "it has waited for the service"
    has_ended.set()


async def test_a_killed_workers_rows_are_taken_over_when_their_leases_have_ended(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    service.scripts["/token"] = lambda _: slowly(20)
    refs = await world.connect(3)
    killed = await workers.start()
    await killed.until(lambda: len(service.asked_for("/token")) == 3)
    killed.signal(signal.SIGKILL)
    await killed.ended()
    service.reset()

    await workers.start()
    await asyncio.sleep(2.5)
    assert not service.asked
    await world.fate.database.execute(
        "update public.integrations set next_refresh_at = now(), refresh_lease_until = now() - interval '16 seconds'"
    )

    await world.until_renewed(refs)
    assert len(service.asked_for("/token")) == 3


async def test_it_can_be_stopped_while_it_waits_for_the_database(world: World, workers: Workers) -> None:
    worker = workers.launch(WORKER_DATABASE_URL=world.url(port=1))
    await worker.until_logged("worker.waiting_for_the_database")

    worker.signal()

    assert await worker.ended() == 0


async def test_an_announcement_wakes_it(world: World, workers: Workers, service: ScriptedService) -> None:
    """It looks by itself once an hour only. Whatever else is announced, and every role may, it goes on."""
    worker = await workers.start(WORKER_POLL_SECONDS="3600", WORKER_LISTEN_URL=world.url())
    await worker.until_logged("worker.listening")
    await world.until_quiet()
    refs = await world.connect(1)

    for payload in ("", "now", "-1", "1e9", "9" * 19, "٣", "x" * 7000):
        await world.fate.database.execute("select pg_notify('integrations_due', %s)", [payload])
    await asyncio.sleep(1.5)
    assert [row.integration.credential_version for row in await world.read(refs)] == [1]
    await world.fate.database.execute(
        "select pg_notify('integrations_due', ceil(extract(epoch from now()))::bigint::text)"
    )

    await world.until_renewed(refs)


async def test_a_lost_listening_connection_is_opened_again(world: World, workers: Workers) -> None:
    worker = await workers.start(WORKER_POLL_SECONDS="3600", WORKER_LISTEN_URL=world.url())
    await worker.until_logged("worker.listening")

    await world.fate.database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where starts_with(query, 'listen') and datname = %s",
        [world.database],
    )

    await worker.until_logged("worker.listening", 2)
    assert worker.lines("worker.not_listening")


async def test_ended_connections_are_replaced(world: World, workers: Workers) -> None:
    """As after a restart of the server, or a failover."""
    worker = await workers.start()
    await world.until_renewed(await world.connect(5))

    await world.fate.database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'integrations_worker' and datname = %s",
        [world.database],
    )

    await world.until_renewed(await world.connect(5))
    assert worker.process.poll() is None


async def test_a_refused_client_is_one_alarm(world: World, workers: Workers, service: ScriptedService) -> None:
    service.scripts["/token"] = lambda _: Answer.json({"error": "invalid_client"}, status=401)
    refs = await world.connect(10)
    worker = await workers.start()

    await worker.until_logged("credential.refresh_failed", 10)

    alarms = [line for line in worker.lines() if line.get("alarm")]
    assert [(line["level"], line["service_name"], line["code"]) for line in alarms] == [
        ("error", "scripted", "invalid_client")
    ]
    rows = await world.read(refs)
    assert {(row.integration.status, row.integration.last_error_code) for row in rows} == {
        (IntegrationStatus.ERROR, "invalid_client")
    }


async def test_a_privilege_that_was_taken_away_is_no_storm_of_requests(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    (ref,) = await world.connect(1)
    await world.fate.database.execute("revoke update (credentials) on public.integrations from integrations_worker")
    worker = await workers.start()

    (line,) = await worker.until_logged("credential.not_stored")

    assert (line["integration_id"], line["code"]) == (str(ref.id), "permission_denied")
    cursor = await world.fate.database.execute(
        "select refresh_lease_owner, next_refresh_at > now() + interval '9 minutes' as is_put_off"
        " from public.integrations where id = %s",
        [ref.id],
    )
    assert await cursor.fetchone() == {"refresh_lease_owner": None, "is_put_off": True}
    assert len(service.asked_for("/token")) == 1


async def test_one_unreadable_connection_leaves_the_others_alone(world: World, workers: Workers) -> None:
    refs = await world.connect(3)
    broken = refs[0]
    await world.fate.database.execute(
        "update public.integrations set credentials = 'v1.00000000.' || repeat('A', 100) where id = %s", [broken.id]
    )
    cursor = await world.fate.database.execute(
        "select credentials, credential_version, status from public.integrations where id = %s", [broken.id]
    )
    before = await cursor.fetchone()
    worker = await workers.start()

    await world.until_renewed(refs[1:])
    (skipped,) = await worker.until_logged("credential.refresh_skipped")

    assert (skipped["integration_id"], skipped["code"]) == (str(broken.id), "unknown_encryption_key")
    cursor = await world.fate.database.execute(
        "select credentials, credential_version, status from public.integrations where id = %s", [broken.id]
    )
    assert await cursor.fetchone() == before
    worker.signal()
    assert await worker.ended() == 0


async def test_what_has_expired_is_cleared_away(world: World, workers: Workers) -> None:
    (ref,) = await world.connect(1, due=False)
    database = world.fate.database
    await database.execute(
        "insert into public.oauth_states (user_id, state_hash, flow, expires_at)"
        " values (%s, repeat('a', 64), 'v1.00000000.' || repeat('A', 60), now() - interval '1 minute')",
        [ref.user_id],
    )
    await database.execute(
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role, created_at)"
        " values (%(user)s, %(id)s, 'scripted', 'integration.updated', 'authenticated', now() - interval '41 days'),"
        " (%(user)s, %(id)s, 'scripted', 'integration.updated', 'authenticated', now() - interval '39 days')",
        {"user": ref.user_id, "id": ref.id},
    )
    worker = await workers.start(EVENTS_KEPT_DAYS="40")

    lines = await worker.until_logged("worker.purged", 2)

    assert {line["what"]: line["rows"] for line in lines} == {"states": 1, "events": 1}


async def test_a_listener_that_is_somebody_else_ends_the_worker_with_the_reason(world: World, workers: Workers) -> None:
    worker = workers.launch(WORKER_LISTEN_URL=world.cluster.url(world.database))

    assert await worker.ended() == 1
    said = worker.log.read_text()
    assert "WORKER_LISTEN_URL must log in as integrations_worker" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["DATABASE_URL", "SUPABASE_SECRET_KEY"])
async def test_production_refuses_to_start_beside_a_greater_power(workers: Workers, name: str) -> None:
    worker = workers.launch(ENVIRONMENT="production", PROVIDERS_FILE="", **{name: "postgresql://u@h/d"})

    assert await worker.ended() == 1
    assert f"{name} is set" in worker.log.read_text()


async def test_settings_are_checked_before_anything_is_opened(workers: Workers, tmp_path: Path) -> None:
    worker = workers.launch(
        WORKER_DATABASE_URL="postgresql://u:canary#password@h/d", EVENTS_KEPT_DAYS="7", WORKER_CONCURRENCY="0"
    )

    assert await worker.ended() == 1
    said = worker.log.read_text()
    assert "WORKER_DATABASE_URL" in said
    assert "EVENTS_KEPT_DAYS" in said
    assert "WORKER_CONCURRENCY" in said
    assert "canary#password" not in said
