"""What the API answers when this server's own limit of a service is reached."""

from datetime import timedelta

import httpx
from fastapi import FastAPI

from integrations_api import http_errors
from supabase_integrations.core.errors import RateLimitedError


async def test_it_is_429_with_the_wait_in_whole_seconds() -> None:
    app = FastAPI()
    http_errors.install(app)

    @app.get("/")
    async def refuse() -> None:
        raise RateLimitedError(timedelta(seconds=2.1))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as api:
        answer = await api.get("/")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "rate_limited", "3")
