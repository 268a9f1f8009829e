"""What a claim reads of a large table, by the plan that PostgreSQL used for the shipped function's own statement."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, LiteralString, TypeAlias
from uuid import uuid4

import pytest

from tests.database.acts import Actor
from tests.database.test_claim_due_refreshes import CLAIM

Node: TypeAlias = Mapping[str, Any]
"""A plan's node as EXPLAIN writes it in JSON."""

LOOKED_AT: Final = 5000
"""Due rows that a claim ranks by turns, however many there are."""

EXPLAINING: LiteralString = """
    load 'auto_explain';
    set auto_explain.log_min_duration = 0;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_analyze = on;
    set auto_explain.log_format = 'json';
    set auto_explain.log_level = 'notice';
"""
"""Everything that is run is sent to the client as a plan with counts, also what functions run. For superusers."""

FILL: LiteralString = """
    insert into public.integrations (user_id, id, service_name, service_type, status, next_refresh_at)
    select
        ('00000000-0000-4000-8000-' || lpad(to_hex(n %% 2000), 12, '0'))::uuid, gen_random_uuid(), 'service_' || n,
        'crm', 'active', now() + (n - %s) * interval '1 second'
    from generate_series(1, %s) as n
"""


async def claim_plan(worker: Actor, max_rows: int, *, plan_cache_mode: str = "auto") -> tuple[int, Node]:
    """Claim as the worker: how many rows it got, and the plan of the statement that got them."""
    messages: list[str] = []
    connection = await worker.connection()
    await connection.execute(EXPLAINING)
    await connection.execute("select set_config('plan_cache_mode', %s, false)", [plan_cache_mode])
    connection.add_notice_handler(lambda notice: messages.append(str(notice.message_primary)))
    claimed = await worker.run(CLAIM, max_rows, uuid4())
    (explained,) = [plan for plan in map(parse_plan, messages) if "for update skip locked" in plan["Query Text"]]
    return len(claimed), explained["Plan"]


def parse_plan(message: str) -> Node:
    """The JSON after `duration: … ms  plan:`."""
    plan: Node = json.loads(message.partition("plan:\n")[2])
    return plan


def nodes(plan: Node) -> Iterator[Node]:
    """A plan's nodes."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_read(plan: Node) -> Counter[str]:
    """By index, the rows that scans took from our table, also those that a filter then refused."""
    read = Counter[str]()
    for node in nodes(plan):
        if node.get("Relation Name") == "integrations" and node["Node Type"] != "ModifyTable":
            assert node["Node Type"] in ("Index Scan", "Index Only Scan")
            refused = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read[node["Index Name"]] += round((node["Actual Rows"] + refused) * node["Actual Loops"])
    return read


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("max_rows", [1, 100, 500])
@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never-analyzed"])
async def test_ten_thousand_due_of_a_hundred_thousand_rows_are_not_read_from_end_to_end(
    fate: Actor, worker: Actor, plan_cache_mode: str, max_rows: int, analyzed: bool
) -> None:
    """Also planned without the arguments, as from a session's sixth claim on, and before statistics exist."""
    await fate.run(FILL, 10_000, 100_000)
    if analyzed:
        await (await fate.connection()).execute("analyze public.integrations")

    claimed, plan = await claim_plan(worker, max_rows, plan_cache_mode=plan_cache_mode)
    assert claimed == max_rows
    # By the key once to lock a row, and once to write it.
    assert rows_read(plan) == {"integrations_due_idx": LOOKED_AT, "integrations_pkey": 2 * max_rows}


async def test_of_rows_that_others_are_claiming_it_tries_four_times_as_many_as_it_was_asked_for(
    fate: Actor, worker: Actor
) -> None:
    """Beside many others it comes back with less, and does not look through all that they hold."""
    await fate.run(FILL, 10_000, 100_000)
    other = worker.again()
    connection = await other.connection()
    async with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        await other.begin(cursor)
        await cursor.execute(CLAIM, [380, uuid4()])
        claimed, plan = await claim_plan(worker, 100)
    assert claimed == 20
    assert rows_read(plan) == {"integrations_due_idx": LOOKED_AT, "integrations_pkey": 400 + 20}
