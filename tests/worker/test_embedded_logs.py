"""An application with this package in it decides what becomes of its log lines; until it has, there are none."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import canaries
from tests.scripted_service import ScriptedService
from tests.worker.world import World

APPLICATION = """
import asyncio, os
from uuid import UUID
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations

async def renew(integration_id, user_id):
    async with open_worker_integrations(WorkerConfiguration.from_environment(os.environ)) as worker:
        await worker.refresh_token(UUID(integration_id), UUID(user_id))

asyncio.run(renew(os.environ["INTEGRATION"], os.environ["OWNER"]))
"""
STANDARD_LIBRARY = """
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s|%(levelname)s|%(message)s")
"""
STRUCTLOG = """
import structlog
structlog.configure(
    processors=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()],
    logger_factory=structlog.stdlib.LoggerFactory(),
)
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
"""


def run(script: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script], env=dict(environment), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
async def environment(world: World, service: ScriptedService, tmp_path: Path) -> dict[str, str]:
    """Of an application that renews one connection, and whose journal holds something that does not open."""
    (ref,) = await world.connect(1)
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True, mode=0o700)
    (journal / f"{ref.user_id}.{ref.id}.1.reply").write_bytes(b"torn")
    named = {"INTEGRATION": str(ref.id), "OWNER": str(ref.user_id)}
    return {**world.environment(service.url, tmp_path / "state"), **named}


async def test_nothing_is_printed_unless_somebody_asked(environment: dict[str, str], service: ScriptedService) -> None:
    ran = await asyncio.to_thread(run, APPLICATION, environment)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert len(service.asked_for("/token")) == 1


async def test_an_applications_own_logging_has_the_lines_under_the_packages_name(environment: dict[str, str]) -> None:
    ran = await asyncio.to_thread(run, STANDARD_LIBRARY + APPLICATION, environment)
    assert (ran.returncode, ran.stdout) == (0, "")
    lines = [line.split("|") for line in ran.stderr.splitlines() if line.startswith("supabase_integrations")]
    assert [(name, level, text.split()[0]) for name, level, text in lines] == [
        ("supabase_integrations.journal", "ERROR", "journal.unreadable"),
        ("supabase_integrations.refresh", "INFO", "credential.refreshed"),
    ]
    assert f"integration_id='{environment['INTEGRATION']}'" in lines[1][2]
    for secret in canaries.SECRETS:
        assert secret not in ran.stderr


async def test_an_applications_structlog_has_the_fields(environment: dict[str, str]) -> None:
    ran = await asyncio.to_thread(run, STRUCTLOG + APPLICATION, environment)
    assert (ran.returncode, ran.stdout) == (0, "")
    said = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
    (line,) = [line for line in said if line["event"] == "credential.refreshed"]
    assert (line["logger"], line["level"]) == ("supabase_integrations.refresh", "info")
    assert (line["integration_id"], line["user_id"]) == (environment["INTEGRATION"], environment["OWNER"])
