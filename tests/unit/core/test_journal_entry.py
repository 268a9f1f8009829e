"""What the journal keeps: an entry survives being written down, and what is not one is refused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption_errors import MalformedEnvelopeError
from supabase_integrations.core.journal_entry import JournalEntry, entry_from_json, entry_to_json, place_of
from supabase_integrations.core.models import Caller, IntegrationRef
from supabase_integrations.core.secret import SecretStr
from tests.unit.fakes import START

USER, ROW, OWNER = (UUID(int=number) for number in (1, 2, 3))
REF = IntegrationRef(USER, ROW)
PAYLOAD = CredentialPayload(
    "hubspot",
    "",
    OAuthCredentials(
        access_token=SecretStr("canary-access"),
        issued_at=START,
        refresh_token=SecretStr("canary-refresh"),
        expires_at=START + timedelta(hours=1),
        scopes=("contacts", "deals"),
    ),
)
CALLER = Caller(USER, SecretStr("canary-jwt"), START + timedelta(hours=1), "session")
ENTRY = JournalEntry(REF, 7, OWNER, PAYLOAD, CALLER, START)


def written_down(entry: JournalEntry) -> dict[str, Any]:
    """The entry as it comes back from the disk."""
    value: dict[str, Any] = orjson.loads(orjson.dumps(entry_to_json(entry)))
    return value


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(ENTRY, id="of a user"),
        pytest.param(replace(ENTRY, caller=replace(CALLER, session_id=None)), id="of a user without a session"),
        pytest.param(replace(ENTRY, caller=None), id="of the worker"),
    ],
)
def test_an_entry_survives_being_written_down(entry: JournalEntry) -> None:
    assert entry_from_json(written_down(entry), REF, 7) == entry


def test_the_row_is_the_one_it_is_opened_for_and_not_one_that_the_content_names() -> None:
    other = IntegrationRef(UUID(int=8), UUID(int=9))
    opened = entry_from_json(written_down(ENTRY) | {"user_id": str(USER), "id": str(ROW)}, other, 3)
    assert (opened.ref, opened.seen_version) == (other, 3)
    assert opened.caller
    assert opened.caller.user_id == other.user_id


@pytest.mark.parametrize("key", ["lease_owner", "written_at", "payload", "caller"])
@pytest.mark.parametrize("value", [None, True, 1.5, "x", [], {}])
def test_what_is_not_an_entry_is_refused(key: str, value: object) -> None:
    if key == "caller" and value is None:
        value = {"access_token": 1, "expires_at": 0, "session_id": None}
    with pytest.raises(MalformedEnvelopeError, match="opened, but holds no"):
        entry_from_json(written_down(ENTRY) | {key: value}, REF, 7)


@pytest.mark.parametrize("key", ["lease_owner", "written_at", "payload", "caller"])
def test_an_entry_without_one_of_its_parts_is_refused(key: str) -> None:
    incomplete = {name: value for name, value in written_down(ENTRY).items() if name != key}
    with pytest.raises(MalformedEnvelopeError):
        entry_from_json(incomplete, REF, 7)


def test_every_row_and_version_is_a_place_of_its_own() -> None:
    others = [
        place_of(replace(REF, user_id=UUID(int=9)), 7),
        place_of(replace(REF, id=UUID(int=9)), 7),
        place_of(IntegrationRef(ROW, USER), 7),
        place_of(REF, 8),
    ]
    assert len({place.encoded for place in [place_of(REF, 7), *others]}) == 5


def test_an_entry_does_not_show_its_secrets() -> None:
    assert "canary" not in repr(ENTRY)
