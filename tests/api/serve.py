"""Further `integrations serve` processes beside the shared system's own, with settings of a test's choice."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from tests.local_system import LocalSystem, free_ports, stop_process

_START_SECONDS = 90
_STOP_SECONDS = 60
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH")


def settings_for(system: LocalSystem, settings: Mapping[str, str], **changes: str) -> dict[str, str]:
    """What an operator would set for a process that works with this system; `settings` as the system's own."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **settings,
        "ENVIRONMENT": "development",
        "SUPABASE_URL": system.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": system.publishable_key,
        "SUPABASE_JWT_SECRET": system.jwt_secret,
        "APP_URL": system.api_url,
        "STATE_DIR": str(system.state_dir),
        **changes,
    }


@contextmanager
def serving(system: LocalSystem, name: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve for as long as the block lasts; the process's URL. It may not answer yet: see `wait_for`.

    The log stands beside the system's own, so that it is searched for secrets as they are.
    """
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (system.log_dir / f"api-{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "supabase_integrations", "serve"],
            env={**environment, "PORT": str(port), "APP_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield url
    finally:
        stop_process(process, _STOP_SECONDS)


def wait_for(url: str) -> None:
    """Return when the process at this URL answers."""
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=60) as http:
        while time.monotonic() < deadline:
            try:
                http.get(f"{url}/healthz").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError(f"{url} did not answer; its log is beside the local system's.")
