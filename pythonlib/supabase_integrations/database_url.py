"""The one reading of a database's URL: what is connected to, what may be shown, and what is refused unseen.

libpq, `urllib` and Supabase's command line each cut a URL with an unencoded password elsewhere, and each repeats in
its error what it took for a port or a token. So a URL that could be cut in two ways is refused here, before any of
them sees it, without a word of it.
"""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from .core.errors import ConfigurationError
from .core.secret import SecretStr

_SCHEMES: Final = ("postgres", "postgresql")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_SECRET_PARAMETERS: Final = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
_REFUSAL: Final = (
    "The database URL must look like postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    " Percent-encode the password: its @ is %40, # is %23, / is %2F, ? is %3F, % is %25."
)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is and who connects. Build it with `parse`."""

    url: SecretStr
    """As it was given: for libpq alone."""
    password: SecretStr | None
    host: str
    shown: str
    """User, host, port and database: for people."""
    without_password: str
    """`shown` with the parameters that are no secret: for another program's command line."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL. Raises ConfigurationError, which holds nothing of what it refuses."""
        try:
            parts = _split(text)
            netloc = _netloc(parts)
            parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise ConfigurationError(_REFUSAL) from None
        password = unquote(parts.password or "") or dict(parameters).get("password")
        public = [(name, value) for name, value in parameters if name not in _SECRET_PARAMETERS]
        shown = parts._replace(netloc=netloc, query="")
        return cls(
            url=SecretStr(text),
            password=SecretStr(password) if password else None,
            host=parts.hostname or "",
            shown=shown.geturl(),
            without_password=shown._replace(query=urlencode(public)).geturl(),
        )

    def conceal(self, text: str) -> str:
        """What a driver or a tool said about this database, or nothing of it where the password is in it."""
        secret = self.password.get_secret_value() if self.password else ""
        written = urlsplit(self.url.get_secret_value()).password or ""
        holds_it = any(part and part in text for part in (secret, written))
        return "its answer is not shown, because it holds the password" if holds_it else text.strip()

    def unreachable(self, said: str, advice: str) -> str:
        """One line about a connection that was not made, with what a driver said and what to do."""
        reason = " ".join(self.conceal(said).split())
        end = "" if reason.endswith((".", "?", "!")) else "."
        return f"The database at {self.shown} cannot be reached: {reason}{end} {advice}"


def _split(text: str) -> SplitResult:
    """The parts of a URL that can be cut in one way only. Raises ValueError."""
    # urlsplit drops tabs and line ends, and libpq does not.
    if not text.isprintable() or " " in text or "#" in text or _STRAY_PERCENT.search(text):
        raise ValueError
    parts = urlsplit(text)
    # libpq ends the login at the first @, urllib at the last one before a slash.
    if parts.scheme not in _SCHEMES or not parts.hostname or text.count("@") > parts.netloc.count("@"):
        raise ValueError
    if parts.netloc.count("@") > 1 or "," in parts.netloc:
        raise ValueError
    return parts


def _netloc(parts: SplitResult) -> str:
    """User, host and port. Raises ValueError where the port is none."""
    user = f"{parts.username}@" if parts.username else ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return f"{user}{host}{f':{parts.port}' if parts.port is not None else ''}"
