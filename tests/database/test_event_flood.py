"""How fast one user may grow the audit trail, and that no rotated token is lost to the limit."""

from uuid import UUID, uuid4

import pytest

from tests.database.acts import ENVELOPE, Actor, Row, change, connect_service, refused

NEW = f"{ENVELOPE}new"
RENEWED = {"credentials": NEW, "last_refreshed_at": "now", "refresh_failures": 0, "last_error_code": None}
REFUSED = {"status": "needs_reauthorization", "last_error_code": "invalid_grant", "last_error_at": "now"}
UNREACHABLE = {"last_error_code": "provider_unavailable", "refresh_failures": 1}
FILL_TO_THE_QUOTA = """
    insert into public.integrations (id, service_name, service_type, external_account_id)
    select gen_random_uuid(), 'demo_crm', 'crm', 'account ' || n from generate_series(1, %s) as n
"""


async def test_the_audit_trail_cannot_be_flooded(owner: Actor, stranger: Actor, fate: Actor) -> None:
    integration = await connect_service(owner)
    await record(fate, owner, 998)
    await change(owner, integration, status="error")
    with refused("54000", "integration_events_flood"):
        await change(owner, integration, status="active")
    with refused("54000", "integration_events_flood"):
        await connect_service(owner, external_account_id="another")

    await change(owner, integration, last_sync_at="now")
    await connect_service(stranger)


async def test_a_flooded_trail_stops_neither_the_worker_nor_deleting(
    owner: Actor, worker: Actor, auth: Actor, fate: Actor
) -> None:
    integration = await connect_service(owner)
    await connect_service(owner, external_account_id="stays until the user goes")
    await record(fate, owner, 1000)
    await worker.acting(owner.id).run("update public.integrations set status = 'error' where id = %s", integration)
    await owner.run("delete from public.integrations where id = %s", integration)
    await auth.run("delete from auth.users where id = %s", owner.id)

    assert await fate.value("select count(*) from public.integrations") == 0


async def test_the_flood_limit_looks_at_the_last_hour(owner: Actor, fate: Actor) -> None:
    await record(fate, owner, 1000)
    await fate.run("update public.integration_events set created_at = now() - interval '61 minutes'")
    await connect_service(owner)


async def test_at_the_limit_a_lease_is_refused_before_anything_depends_on_it(
    owner: Actor, stranger: Actor, worker: Actor, fate: Actor
) -> None:
    fresh = await connect_service(owner)
    lapsed = await connect_service(owner, external_account_id="lapsed")
    await change(owner, lapsed, refresh_lease_owner=uuid4())
    await fate.run("update public.integrations set refresh_lease_until = now() - interval '15 seconds'")
    await record(fate, owner, 998)
    for integration in (fresh, lapsed):
        with refused("54000", "integration_events_flood"):
            await change(owner, integration, refresh_lease_owner=uuid4())

    others = await connect_service(stranger)
    await change(stranger, others, refresh_lease_owner=uuid4())
    await worker.acting(owner.id).run(
        "update public.integrations set refresh_lease_owner = %s where id = %s", uuid4(), fresh
    )


@pytest.mark.parametrize("lapses", [False, True])
@pytest.mark.parametrize("outcome", [RENEWED, REFUSED, UNREACHABLE, {}])
async def test_what_a_lease_was_taken_for_is_written_whatever_became_full_meanwhile(
    owner: Actor, fate: Actor, outcome: dict[str, object], lapses: bool
) -> None:
    """Between lease and write a service may have rotated the token: only the written values may be refused."""
    integration = await connect_service(owner, status="error")
    holder = await lease(owner, integration)
    await owner.run(FILL_TO_THE_QUOTA, 199)
    await fill_with_states(fate, owner)
    await record(fate, owner, 1000)
    if lapses:
        await fate.run("update public.integrations set refresh_lease_until = now() - interval '1 second'")

    (row,) = await finish(owner, integration, holder, **outcome)
    assert row["refresh_lease_owner"] is None
    for column in outcome.keys() - {"last_refreshed_at", "last_error_at"}:
        assert row[column] == outcome[column]


async def test_a_full_trail_grows_by_one_event_for_each_lease_that_was_given_before(owner: Actor, fate: Actor) -> None:
    integrations = [await connect_service(owner, external_account_id=str(number)) for number in range(5)]
    holders = {integration: await lease(owner, integration) for integration in integrations}
    await record(fate, owner, 995)
    for integration, holder in holders.items():
        for column, value in (("credentials", f"{NEW}kept"), ("status", "inactive"), ("display_name", "Ada")):
            with refused("54000", "integration_events_flood"):
                await change(owner, integration, **{column: value})
        assert await finish(owner, integration, holder, credentials=NEW)
        with refused("54000", "integration_events_flood"):
            await lease(owner, integration)
        with refused("54000", "integration_events_flood"):
            await change(owner, integration, status="inactive", refresh_lease_owner=None)

    assert await fate.value("select count(*) from public.integration_events where user_id = %s", owner.id) == 1005


async def lease(actor: Actor, integration: UUID) -> UUID:
    """Take the lease; the holder."""
    holder = uuid4()
    await change(actor, integration, refresh_lease_owner=holder)
    return holder


async def finish(actor: Actor, integration: UUID, holder: UUID, **values: object) -> list[Row]:
    """Write as the service does: the values and the end of the lease, where it is still the holder's."""
    assert await actor.value("select refresh_lease_owner from public.integrations where id = %s", integration) == holder
    return await change(actor, integration, **values, refresh_lease_owner=None)


async def fill_with_states(fate: Actor, user: Actor) -> None:
    """Use up the user's authorizations."""
    await fate.run(
        "insert into integrations_private.seen_states (user_id, state_hash, seen_at)"
        " select %s, encode(sha256(n::text::bytea), 'hex'), now() from generate_series(1, 200) as n",
        user.id,
    )


async def record(fate: Actor, user: Actor, events: int) -> None:
    """Put events into a user's trail."""
    await fate.run(
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role)"
        " select %s, gen_random_uuid(), 'demo_crm', 'integration.updated', 'authenticated'"
        " from generate_series(1, %s)",
        user.id,
        events,
    )
