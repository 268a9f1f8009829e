"""The audit trail names each column that its trigger fires for, alone and together, in the order of their names."""

from typing import Final
from uuid import uuid4

from psycopg import sql

from tests.database.acts import ENVELOPE, Actor, connect_service

CHANGED: Final[dict[str, object]] = {
    "config": '{"shop": "another"}',
    "credentials": f"{ENVELOPE}another",
    "display_name": "Another",
    "expires_at": "2030-01-01 00:00:00+00",
    "external_account_id": "another",
    "last_error_code": "another",
    "scopes": "{another}",
    "service_type": "content",
    "status": "error",
}
FIRES_FOR: Final = """
    select array_agg(a.attname::text order by a.attname)
    from pg_trigger as t
    cross join lateral unnest(t.tgattr) as c (number)
    join pg_attribute as a on a.attrelid = t.tgrelid and a.attnum = c.number
    where t.tgrelid = 'public.integrations'::regclass and t.tgname = 'record_integration_change'
"""


async def changed_by(operator: Actor, **columns: object) -> object:
    """What the trail says of one update of a fresh connection."""
    integration = await connect_service(operator, user_id=await operator.value("select id from auth.users limit 1"))
    await operator.run("update public.integrations set refresh_lease_owner = %s where id = %s", uuid4(), integration)
    assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    statement = sql.SQL("update public.integrations set {} where id = %s").format(assignments)
    await operator.run(statement, *columns.values(), integration)
    told = await operator.value(
        "select changed_columns from public.integration_events where integration_id = %s order by id desc limit 1",
        integration,
    )
    await operator.run("delete from public.integrations where id = %s", integration)
    return told


async def test_the_function_compares_what_its_trigger_fires_for(operator: Actor, auth: Actor) -> None:
    """A column that is added to the trigger and not to the function, or the other way round, is noticed here."""
    assert await operator.value(FIRES_FOR) == sorted(CHANGED)
    told = {name: await changed_by(operator, **{name: value}) for name, value in CHANGED.items()}
    assert told == {name: [name] for name in CHANGED}


async def test_changes_of_one_statement_are_named_together_in_order(operator: Actor, auth: Actor) -> None:
    assert await changed_by(operator, **dict(reversed(CHANGED.items()))) == sorted(CHANGED)
