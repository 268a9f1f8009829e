"""Whether the system can serve, as a list of named checks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. `detail` says what was found, and what to do where it is not right."""

    name: str
    ok: bool
    detail: str
