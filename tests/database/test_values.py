"""What a row may hold: nothing oversized, nothing that another reader of the database could not hold."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from psycopg.types.json import Jsonb

from tests.database.acts import ENVELOPE, Actor, change, connect_service, refused


def nested(levels: int) -> dict[str, object]:
    """An object with `levels` levels below its own."""
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


REFUSED: Final[dict[str, list[object]]] = {
    "service_name": ["", "Upper", "with space", "1st", "a" * 65, "trailing\n"],
    "service_type": ["", "other", "CRM"],
    "external_account_id": ["a" * 256, "line\nbreak", "\x1b[2J", "\u0085"],
    "display_name": ["a" * 201, "tab\there", "\x7f"],
    "status": ["", "deleted", "ACTIVE"],
    "credentials": [
        "",
        "canary-plaintext-token",
        '{"access_token": "canary"}',
        "v1.5ea1ed00." + "a" * 37,
        "v1.5EA1ED00." + "a" * 40,
        "v2.5ea1ed00." + "a" * 40,
        "v1.5ea1ed00." + "a" * 40 + "\n",
        "v1.5ea1ed00." + "a" * 40 + "=",
        " v1.5ea1ed00." + "a" * 40,
        "v1.5ea1ed00." + "a" * 65536,
    ],
    "config": [
        Jsonb([]),
        Jsonb("text"),
        Jsonb(None),
        Jsonb({"a": "x" * 16384}),
        Jsonb(nested(9)),
        Jsonb({"a": [[[[[[[[1]]]]]]]]}),
        Jsonb({"a": 10**400}, dumps=lambda _: '{"a": 1e400}'),
        Jsonb({}, dumps=lambda _: '{"a": [1, -1e5000]}'),
        Jsonb({}, dumps=lambda _: '{"a": ' + "[" * 3000 + "]" * 3000 + "}"),
    ],
    "scopes": [
        [f"scope{number}" for number in range(101)],
        ["a" * 257],
        [""],
        ["one two"],
        ["line\nbreak"],
        ["a", None],
        [None],
        [["a"], ["b"]],
        "[5:6]={a,b}",
        ["ünïcode"],
    ],
    "expires_at": ["infinity", "-infinity", "294276-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC"],
    "next_refresh_at": ["infinity", "294276-01-01 00:00:00+00"],
}

ACCEPTED: Final[dict[str, list[object]]] = {
    "service_name": ["a", "a" * 64, "google_ads"],
    "service_type": ["marketing", "crm", "content", "supply_chain", "analytics"],
    "external_account_id": ["", "a" * 255, "shop-ünïcode.example"],
    "display_name": [None, "", "Ada's Größe 大", "a" * 200],
    "status": ["active", "inactive", "needs_reauthorization", "error", "revoked"],
    "credentials": [None, "v1.5ea1ed00." + "a" * 38, "v1.5ea1ed00." + "-_aZ9" * 13104],
    "config": [
        Jsonb({}),
        Jsonb({"a": "x" * 16000}),
        Jsonb(nested(8)),
        Jsonb({"a": [1e308, -1e308, 1e-300, None, True]}),
    ],
    "scopes": [
        [],
        ["https://www.googleapis.com/auth/adwords"],
        [f"s{number}:read" for number in range(100)],
        ["a" * 256],
    ],
    "expires_at": [None, "2000-01-01 00:00:00+00", "2999-12-31 23:59:59+00"],
    "next_refresh_at": [None, "2999-12-31 23:59:59+00"],
}


@pytest.mark.parametrize("column", REFUSED)
async def test_insert_refuses(owner: Actor, column: str) -> None:
    for value in REFUSED[column]:
        with refused("23514", f"integrations_{column}_check"):
            await connect_service(owner, {column: value})


@pytest.mark.parametrize("column", ACCEPTED)
async def test_insert_accepts(owner: Actor, column: str) -> None:
    for number, value in enumerate(ACCEPTED[column]):
        await connect_service(owner, {"external_account_id": str(number), column: value})


@pytest.mark.parametrize("column", sorted(REFUSED.keys() - {"service_name", "service_type", "external_account_id"}))
async def test_update_refuses_the_same(owner: Actor, column: str) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=owner.id)
    for value in REFUSED[column]:
        with refused("23514", f"integrations_{column}_check"):
            await change(owner, integration, **{column: value})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("last_error_code", "Not A Word"),
        ("last_error_code", "a" * 65),
        ("last_error_at", "-infinity"),
        ("last_sync_at", "-infinity"),
        ("last_refreshed_at", "1999-12-31 23:59:59+00"),
        ("refresh_failures", 100_001),
    ],
)
async def test_update_refuses(owner: Actor, column: str, value: object) -> None:
    integration = await connect_service(owner)
    with refused("23514", f"integrations_{column}_check"):
        await change(owner, integration, **{column: value})


async def test_a_column_cannot_be_emptied_where_it_must_say_something(owner: Actor) -> None:
    integration = await connect_service(owner)
    for column in ("status", "config", "scopes"):
        with refused("23502"):
            await change(owner, integration, **{column: None})


@pytest.mark.parametrize("less", [-1, None])
async def test_failures_are_counted_down_by_nobody(owner: Actor, less: int | None) -> None:
    """Not refused: a client that writes back what it read must not fail for a failure that came between."""
    integration = await connect_service(owner)
    await change(owner, integration, refresh_failures=3)
    await change(owner, integration, refresh_failures=less)
    assert await owner.value("select refresh_failures from public.integrations where id = %s", integration) == 3


async def test_nul_bytes_and_lone_surrogates_do_not_reach_a_row(owner: Actor) -> None:
    with refused("22P05"):
        await connect_service(owner, config=Jsonb({}, dumps=lambda _: '{"a": "\\u0000"}'))
    with refused("22P02"):
        await connect_service(owner, config=Jsonb({}, dumps=lambda _: '{"a": "\\ud800"}'))


async def test_whatever_config_is_accepted_python_reads_back(owner: Actor, worker: Actor) -> None:
    """A row that one reader cannot hold would break the worker's whole batch."""
    config = {"deep": nested(7), "large": 10**308, "small": 1e-300}
    await connect_service(owner, config=Jsonb(config, dumps=json.dumps))

    row = await worker.acting(owner.id).row("select config, scopes, expires_at from public.integrations")
    assert row["config"] == config


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state_hash", "ab" * 31),
        ("state_hash", "AB" * 32),
        ("state_hash", "ab" * 32 + "\n"),
        ("state_hash", "ab" * 100_000),
        ("flow", "canary-plaintext-verifier"),
        ("flow", "v1.5ea1ed00." + "a" * 16384),
    ],
)
async def test_a_state_refuses(owner: Actor, column: str, value: str) -> None:
    row = {"state_hash": "ab" * 32, "flow": ENVELOPE, column: value}
    with refused("23514") as caught:
        await owner.run(
            "insert into public.oauth_states (state_hash, flow) values (%s, %s)", row["state_hash"], row["flow"]
        )
    assert str(caught.value.diag.constraint_name).endswith(f"_{column}_check")


async def test_times_of_the_past_are_never_in_the_future(owner: Actor) -> None:
    """A wrong or a lying clock cannot make a connection look fresher than it is."""
    integration = await connect_service(owner)
    later = datetime.now(UTC) + timedelta(days=1)
    (row,) = await change(
        owner, integration, last_sync_at=later, last_refreshed_at="infinity", last_error_at="2999-01-01 00:00:00+00"
    )
    for column in ("last_sync_at", "last_refreshed_at", "last_error_at"):
        assert row[column] <= datetime.now(UTC)


async def test_an_account_is_connected_once(owner: Actor, stranger: Actor) -> None:
    await connect_service(owner, external_account_id="shop.example")
    with refused("23505", "integrations_account_key"):
        await connect_service(owner, external_account_id="shop.example")

    await connect_service(owner, service_name="hubspot", external_account_id="shop.example")
    await connect_service(stranger, external_account_id="shop.example")


async def test_services_with_one_account_are_connected_once(owner: Actor) -> None:
    await connect_service(owner)
    with refused("23505", "integrations_account_key"):
        await connect_service(owner)
