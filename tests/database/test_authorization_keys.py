"""Which keys started authorizations are sealed under: counts alone, for rotation."""

from typing import LiteralString

from tests.database.acts import Actor, refused

COUNT: LiteralString = "select * from integrations_private.count_authorizations_by_key()"


async def start(actor: Actor, number: int, key_id: str) -> None:
    """Start an authorization that is sealed under this key."""
    flow = f"v1.{key_id}." + "canary-" * 6
    await actor.run("insert into public.oauth_states (state_hash, flow) values (%s, %s)", f"{number:064x}", flow)


async def test_authorizations_are_counted_by_key_across_users(owner: Actor, stranger: Actor, worker: Actor) -> None:
    assert await worker.run(COUNT) == []
    await start(owner, 1, "aaaaaaaa")
    await start(owner, 2, "0000001d")
    await start(stranger, 1, "aaaaaaaa")

    assert {row["key_id"]: row["authorizations"] for row in await worker.run(COUNT)} == {"aaaaaaaa": 2, "0000001d": 1}


async def test_expired_authorizations_do_not_count(owner: Actor, fate: Actor, worker: Actor) -> None:
    await start(owner, 1, "aaaaaaaa")
    await fate.run("update public.oauth_states set expires_at = now()")
    assert await worker.run(COUNT) == []


async def test_only_the_worker_may_ask(owner: Actor, visitor: Actor, service_role: Actor) -> None:
    for actor in (owner, visitor, service_role):
        with refused("42501"):
            await actor.run(COUNT)


async def test_the_worker_still_cannot_read_them(owner: Actor, worker: Actor) -> None:
    await start(owner, 1, "aaaaaaaa")
    with refused("42501"):
        await worker.acting(owner.id).run("select flow from public.oauth_states")
