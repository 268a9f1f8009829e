"""Users with a connection that can be called, and services that answer in turn."""

from collections.abc import Callable
from datetime import timedelta

from supabase_integrations.core.credentials import ApiKeyCredentials, BasicCredentials, OAuthCredentials
from supabase_integrations.core.errors import (
    ProviderUnavailableError,
)
from supabase_integrations.core.models import Integration
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.user_integrations import UserIntegrations
from tests.unit.conftest import World
from tests.unit.service_fakes import FakeExchange, Sent

TOKEN = "http://127.0.0.1:9400/token"
LOST = ProviderUnavailableError()


def in_turn(*answers: FakeExchange | Exception) -> Callable[[Sent], FakeExchange]:
    """Answers with one after another, and with the last for good."""
    left = list(answers)

    def respond(_: Sent) -> FakeExchange:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return respond


async def connected(world: World) -> tuple[UserIntegrations, Integration]:
    """A user with a token of the demo service that ends in an hour."""
    user = world.user(world.caller())
    row = await user.create(
        "demo_crm",
        OAuthCredentials(SecretStr("canary-access-0"), world.clock.now(), expires_at=None),
        service_type=None,
        config={},
    )
    return user, row


async def authorized(world: World) -> tuple[UserIntegrations, Integration]:
    """A user whose token can be renewed."""
    user, row = await connected(world)
    store = world.database.as_user(user.caller)
    opened = await world.refresher.fresh(store, row.id)
    payload = opened.payload
    credentials = OAuthCredentials(
        SecretStr("canary-access-0"),
        world.clock.now(),
        refresh_token=SecretStr("canary-refresh-0"),
        expires_at=world.clock.now() + timedelta(hours=1),
    )
    replaced = type(payload)(payload.service_name, payload.tenant, credentials)
    await world.vault.replace(store, row.id, replaced, opened.service)
    world.clock.moment += timedelta(seconds=6)
    return user, row


async def with_key(world: World, service_name: str = "keyed_api") -> tuple[UserIntegrations, Integration]:
    user = world.user(world.caller())
    credentials = (
        BasicCredentials("ada", SecretStr("canary-password"))
        if service_name == "with_password"
        else ApiKeyCredentials(SecretStr("canary-key"))
    )
    return user, await user.create(service_name, credentials, service_type=None, config={})
