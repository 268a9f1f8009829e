"""How a browser's callback is answered: a redirect with one fragment parameter, a small page, or JSON.

The page tells the window that opened it (allowed origins only) and the other windows of this origin what came out. It
holds no user's text: a code from a closed list, an id, or a sealed handle.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from typing import Final
from urllib.parse import quote

import orjson
from fastapi import Response

from supabase_integrations.core.errors import IntegrationError
from supabase_integrations.use_cases.browser_callback import CallbackEnd, Failed, HandedOn, Outcome, Stored

from .http_errors import status_of

_STYLE: Final = "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem}"
_SCRIPT: Final = """\
const {message, origins} = JSON.parse(document.getElementById("outcome").textContent);
if (window.opener) for (const origin of origins) window.opener.postMessage(message, origin);
new BroadcastChannel("supabase-integrations").postMessage(message);
"""


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


_HEADERS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "content-security-policy": (
        f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)};"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def answer(end: CallbackEnd, origins: Sequence[str], *, accepts_json: bool) -> Response:
    """Where the browser goes, or what it is shown."""
    if end.redirect_to is not None:
        name, value = _parameter(end.outcome)
        target = f"{end.redirect_to}#{name}={quote(value, safe='')}"
        response = Response(status_code=303, headers={**_HEADERS, "location": target})
    else:
        response = _shown(end.outcome, origins, accepts_json=accepts_json)
    if end.spent_cookie:
        response.delete_cookie(end.spent_cookie, path="/", secure=True, httponly=True, samesite="lax")
    return response


def refusal(error: IntegrationError, *, accepts_json: bool) -> Response:
    """For a callback whose state is not ours: our own page, and no window is told."""
    return _shown(Failed(error.code, str(error)), (), accepts_json=accepts_json, status=status_of(error))


def _shown(outcome: Outcome, origins: Sequence[str], *, accepts_json: bool, status: int | None = None) -> Response:
    name, value = _parameter(outcome)
    code = status or (400 if isinstance(outcome, Failed) else 200)
    if accepts_json:
        return Response(orjson.dumps({name: value}), code, headers=_HEADERS, media_type="application/json")
    return Response(_page(outcome, origins), code, headers=_HEADERS, media_type="text/html")


def _parameter(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Stored(integration_id):
            return "integration_id", str(integration_id)
        case HandedOn(handle):
            return "integration_handle", handle
        case Failed(code, _):
            return "integration_error", code


def _page(outcome: Outcome, origins: Sequence[str]) -> str:
    name, value = _parameter(outcome)
    title, text = _words(outcome)
    message = orjson.dumps({"message": {"type": "supabase-integrations", name: value}, "origins": list(origins)})
    data = message.decode().replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{escape(text)}</p>"
        f'<script type="application/json" id="outcome">{data}</script><script>{_SCRIPT}</script></body></html>'
    )


def _words(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Stored():
            return "Connected", "The account is connected. You can close this window."
        case HandedOn():
            return "Almost done", "Go back to the application to finish connecting. You can close this window."
        case Failed(_, message):
            return "Not connected", message
