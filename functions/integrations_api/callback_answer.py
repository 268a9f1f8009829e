"""How a browser's callback is answered: a redirect with one fragment parameter, a small page, or JSON."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import orjson
from fastapi import Response

from supabase_integrations.core.errors import IntegrationError
from supabase_integrations.use_cases.browser_callback import CallbackEnd, Failed, HandedOn, Outcome, Stored

from . import callback_page
from .http_errors import status_of

_HEADERS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "content-security-policy": callback_page.POLICY,
}


def answer(end: CallbackEnd, origins: Sequence[str], *, accepts_json: bool) -> Response:
    """Where the browser goes, or what it is shown."""
    name, value = _parameter(end.outcome)
    if end.redirect_to is not None:
        target = f"{end.redirect_to}#{name}={quote(value, safe='')}"
        response = Response(status_code=303, headers={**_HEADERS, "location": target})
    elif accepts_json:
        response = _json(end.outcome, _status(end.outcome))
    else:
        response = _page(callback_page.render(end.outcome, (name, value), origins), _status(end.outcome))
    if end.spent_cookie:
        response.delete_cookie(end.spent_cookie, path="/", secure=True, httponly=True, samesite="lax")
    return response


def refusal(error: IntegrationError, *, accepts_json: bool) -> Response:
    """For a callback whose state is not ours: our own page, and no window is told."""
    outcome, status = Failed(error.code, str(error)), status_of(error)
    return _json(outcome, status) if accepts_json else _page(callback_page.render(outcome, None, ()), status)


def _parameter(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Stored(integration_id):
            return "integration_id", str(integration_id)
        case HandedOn(handle):
            return "integration_handle", handle
        case Failed(code, _):
            return "integration_error", code


def _status(outcome: Outcome) -> int:
    return 400 if isinstance(outcome, Failed) else 200


def _json(outcome: Outcome, status: int) -> Response:
    name, value = _parameter(outcome)
    return Response(orjson.dumps({name: value}), status, headers=_HEADERS, media_type="application/json")


def _page(html: str, status: int) -> Response:
    return Response(html, status, headers=_HEADERS, media_type="text/html")
