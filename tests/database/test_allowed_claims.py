"""Tokens that carry the role `authenticated` and are not a signed-in person's own: OAuth apps and anonymous users."""

from typing import LiteralString

import pytest

from tests.database.acts import ENVELOPE, Actor, connect_service, refused

ALLOW: LiteralString = "insert into integrations_private.allowed_claims (claim, value) values (%s, %s)"

REFUSED_CLAIMS: list[dict[str, object]] = [
    {"client_id": "app-1"},
    {"client_id": ""},
    {"client_id": {"nested": "app-1"}},
    {"is_anonymous": True},
    {"is_anonymous": "true"},
    {"is_anonymous": 1},
]


@pytest.fixture
async def rows(owner: Actor) -> None:
    """Something of everything for the owner."""
    await connect_service(owner)
    await owner.run("insert into public.oauth_states (state_hash, flow) values (repeat('ab', 32), %s)", ENVELOPE)


@pytest.mark.parametrize("claims", REFUSED_CLAIMS, ids=str)
@pytest.mark.usefixtures("rows")
async def test_their_tokens_reach_nothing(owner: Actor, claims: dict[str, object]) -> None:
    app = owner.carrying(**claims)
    assert await app.run("select * from public.integrations") == []
    assert await app.run("select * from public.oauth_states") == []
    assert await app.run("select * from public.integration_events") == []
    assert await app.run("update public.integrations set status = 'revoked' returning *") == []
    assert await app.run("delete from public.integrations returning *") == []
    assert await app.run("delete from public.oauth_states returning *") == []
    with refused("42501"):
        await connect_service(app, external_account_id="the app's")
    with refused("42501"):
        await app.run("insert into public.oauth_states (state_hash, flow) values (repeat('cd', 32), %s)", ENVELOPE)

    assert len(await owner.run("select * from public.integrations")) == 1


@pytest.mark.parametrize("claims", [{"client_id": None}, {"is_anonymous": False}, {"is_anonymous": None}], ids=str)
@pytest.mark.usefixtures("rows")
async def test_claims_that_say_no_such_thing_are_no_obstacle(owner: Actor, claims: dict[str, object]) -> None:
    assert len(await owner.carrying(**claims).run("select * from public.integrations")) == 1


@pytest.mark.usefixtures("rows")
async def test_the_operator_lets_one_app_in(owner: Actor, operator: Actor) -> None:
    await operator.run(ALLOW, "client_id", "app-1")

    assert len(await owner.carrying(client_id="app-1").run("select * from public.integrations")) == 1
    assert await owner.carrying(client_id="app-2").run("select * from public.integrations") == []
    assert await owner.carrying(client_id="app-1", is_anonymous=True).run("select * from public.integrations") == []


@pytest.mark.usefixtures("rows")
async def test_the_operator_lets_anonymous_users_in(owner: Actor, operator: Actor) -> None:
    await operator.run(ALLOW, "is_anonymous", "true")

    assert len(await owner.carrying(is_anonymous=True).run("select * from public.integrations")) == 1
    assert await owner.carrying(client_id="true").run("select * from public.integrations") == []


async def test_only_claims_that_are_looked_at_can_be_entered(operator: Actor) -> None:
    for claim, value in (("role", "anon"), ("is_anonymous", "false"), ("client_id", "")):
        with refused("23514"):
            await operator.run(
                "insert into integrations_private.allowed_claims (claim, value) values (%s, %s)", claim, value
            )


async def test_a_token_learns_of_no_other_apps(owner: Actor, operator: Actor) -> None:
    """Even where somebody exposed the schema by mistake."""
    await operator.run(ALLOW, "client_id", "app-1")
    await operator.run("grant usage on schema integrations_private to authenticated")

    read: LiteralString = "select claim, value from integrations_private.allowed_claims"
    assert await owner.run(read) == []
    assert await owner.carrying(client_id="app-2").run(read) == []
    assert len(await owner.carrying(client_id="app-1").run(read)) == 1
