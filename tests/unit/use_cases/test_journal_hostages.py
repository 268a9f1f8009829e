"""A user who keeps a reply in the journal, by holding the lease that storing it needs."""

from datetime import timedelta
from uuid import uuid4

from supabase_integrations.core.models import Caller, IntegrationRef
from supabase_integrations.use_cases.journal_replay import GIVEN_UP_AFTER, JournalReplay
from tests.unit.conftest import World
from tests.unit.use_cases.test_journal_replay import Told, kept

MINUTE = timedelta(minutes=1)
LOOKS = GIVEN_UP_AFTER // MINUTE


class Forgiving(Told):
    """Notes what was removed, which a replay otherwise never does for its age."""

    def expired(self, ref: IntegrationRef, seen_version: int) -> None:
        self.left_behind.append((ref.id, "expired"))


async def look(world: World, replay: JournalReplay, caller: Caller, ref: IntegrationRef, *, is_held: bool) -> int:
    """A minute passes, at whose end the user holds the lease or does not; then the journal is gone through."""
    world.clock.moment += MINUTE + timedelta(seconds=20)
    if is_held:
        await world.database.as_user(caller).take_lease(ref.id, uuid4())
    return await replay.replay_all()


async def test_a_reply_that_its_user_holds_up_for_an_hour_makes_room_for_others(world: World) -> None:
    caller, told = world.caller(), Forgiving()
    row, entry = await kept(world, caller)
    replay = JournalReplay(
        world.journal, lambda kept: world.database.as_worker(kept.ref.user_id), world.refresher, world.clock, told
    )
    looks = 0
    while world.journal.kept and looks <= LOOKS:
        await look(world, replay, caller, row.ref, is_held=True)
        looks += 1
    assert LOOKS / 2 < looks <= LOOKS
    assert told.left_behind.count((row.id, "expired")) == 1
    assert (entry.ref, entry.seen_version) not in world.journal.kept


async def test_a_reply_is_stored_at_the_first_look_that_finds_its_row_free(world: World) -> None:
    caller, told = world.caller(), Forgiving()
    row, _ = await kept(world, caller)
    replay = JournalReplay(
        world.journal, lambda kept: world.database.as_worker(kept.ref.user_id), world.refresher, world.clock, told
    )
    for _ in range(LOOKS // 2):
        assert await look(world, replay, caller, row.ref, is_held=True) == 1
    assert await look(world, replay, caller, row.ref, is_held=False) == 0
    assert world.database.rows[caller.user_id, row.id].integration.credential_version == 2
    assert (row.id, "expired") not in told.left_behind
