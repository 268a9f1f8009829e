"""What processes have used: processor time and memory, from /proc. Linux only."""

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of the children it has now, such as Postgres' sessions."""
    return sum(_own_cpu_seconds(each) for each in (pid, *_children(pid)))


def resident_megabytes(pid: int) -> float:
    """Memory of a process that is in RAM, shared pages included (VmRSS); in units of 1,000,000 bytes."""
    return _status_megabytes(pid, "VmRSS")


def peak_megabytes(pid: int) -> float:
    """The most that `resident_megabytes` has been (VmHWM)."""
    return _status_megabytes(pid, "VmHWM")


def _status_megabytes(pid: int, name: str) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields[name].split()[0]) * 1024 / 1_000_000


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _read(task / "children").split()]


def _own_cpu_seconds(pid: int) -> float:
    # The name in parentheses may contain anything; user and system time are fields 14 and 15.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND if fields else 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
