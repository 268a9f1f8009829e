"""What a refusal of Supabase's Data API means, as our errors. Nothing of its body goes further than this module.

PostgREST answers with Postgres' own code and message. Our migrations end every message of theirs with the rule that
refused, in double quotes, as Postgres does for constraints; the rule decides first, because Supabase Lite answers many
refusals with status 500, the code `SUP` and that message alone.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import httpx
import orjson

from ..core.errors import (
    ConfigurationError,
    ForbiddenError,
    IntegrationError,
    InvalidValueError,
    SchemaMissingError,
    StoreUnavailableError,
)
from ..core.http_messages import retry_after
from ..core.token_refusal import TokenRefusal
from .postgres_rules import error_of_code, error_of_rule, is_passing, names_rules

_CODES: Final[Mapping[str, type[IntegrationError]]] = {
    "PGRST106": SchemaMissingError,
    "PGRST204": SchemaMissingError,
    "PGRST205": SchemaMissingError,
}
_TOKEN_CODES: Final = frozenset({"PGRST301", "PGRST302", "PGRST303"})
_LAST_QUOTED: Final = re.compile(r'"([a-z0-9_]+)"[^"]*\Z')
_FIRST_QUOTED: Final = re.compile(r'"([a-z0-9_]+)"')
_PRINTABLE_CODE: Final = re.compile(r"[A-Z0-9]{1,10}")


def error_of(reply: httpx.Response, now: datetime) -> IntegrationError:
    """The error that a reply outside 200 to 299 stands for."""
    code, message = _code_and_message(reply.content)
    # Only these codes, and Lite's, speak of rules: in other messages the quoted text may be what the client sent.
    if names_rules(code) or code == "SUP":
        rule = _LAST_QUOTED.search(message)
        error = error_of_rule(rule[1]) if rule else None
        if error is not None:
            return error
    if code in _TOKEN_CODES:
        return (TokenRefusal.EXPIRED if message == "JWT expired" else TokenRefusal.REFUSED_BY_DATA_API).error()
    if code == "42501":
        return _not_permitted(reply.status_code, message)
    if code == "23502" and (column := _FIRST_QUOTED.search(message)):
        return InvalidValueError(column[1], f"{column[1]} is required.")
    meaning = _CODES.get(code)
    return (meaning() if meaning else error_of_code(code)) or _error_of_status(reply, code, now)


def _code_and_message(body: bytes) -> tuple[str, str]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    code, message = document.get("code"), document.get("message")
    return code if isinstance(code, str) else "", message if isinstance(message, str) else ""


def _not_permitted(status: int, message: str) -> IntegrationError:
    # PostgREST says 401 where it took the request for a stranger's.
    if status == 401:
        return TokenRefusal.REFUSED_BY_DATA_API.error()
    if "row-level security" in message:
        return ForbiddenError("row_level_security", "Row level security does not allow this with this access token.")
    return ForbiddenError(
        "permission_denied", "The database does not let signed-in users do this. Run `integrations audit` to see why."
    )


def _error_of_status(reply: httpx.Response, code: str, now: datetime) -> IntegrationError:
    status = reply.status_code
    if status in (408, 429) or status >= 500 or is_passing(code):
        wait = retry_after(reply.headers, now)
        what = "receives too many requests" if status == 429 else f"is not working (HTTP {status})"
        return StoreUnavailableError(f"Supabase's Data API {what}. Try again.", retry_after=wait)
    if status == 413:
        return InvalidValueError("body", "The request is larger than Supabase's Data API accepts.")
    if not code and status in (401, 403):
        return ConfigurationError("Supabase's Data API refuses the publishable key: check SUPABASE_PUBLISHABLE_KEY.")
    if not code and (status < 400 or status == 404):
        return ConfigurationError(f"Supabase's Data API is not there (HTTP {status}): check SUPABASE_URL.")
    named = code if _PRINTABLE_CODE.fullmatch(code) else f"HTTP {status}"
    return IntegrationError(f"The database refused the request ({named}). Run `integrations doctor`.")
