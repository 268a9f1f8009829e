"""One rule about which calls the proxy passes on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""What the proxy takes."""
_RULE: Final = re.compile(rf"({'|'.join(METHODS)}) (/[^\s?#]*)")


@dataclass(frozen=True, slots=True)
class ProxyRule:
    """`METHOD /pattern`: in a pattern `*` is any one segment, and `**` at its end any rest. GET allows HEAD too."""

    method: str
    pattern: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule. Raises ValueError."""
        found = _RULE.fullmatch(text)
        pattern = tuple(found[2].split("/")[1:]) if found else ()
        if found is None or "**" in pattern[:-1]:
            raise ValueError(f"{text!r} is not METHOD /path, with * for a segment and ** for any rest at its end")
        return cls(found[1], pattern)

    def allows(self, method: str, segments: Sequence[str]) -> bool:
        """Whether a call with this method and these decoded segments is one the rule means."""
        if method != self.method and (method, self.method) != ("HEAD", "GET"):
            return False
        if self.pattern[-1] == "**":
            return len(segments) >= len(self.pattern) - 1 and self._fits(self.pattern[:-1], segments)
        return len(segments) == len(self.pattern) and self._fits(self.pattern, segments)

    def _fits(self, pattern: Sequence[str], segments: Sequence[str]) -> bool:
        return all(part in ("*", segment) for part, segment in zip(pattern, segments, strict=False))
