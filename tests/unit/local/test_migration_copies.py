"""Our migrations inside another app's history: after its last, once, recognised by name."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from supabase_integrations.local.errors import LocalStackError
from supabase_integrations.local.migration_copies import copy_migrations

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Two migrations of ours."""
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "20260101000100_create_table.sql").write_text("create table public.ours ();")
    (folder / "20260101000200_create_policy.sql").write_text("select 2;")
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A Supabase project without migrations."""
    app = tmp_path / "app"
    (app / "supabase").mkdir(parents=True)
    return app


def names(app: Path) -> list[str]:
    return sorted(path.name for path in (app / "supabase" / "migrations").iterdir())


def test_copies_follow_each_other_from_now_on(ours: Path, app: Path) -> None:
    copies = copy_migrations(ours, app, now=NOW)

    assert [path.name for path in copies.written] == [
        "20261123120000_supabase_integrations_create_table.sql",
        "20261123120001_supabase_integrations_create_policy.sql",
    ]
    assert copies.written[0].read_text() == "create table public.ours ();"


def test_copies_come_after_a_last_migration_from_the_future(ours: Path, app: Path) -> None:
    theirs = app / "supabase" / "migrations" / "20271231235959_theirs.sql"
    theirs.parent.mkdir()
    theirs.write_text("select 1;")

    copies = copy_migrations(ours, app, now=NOW)

    assert [path.name[:14] for path in copies.written] == ["20280101000000", "20280101000001"]


def test_versions_that_are_no_dates_sort_before_the_copies(ours: Path, app: Path) -> None:
    theirs = app / "supabase" / "migrations" / "0007_theirs.sql"
    theirs.parent.mkdir()
    theirs.write_text("select 1;")

    copy_migrations(ours, app, now=NOW)

    assert names(app)[0] == "0007_theirs.sql"


def test_a_version_beyond_all_dates_is_refused(ours: Path, app: Path) -> None:
    theirs = app / "supabase" / "migrations" / "99999999999999_theirs.sql"
    theirs.parent.mkdir()
    theirs.write_text("select 1;")

    with pytest.raises(LocalStackError, match="99999999999999"):
        copy_migrations(ours, app, now=NOW)


def test_a_second_copy_writes_nothing(ours: Path, app: Path) -> None:
    copy_migrations(ours, app, now=NOW)
    before = names(app)

    copies = copy_migrations(ours, app, now=NOW.replace(year=2027))

    assert copies.written == ()
    assert copies.present == 2
    assert names(app) == before


def test_a_later_copy_writes_only_what_is_new(ours: Path, app: Path) -> None:
    copy_migrations(ours, app, now=NOW)
    (ours / "20260101000300_create_index.sql").write_text("select 3;")

    copies = copy_migrations(ours, app, now=NOW.replace(year=2027))

    assert [path.name for path in copies.written] == ["20271123120000_supabase_integrations_create_index.sql"]


def test_a_migration_of_theirs_with_the_same_name_is_not_taken_for_ours(ours: Path, app: Path) -> None:
    theirs = app / "supabase" / "migrations" / "20250101000000_create_table.sql"
    theirs.parent.mkdir()
    theirs.write_text("select 1;")

    assert len(copy_migrations(ours, app, now=NOW).written) == 2


def test_a_gap_in_the_earlier_copies_is_told(ours: Path, app: Path) -> None:
    first = copy_migrations(ours, app, now=NOW).written[0]
    first.unlink()

    with pytest.raises(LocalStackError, match="create_table"):
        copy_migrations(ours, app, now=NOW)


def test_the_migrations_folder_itself_may_be_named(ours: Path, app: Path) -> None:
    folder = app / "supabase" / "migrations"
    folder.mkdir()

    assert copy_migrations(ours, folder, now=NOW).folder == folder


def test_a_folder_that_is_no_supabase_project_is_refused(ours: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="supabase init"):
        copy_migrations(ours, tmp_path / "nowhere", now=NOW)
