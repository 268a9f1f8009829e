"""The browser that the tests drive: Debian's Chromium, or the one that CHROMIUM names."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect

PATIENCE = 60_000
"""Milliseconds that a page may take to show what is expected of it, on a machine that does other work too."""

_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    # Nothing but 127.0.0.1 is talked to, whatever proxy the environment names.
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str:
    """The path of the browser; skips the test where there is none, except in CI."""
    named = os.environ.get("CHROMIUM")
    if named:
        assert Path(named).is_file(), f"CHROMIUM names {named}, which is no file"
        return named
    found = next(filter(None, map(shutil.which, _COMMANDS)), None)
    if found is None:
        advice = "No Chromium: install it (apt-get install chromium) or name it with CHROMIUM=/path/to/chromium"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


@asynccontextmanager
async def running_chromium(path: str) -> AsyncIterator[Browser]:
    """Start the browser without a window."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=[*_FLAGS, *root],
            # Windows that nobody clicked for are to be stopped here as they are at a user's.
            ignore_default_args=["--disable-popup-blocking"],
        )
        expect.set_options(timeout=PATIENCE)
        try:
            yield browser
        finally:
            await browser.close()
