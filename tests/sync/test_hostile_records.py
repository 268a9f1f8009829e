"""Records that cannot be stored: each is left out, counted and told, and the others are stored."""

from typing import Any

import orjson
import pytest

from tests.scripted_service import ScriptedService
from tests.sync.conftest import Door, Syncing
from tests.sync.contacts import ContactBook, people


def nested(levels: int) -> Any:
    """So many lists inside each other."""
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


HOSTILE = {
    "a NUL in a text": {"id": "x", "name": "a\x00b"},
    "a NUL in a name": {"id": "x", "a\x00b": 1},
    "a NUL in an id": {"id": "x\x00"},
    "a record of 1 MiB": {"id": "x", "notes": "n" * 1_048_576},
    "200 levels": {"id": "x", "notes": nested(200)},
    "500 levels": {"id": "x", "notes": nested(500)},
    "no id": {"name": "nobody"},
    "an empty id": {"id": ""},
    "an id that is a list": {"id": ["x"]},
    "an id of 300 characters": {"id": "x" * 300},
    "numbers that print a hundred times as long": {"id": "x", "numbers": [1e300] * 5000},
}


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
async def test_a_record_that_cannot_be_stored_is_skipped_and_the_others_are_not(
    syncing: Syncing, door: Door, service: ScriptedService, record: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    contacts: list[dict[str, Any]] = [*people(300), record, *people(600)[300:]]
    service.scripts["/api/contacts"] = ContactBook(contacts, page=200)
    (ref,) = await syncing.connect()

    outcome = await door.sync(ref)

    assert (outcome.records, outcome.skipped) == (600, 1)
    assert await syncing.records(ref) == {contact["id"]: contact for contact in people(600)}
    assert (await syncing.cursor(ref))["skipped"] == 1
    assert "sync.records_skipped" in caplog.text


async def test_many_that_the_database_refuses_are_found_one_by_one(
    syncing: Syncing, door: Door, service: ScriptedService
) -> None:
    contacts: list[dict[str, Any]] = people(600)
    for number in range(0, 600, 50):
        contacts[number] = {"id": str(number), "numbers": [1e300] * 5000}
    service.scripts["/api/contacts"] = ContactBook(contacts, page=600)
    (ref,) = await syncing.connect()

    outcome = await door.sync(ref)

    assert (outcome.records, outcome.skipped) == (588, 12)
    assert len(await syncing.records(ref)) == 588


async def test_one_id_given_twice_is_stored_once_as_it_came_last(
    syncing: Syncing, door: Door, service: ScriptedService
) -> None:
    service.scripts["/api/contacts"] = ContactBook([{"id": "1", "name": "first"}, {"id": 1, "name": "last"}])
    (ref,) = await syncing.connect()
    await door.sync(ref)
    assert await syncing.records(ref) == {"1": {"id": 1, "name": "last"}}


async def test_text_with_backslashes_and_quotes_is_stored_as_it_is(
    syncing: Syncing, door: Door, service: ScriptedService
) -> None:
    contact = {"id": "'; drop table public.synced_records; --", "name": "\\u0000 is no NUL, \\\\ '' \" %s %% \u2028 😀"}
    service.scripts["/api/contacts"] = ContactBook([contact])
    (ref,) = await syncing.connect()
    await door.sync(ref)
    assert await syncing.records(ref) == {contact["id"]: contact}


async def test_a_record_that_no_longer_fits_is_not_left_as_it_was(
    syncing: Syncing, door: Door, service: ScriptedService
) -> None:
    book = ContactBook(people(2))
    service.scripts["/api/contacts"] = book
    (ref,) = await syncing.connect()
    await door.sync(ref)
    book.contacts[1] = {"id": "1", "name": "\x00"}

    outcome = await door.sync(ref)

    assert (outcome.skipped, outcome.removed) == (1, 1)
    assert list(await syncing.records(ref)) == ["0"]


@pytest.mark.parametrize("body", [b"<html>", orjson.dumps({"contacts": ["text"]}), b'{"contacts":' + b"[" * 5000])
async def test_a_page_that_is_none_ends_the_attempt_with_what_it_is(
    syncing: Syncing, door: Door, service: ScriptedService, body: bytes
) -> None:
    service.scripts["/api/contacts"] = ContactBook(people(100), raw={"50": body})
    (ref,) = await syncing.connect()
    with pytest.raises(Exception, match="The service"):
        await door.sync(ref)
    assert len(await syncing.records(ref)) == 50
    assert (await syncing.cursor(ref))["last_error_code"] == "provider_unavailable"
