"""How a browser's callback is answered."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from uuid import UUID

import pytest

from integrations_api.callback_answer import answer, refusal
from supabase_integrations.core.errors import InvalidStateError
from supabase_integrations.use_cases.browser_callback import CallbackEnd, Failed, HandedOn, Outcome, Stored

PAGE = "https://app.example/page?tab=1"
ORIGINS = ("https://app.example", "http://localhost:3000")
ROW = UUID("01234567-89ab-4def-8123-456789abcdef")


@pytest.mark.parametrize(
    ("outcome", "fragment"),
    [
        (Stored(ROW), f"integration_id={ROW}"),
        (HandedOn("v1.aa.bb"), "integration_handle=v1.aa.bb"),
        (Failed("access_denied", "No."), "integration_error=access_denied"),
        (HandedOn("a&b#c d"), "integration_handle=a%26b%23c%20d"),
    ],
)
def test_the_app_gets_one_fragment_parameter(outcome: Outcome, fragment: str) -> None:
    response = answer(CallbackEnd(outcome, PAGE), ORIGINS, accepts_json=False)
    assert response.status_code == 303
    assert response.headers["location"] == f"{PAGE}#{fragment}"


def test_a_redirect_wins_over_json() -> None:
    response = answer(CallbackEnd(Stored(ROW), PAGE), ORIGINS, accepts_json=True)
    assert response.status_code == 303


def test_our_page_holds_nothing_that_runs_but_its_own_script() -> None:
    hostile = Failed("</script><script>alert(1)", "<img src=x onerror=alert(1)> & more")
    response = answer(CallbackEnd(hostile), ORIGINS, accepts_json=False)
    text = bytes(response.body).decode()
    assert "<img" not in text
    assert "<script>alert" not in text
    assert text.count("<script") == 2
    told = json.loads(text.partition('id="outcome">')[2].partition("</script>")[0])
    assert told["message"]["integration_error"] == "</script><script>alert(1)"


def test_the_content_security_policy_names_this_very_script_and_style() -> None:
    response = answer(CallbackEnd(Stored(ROW)), ORIGINS, accepts_json=False)
    text, policy = bytes(response.body).decode(), response.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for source in (script, style):
        assert f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_state_that_is_not_ours_tells_no_window() -> None:
    response = refusal(InvalidStateError(), accepts_json=False)
    told = json.loads(bytes(response.body).decode().partition('id="outcome">')[2].partition("</script>")[0])
    assert response.status_code == 400
    assert told == {"message": None, "origins": []}


@pytest.mark.parametrize("accepts_json", [True, False])
def test_every_answer_is_private(accepts_json: bool) -> None:
    for end in (CallbackEnd(Stored(ROW), PAGE), CallbackEnd(Stored(ROW)), CallbackEnd(Failed("x", "y"))):
        headers = answer(end, ORIGINS, accepts_json=accepts_json).headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
