"""Which rows a rotation comes to, what it leaves alone, and when it gives up; the tables are a fake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.credentials_place import credentials_place
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.errors import StoreUnavailableError
from supabase_integrations.core.key_rotation import ResealedRow, RotatingPage, RotatingRow
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.use_cases.key_rotation import LISTED, KeyRotation, RotationReport
from tests.unit.fakes import START, FakeClock

OLD_KEY, NEW_KEY = "ca4a27" * 10 + "f00d", "0ddba11" * 9 + "0"
KEYRING = Keyring.from_hex(NEW_KEY, [OLD_KEY])
NEW_ID, OLD_ID = KEYRING.key_ids
OLD, BOTH = Encryption(Keyring.from_hex(OLD_KEY)), Encryption(KEYRING)
LAST = UUID(int=(1 << 128) - 1)


@dataclass
class FakeTables:
    """Rows by their place, as `port.KeyRotationDatabase` shows them."""

    clock: FakeClock
    rows: dict[IntegrationRef, RotatingRow] = field(default_factory=dict)
    page: int = 500
    outages: int = 0
    lost_answers: int = 0
    changes_before_write: list[IntegrationRef] = field(default_factory=list)
    listings: int = 0

    def add(self, user_id: UUID, integration_id: UUID | None = None, *, envelope: str | None = None) -> IntegrationRef:
        """A row sealed under the old key, or holding what is given."""
        ref = IntegrationRef(user_id, integration_id or uuid4())
        sealed = envelope or OLD.encrypt("canary", credentials_place("crm", "", ref.id, ref.user_id, 1))
        self.rows[ref] = RotatingRow(ref, "crm", {}, 1, sealed, None, is_held=False, was_abandoned=False)
        return ref

    def hold(self, ref: IntegrationRef, *, abandoned: bool = False) -> None:
        """Somebody has the row's lease, or has left it behind."""
        self.rows[ref] = replace(self.rows[ref], is_held=not abandoned, was_abandoned=True)

    def let_go(self, ref: IntegrationRef) -> None:
        """The lease was given back."""
        self.rows[ref] = replace(self.rows[ref], is_held=False, was_abandoned=False)

    async def count_by_key(self) -> Mapping[str, int]:
        self._maybe_out()
        counts: dict[str, int] = {}
        for row in self.rows.values():
            key_id = Encryption.key_id_of(row.envelope)
            counts[key_id] = counts.get(key_id, 0) + 1
        return counts

    async def count_authorizations_by_key(self) -> Mapping[str, int]:
        return {}

    async def list_sealed_under(
        self, key_id: str, after: IntegrationRef | None, limit: int
    ) -> tuple[IntegrationRef, ...]:
        self._maybe_out()
        self.listings += 1
        under = sorted(ref for ref, row in self.rows.items() if Encryption.key_id_of(row.envelope) == key_id)
        return tuple(ref for ref in under if after is None or ref > after)[:limit]

    async def read_sealed_under(self, key_id: str, refs: Sequence[IntegrationRef]) -> RotatingPage:
        self._maybe_out()
        found = [self.rows[ref] for ref in refs if Encryption.key_id_of(self.rows[ref].envelope) == key_id][: self.page]
        return RotatingPage(tuple(found), found[-1].ref if found else refs[-1])

    async def write_resealed(self, rows: Sequence[ResealedRow], owner: UUID) -> int:
        self._maybe_out()
        written = 0
        for new in rows:
            row = self.rows[new.ref]
            if row.is_held or row.version != new.seen_version or new.ref in self.changes_before_write:
                continue
            self.rows[new.ref] = replace(row, envelope=new.envelope, version=row.version + 1)
            written += 1
        self.changes_before_write.clear()
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailableError
        return written

    def _maybe_out(self) -> None:
        if self.outages:
            self.outages -= 1
            raise StoreUnavailableError


