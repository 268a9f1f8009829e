"""An application that mounts the API decides what becomes of its log lines; until it has, there are none."""

import asyncio
import subprocess
import sys

APPLICATION = """
import asyncio, httpx
from fastapi import FastAPI
from integrations_api import http_errors
from integrations_api.request_log import RequestLog

app = FastAPI()

@app.get("/broken")
async def broken() -> None:
    raise RuntimeError

app.add_middleware(http_errors.UnexpectedErrors)
app.add_middleware(RequestLog)

async def ask() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await http.get("/broken")).status_code == 500

asyncio.run(ask())
"""
STANDARD_LIBRARY = """
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s|%(levelname)s|%(message)s")
"""


async def printed(script: str) -> tuple[int, str, str]:
    """How a process of its own ended, for structlog is configured for a whole process; its output and its errors."""
    command = [sys.executable, "-c", script]
    ran = await asyncio.to_thread(
        subprocess.run, command, env={}, capture_output=True, text=True, timeout=120, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


async def test_nothing_is_printed_unless_somebody_asked() -> None:
    assert await printed(APPLICATION) == (0, "", "")


async def test_an_applications_own_logging_has_the_lines_under_the_packages_name() -> None:
    status, output, errors = await printed(STANDARD_LIBRARY + APPLICATION)
    assert (status, output) == (0, "")
    lines = [line.split("|") for line in errors.splitlines() if line.startswith("supabase_integrations")]
    assert [(name, level, text.split()[0]) for name, level, text in lines] == [
        ("supabase_integrations.api", "ERROR", "request.failed"),
        ("supabase_integrations.api", "INFO", "request"),
    ]
