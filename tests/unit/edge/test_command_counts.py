"""Commands count as people write: one connection, two connections."""

from pathlib import Path
from uuid import uuid4

import pytest

from supabase_integrations.adapters.audits import AuditFinding, AuditLevel
from supabase_integrations.cli import audit
from supabase_integrations.cli.rotation_output import JournalLook, RotationOutput
from supabase_integrations.cli.sync_output import SyncOutput
from supabase_integrations.core.key_rotation import UnreadableRow
from supabase_integrations.core.key_use import KeyUse
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.plurals import counted
from supabase_integrations.use_cases.key_rotation import RotationReport
from supabase_integrations.use_cases.sync import SyncOutcome

ROW = UnreadableRow(IntegrationRef(uuid4(), uuid4()), "unknown_encryption_key")
PRIMARY = KeyUse("5ea1ed00", is_primary=True, is_known=True, connections=0, authorizations=0, replies=0)


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 replies"), (1, "1 reply"), (2, "2 replies"), (1_000, "1,000 replies")],
)
def test_one_is_one(number: int, words: str) -> None:
    assert counted(number, "reply", "replies") == words
    assert counted(number, "record") == words.replace("replies", "records").replace("reply", "record")


@pytest.mark.parametrize(("number", "s", "reply"), [(1, "", "reply"), (2, "s", "replies")])
def test_a_rotation(capsys: pytest.CaptureFixture[str], number: int, s: str, reply: str) -> None:
    output, report = RotationOutput(), RotationReport(resealed=number, unreadable=number, held=number)
    report.unreadable_rows.append(ROW)
    former = KeyUse("01d01d01", False, True, connections=3 * number, authorizations=number, replies=number)
    output.drop(former.key_id, (PRIMARY, former), JournalLook(Path("journal"), is_there=True))
    output.finished(report, (PRIMARY, former))
    output.interrupted(report)
    said = capsys.readouterr().out
    for words in (
        f"{3 * number} connections, {number} authorization{s} under way and {number} {reply} in the journal.",
        f"Re-sealed {number} connection{s} in ",
        f"Unreadable, and left alone: {number} connection{s}.",
        f"Left out {number} connection{s}: ",
        f"Found {number} connection{s} sealed",
        f"Stopped after {number} connection{s}.",
    ):
        assert words in said


@pytest.mark.parametrize(("number", "s"), [(1, ""), (2, "s")])
def test_a_sync(capsys: pytest.CaptureFixture[str], number: int, s: str) -> None:
    SyncOutput().finished(SyncOutcome(records=number, skipped=number, removed=number))
    said = capsys.readouterr().out
    for words in (
        f"stored {number} record{s} in ",
        f"Removed {number} record{s} that ",
        f"{number} record{s} could not be stored",
    ):
        assert words in said


@pytest.mark.parametrize(("number", "words"), [(1, "1 finding."), (2, "2 findings.")])
def test_an_audit(capsys: pytest.CaptureFixture[str], number: int, words: str) -> None:
    finding = AuditFinding("audit", AuditLevel.ERROR, "object", "detail", "remediation")
    audit._print([finding] * number)
    assert capsys.readouterr().out.splitlines()[-1] == words