@dataclass
class FakeKeptReplies:
    """Implements `port.KeptReplies`."""

    kept: dict[tuple[IntegrationRef, int], str] = field(default_factory=dict)

    async def keys(self) -> Mapping[tuple[IntegrationRef, int], str]:
        return self.kept


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tables(clock: FakeClock) -> FakeTables:
    return FakeTables(clock)


@pytest.fixture
def journal() -> FakeKeptReplies:
    return FakeKeptReplies()


async def rotate(tables: FakeTables, journal: FakeKeptReplies, *, lanes: int = 3) -> RotationReport:
    """One run, and what it says; the progress it tells must be what it did."""
    report, told = RotationReport(), 0

    def progress(count: int) -> None:
        nonlocal told
        told += count

    await KeyRotation(tables, journal, KEYRING, {}, tables.clock, lanes=lanes).run(report, progress)
    assert told == report.resealed
    return report


async def test_every_row_is_sealed_anew_for_its_next_version(tables: FakeTables, journal: FakeKeptReplies) -> None:
    refs = [tables.add(uuid4()) for _ in range(1_200)]
    report = await rotate(tables, journal)

    assert (report.resealed, report.unreadable, report.held) == (1_200, 0, 0)
    for ref in refs:
        row = tables.rows[ref]
        assert row.envelope.startswith(f"v1.{NEW_ID}.")
        assert BOTH.decrypt(row.envelope, credentials_place("crm", "", ref.id, ref.user_id, 2)) == "canary"


