"""Audits are read from a folder; what they find is tried on a real database, in tests/database."""

from pathlib import Path

from supabase_integrations.adapters.audits import Audit, load_audits
from supabase_integrations.resources import audits_dir


def test_a_folders_audits_are_its_sql_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "views.sql").write_text("select 2")
    (tmp_path / "grants.sql").write_text("select 1")
    (tmp_path / "README.md").write_text("not an audit")

    assert load_audits(tmp_path) == (Audit("grants", b"select 1"), Audit("views", b"select 2"))


def test_the_projects_own_audits_are_found() -> None:
    audits = {audit.name: audit for audit in load_audits(audits_dir())}
    assert len(audits) == 23
    for name, audit in audits.items():
        assert f"'{name}' as audit".encode() in audit.query
