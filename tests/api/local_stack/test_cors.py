"""A frontend on another port can sign in at the local Supabase, as it can at a hosted one."""

import httpx
import pytest

from tests.local_system import LocalSystem

ORIGIN = {"origin": "http://localhost:5173"}


@pytest.mark.parametrize("path", ["/auth/v1/signup", "/auth/v1/token", "/rest/v1/integrations"])
async def test_a_browsers_preflight_is_answered(local_system: LocalSystem, path: str) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "apikey,authorization"}
    async with httpx.AsyncClient(base_url=local_system.supabase_url, trust_env=False, timeout=60) as http:
        reply = await http.options(path, headers=ORIGIN | asked)
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == "apikey,authorization"
    assert "POST" in reply.headers["access-control-allow-methods"]


async def test_a_browser_can_read_the_answer(local_system: LocalSystem) -> None:
    async with httpx.AsyncClient(base_url=local_system.supabase_url, trust_env=False, timeout=60) as http:
        key = {"apikey": local_system.publishable_key}
        refused = await http.post("/auth/v1/token?grant_type=password", json={}, headers=ORIGIN | key)
        listed = await http.get("/rest/v1/integrations", headers=ORIGIN | key)
        plain = await http.get("/auth/v1/health", headers=key)
    assert refused.headers["access-control-allow-origin"] == "*"
    assert listed.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in plain.headers
