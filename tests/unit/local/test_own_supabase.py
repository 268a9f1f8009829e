"""Using a Supabase that runs already: what is checked before, and what the developer is told."""

import httpx
import pytest

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.errors import LocalStackError
from supabase_integrations.local.external import require_protection, use_supabase
from supabase_integrations.local.guarantees import BrokenGuaranteeError
from supabase_integrations.local.settings import ExternalSupabase
from supabase_integrations.local.supabase import Supabase

HOSTED = ExternalSupabase("https://project.supabase.co", SecretStr("sb_publishable_canary"), None)


async def use(status: int, body: object, external: ExternalSupabase = HOSTED) -> Supabase:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/rest/v1/integrations"
        assert request.headers["apikey"] == "sb_publishable_canary"
        return httpx.Response(status, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await use_supabase(external, http, progress=print)


async def test_a_project_that_refuses_visitors_our_table_has_it() -> None:
    supabase = await use(401, {"code": "42501", "message": "permission denied for table integrations"})

    assert supabase.url == HOSTED.url
    assert supabase.jwt_secret is None


async def test_a_project_without_our_table_names_both_ways_to_make_it() -> None:
    with pytest.raises(LocalStackError, match="integrations migrate --database-url") as told:
        await use(404, {"code": "PGRST205", "message": "Could not find the table 'public.integrations'"})

    assert "integrations migrations copy" in str(told.value)


async def test_a_hosted_database_is_never_pushed_to_unasked() -> None:
    hosted = ExternalSupabase(
        HOSTED.url,
        HOSTED.publishable_key,
        DatabaseUrl.parse("postgresql://postgres:canary@db.project.supabase.co/postgres"),
    )

    with pytest.raises(LocalStackError, match="does not have the table"):
        await use(404, {"code": "PGRST205"}, hosted)


async def test_a_wrong_publishable_key_is_told_apart_from_a_missing_table() -> None:
    with pytest.raises(LocalStackError, match="SUPABASE_PUBLISHABLE_KEY"):
        await use(401, {"message": "Invalid API key"})


async def test_a_supabase_that_does_not_answer_is_named() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        with pytest.raises(LocalStackError, match=r"https://project\.supabase\.co.*supabase start"):
            await use_supabase(HOSTED, http, progress=print)


async def ask_for_protection(*, database: bool, auth: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://127.0.0.1:8000/readyz"
        checks = [
            {"name": "database", "ok": database, "detail": "Strangers may read!" if not database else "Fine."},
            {"name": "auth", "ok": auth, "detail": "No keys."},
        ]
        return httpx.Response(200 if database and auth else 503, json={"status": "-", "checks": checks})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await require_protection(http, "http://127.0.0.1:8000", HOSTED)


async def test_a_project_that_strangers_can_read_is_refused_with_the_reason() -> None:
    with pytest.raises(BrokenGuaranteeError, match=r"https://project\.supabase\.co .*Strangers may read!"):
        await ask_for_protection(database=False, auth=True)


async def test_only_the_check_of_the_database_decides_about_protection() -> None:
    await ask_for_protection(database=True, auth=False)
