"""Telling accounts apart by what a service answers."""

from base64 import urlsafe_b64encode

import orjson
import pytest

from supabase_integrations.core.account import Account, account_in, account_in_id_token, account_in_reply
from supabase_integrations.core.errors import AccountUnknownError
from supabase_integrations.core.http_messages import HttpReply
from supabase_integrations.core.service import AccountRule
from supabase_integrations.core.service_kinds import AccountSource
from tests.unit.conftest import load

RULE = AccountRule(source=AccountSource.TOKEN_REPLY, field="team.id", name_field="team.name")
GOOGLE = load().get("google_ads")


def id_token(**claims: object) -> str:
    given = {"iss": "https://accounts.google.com", "aud": "client", "sub": "42", "email": "a@b.c"} | claims
    payload = urlsafe_b64encode(orjson.dumps(given)).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def in_id_token(token: object) -> Account:
    assert GOOGLE.account_id_from is not None
    return account_in_id_token(token, GOOGLE, "client", GOOGLE.account_id_from)


def test_dots_descend() -> None:
    assert account_in({"team": {"id": 7, "name": "Crew\n"}}, RULE) == Account("7", "Crew")


@pytest.mark.parametrize("value", [None, True, "", "  ", {}, [], 1.5, "a\nb", "x" * 256])
def test_what_identifies_nobody_is_refused(value: object) -> None:
    with pytest.raises(AccountUnknownError):
        account_in({"team": {"id": value}}, RULE)


@pytest.mark.parametrize("fields", [{}, {"team": 3}, {"team": []}])
def test_a_missing_path_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(AccountUnknownError):
        account_in(fields, RULE)


@pytest.mark.parametrize(
    "reply", [HttpReply(404, {}, b'{"team":{"id":1}}'), HttpReply(200, {}, b"<html>"), HttpReply(200, {}, b"[]")]
)
def test_an_answer_that_is_not_one_is_refused(reply: HttpReply) -> None:
    with pytest.raises(AccountUnknownError):
        account_in_reply(reply, RULE)


def test_an_id_token_names_its_subject() -> None:
    assert in_id_token(id_token()) == Account("42", "a@b.c")
    assert in_id_token(id_token(aud=["other", "client"])).id == "42"


@pytest.mark.parametrize(
    "token",
    [id_token(aud="other"), id_token(aud=["other"]), id_token(iss="https://evil.example"), None, "", "a.b", "a.%.c", 7],
)
def test_an_id_token_for_somebody_else_is_refused(token: object) -> None:
    with pytest.raises(AccountUnknownError):
        in_id_token(token)
