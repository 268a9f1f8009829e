"""The page that a callback without a `redirect_to` ends on: it tells the person, the window that opened it (allowed
origins only) and the other windows of this origin what came out.

It holds no user's text: a code from a closed list, an id, or a sealed handle. Its policy lets nothing run or load but
the one script and the one style here.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Final

import orjson

from supabase_integrations.use_cases.browser_callback import Failed, HandedOn, Outcome, Stored

_MESSAGE_TYPE: Final = "supabase-integrations"
"""By which a window knows our message among others."""

_STYLE: Final = """\
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center}
main{max-width:26rem;padding:2rem 1.5rem;text-align:center}
h1{margin:.75rem 0 .5rem;font-size:1.5rem;line-height:1.25}
p{margin:0 0 .5rem;text-wrap:balance}
.quiet{opacity:.75}
svg{width:3.5rem;fill:none;stroke:currentColor;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}
.stored svg{color:#1a7f37}
.handed-on svg{color:#0969da}
.failed svg{color:#cf222e}
@media (prefers-color-scheme:dark){
.stored svg{color:#3fb950}
.handed-on svg{color:#58a6ff}
.failed svg{color:#ff7b72}
}
"""

_SCRIPT: Final = """\
const {message, origins} = JSON.parse(document.getElementById("outcome").textContent);
if (message) {
  if (window.opener) for (const origin of origins) window.opener.postMessage(message, origin);
  new BroadcastChannel("supabase-integrations").postMessage(message);
}
"""


def _source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


POLICY: Final = (
    f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)};"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a person sees of an outcome; `mark` is drawn into a circle."""

    name: str
    title: str
    text: str
    mark: str


def render(outcome: Outcome, parameter: tuple[str, str] | None, origins: Sequence[str]) -> str:
    """The page; `parameter` is the name and value that the windows are told, None tells none."""
    look = _look(outcome)
    message = {"type": _MESSAGE_TYPE, parameter[0]: parameter[1]} if parameter else None
    # No text can end the element that holds it.
    told = orjson.dumps({"message": message, "origins": list(origins)}).decode().replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{look.title}</title><style>{_STYLE}</style></head><body><main class="{look.name}">'
        f'<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/><path d="{look.mark}"/></svg>'
        f"<h1>{look.title}</h1><p>{escape(look.text)}</p>"
        '<p class="quiet">You can close this window and go back to the application.</p></main>'
        f'<script type="application/json" id="outcome">{told}</script><script>{_SCRIPT}</script></body></html>'
    )


def _look(outcome: Outcome) -> _Look:
    match outcome:
        case Stored():
            return _Look("stored", "Connected", "The account is connected.", "m7.5 12.5 3 3 6-6.5")
        case HandedOn():
            # The window that opened this one may be gone, or of an origin that hears nothing: this page cannot know.
            text = "The application you came from finishes this. If it does not show the account, start again there."
            return _Look("handed-on", "Almost done", text, "M7.5 12h9M13 8.5l3.5 3.5-3.5 3.5")
        case Failed(_, message):
            return _Look("failed", "Not connected", message, "m8.5 8.5 7 7m0-7-7 7")