@pytest.mark.parametrize("lanes", [1, 2, 3, 7])
async def test_lanes_leave_no_user_out_and_share_none(tables: FakeTables, journal: FakeKeptReplies, lanes: int) -> None:
    edges = [(1 << 128) * lane // lanes + step for lane in range(lanes + 1) for step in (-1, 0, 1)]
    users = [UUID(int=edge) for edge in edges if 0 <= edge < 1 << 128]
    for user_id in users:
        tables.add(user_id, UUID(int=1))
        tables.add(user_id, LAST)
    report = await rotate(tables, journal, lanes=lanes)

    assert report.resealed == 2 * len(users) == len(tables.rows)
    assert {row.version for row in tables.rows.values()} == {2}


async def test_a_page_that_is_cut_short_is_gone_on_from_there(tables: FakeTables, journal: FakeKeptReplies) -> None:
    for _ in range(20):
        tables.add(uuid4())
    tables.page = 3
    assert (await rotate(tables, journal)).resealed == 20


async def test_rows_that_do_not_open_are_named_and_block_nothing(tables: FakeTables, journal: FakeKeptReplies) -> None:
    elsewhere = OLD.encrypt("canary", credentials_place("crm", "", uuid4(), uuid4(), 1))
    shut = {tables.add(uuid4(), envelope=elsewhere) for _ in range(5)}
    for _ in range(10):
        tables.add(uuid4())
    report = await rotate(tables, journal)

    assert (report.resealed, report.unreadable) == (10, 5)
    assert {row.ref for row in report.unreadable_rows} == shut
    assert {row.reason for row in report.unreadable_rows} == {"wrong_owner"}
    assert all(tables.rows[ref].envelope == elsewhere for ref in shut)


async def test_a_tenant_that_no_place_has_room_for_blocks_nothing(tables: FakeTables, journal: FakeKeptReplies) -> None:
    """The name of the service and the settings are the user's: whatever stands there must not end a rotation."""
    ref = tables.add(uuid4())
    tables.rows[ref] = replace(tables.rows[ref], service_name="s" * 3_000)
    tables.add(uuid4())
    report = await rotate(tables, journal)
    assert [row.reason for row in report.unreadable_rows] == ["unsealable_value"]
    assert report.resealed == 1


async def test_a_tenant_that_only_the_catalogue_could_name_is_an_unknown_service(
    tables: FakeTables, journal: FakeKeptReplies
) -> None:
    user_id, integration_id = uuid4(), uuid4()
    place = credentials_place("crm", "a-shop", integration_id, user_id, 1)
    tables.add(user_id, integration_id, envelope=OLD.encrypt("canary", place))
    report = await rotate(tables, journal)
    assert [row.reason for row in report.unreadable_rows] == ["unknown_service"]


async def test_rows_of_a_key_that_is_not_here_are_counted_and_the_first_named(
    tables: FakeTables, journal: FakeKeptReplies
) -> None:
    for _ in range(LISTED + 50):
        tables.add(uuid4(), envelope="v1.5ea1ed00." + "canary_" * 8)
    tables.add(uuid4())
    report = await rotate(tables, journal)

    assert (report.resealed, report.unreadable, len(report.unreadable_rows)) == (1, LISTED + 50, LISTED)
    assert {row.reason for row in report.unreadable_rows} == {"unknown_encryption_key"}


async def test_a_held_row_is_come_back_to_until_it_is_free(tables: FakeTables, journal: FakeKeptReplies) -> None:
    ref = tables.add(uuid4())
    tables.hold(ref)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        tables.clock.moment += timedelta(seconds=seconds)
        if len(slept) == 3:
            tables.let_go(ref)

    tables.clock.sleep = sleep  # type: ignore[method-assign]
    report = await rotate(tables, journal)
    assert (report.resealed, report.held, len(slept)) == (1, 0, 3)


async def test_a_row_that_stays_held_is_given_up_after_two_minutes(
    tables: FakeTables, journal: FakeKeptReplies, clock: FakeClock
) -> None:
    ref = tables.add(uuid4())
    other = tables.add(uuid4())
    tables.hold(ref)
    report = await rotate(tables, journal)

    assert (report.resealed, report.held) == (1, 1)
    assert (tables.rows[ref].version, tables.rows[other].version) == (1, 2)
    assert 120 <= (clock.moment - START).total_seconds() < 130


async def test_a_row_with_a_reply_in_the_journal_is_left_to_its_replay(
    tables: FakeTables, journal: FakeKeptReplies
) -> None:
    waiting, stale = tables.add(uuid4()), tables.add(uuid4())
    tables.hold(waiting, abandoned=True)
    tables.hold(stale, abandoned=True)
    journal.kept = {(waiting, 1): OLD_ID, (stale, 7): OLD_ID}
    report = await rotate(tables, journal)

    assert (report.resealed, report.held) == (1, 1)
    assert (tables.rows[waiting].version, tables.rows[stale].version) == (1, 2)


async def test_a_row_that_changed_after_it_was_read_is_read_again(tables: FakeTables, journal: FakeKeptReplies) -> None:
    tables.changes_before_write = [tables.add(uuid4())]
    report = await rotate(tables, journal)
    assert (report.resealed, report.held) == (1, 0)


async def test_a_short_outage_ends_nothing(tables: FakeTables, journal: FakeKeptReplies) -> None:
    tables.add(uuid4())
    tables.outages = 4
    assert (await rotate(tables, journal, lanes=1)).resealed == 1


async def test_a_batch_whose_answer_was_lost_is_not_written_twice(tables: FakeTables, journal: FakeKeptReplies) -> None:
    ref = tables.add(uuid4())
    tables.lost_answers = 1
    await rotate(tables, journal, lanes=1)
    assert tables.rows[ref].version == 2


async def test_a_long_outage_is_told_as_what_it_is(tables: FakeTables, journal: FakeKeptReplies) -> None:
    tables.add(uuid4())
    tables.outages = 1_000
    with pytest.raises(StoreUnavailableError):
        await rotate(tables, journal)


async def test_an_outage_within_a_lane_is_told_as_what_it_is(tables: FakeTables, journal: FakeKeptReplies) -> None:
    """Not as a group of errors, which nobody upstream would know."""
    tables.add(uuid4())
    tables.lost_answers = 0

    async def away(rows: Sequence[ResealedRow], owner: UUID) -> int:
        raise StoreUnavailableError

    tables.write_resealed = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        await rotate(tables, journal)
