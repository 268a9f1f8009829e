"""Telling processes apart when their numbers are reused."""

import subprocess
from pathlib import Path

_PROC = Path("/proc")


def start_mark(pid: int) -> str | None:
    """When the process started, which together with its number names it for good; None when it does not run."""
    if not _has_proc():
        return _ask_ps(pid, "lstart=")
    try:
        # The name in parentheses may contain anything; field 3 (state) and 22 (start time) are counted after it.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def command_line(pid: int) -> str | None:
    """What the process was started with; None when it does not run."""
    if not _has_proc():
        return _ask_ps(pid, "command=")
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


def _ask_ps(pid: int, field: str) -> str | None:
    answer = subprocess.run(["ps", "-p", str(pid), "-o", field], capture_output=True, text=True, check=False)  # noqa: S607
    return answer.stdout.strip() or None
