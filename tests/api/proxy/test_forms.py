"""Bodies that a server could read as forms: the method they name must not reach it."""

import pytest

from tests.api.proxy.conftest import Connected
from tests.api.proxy.echo_service import EchoService


@pytest.mark.parametrize(
    "content_type",
    [
        ["application/x-www-form-urlencoded,text/plain"],
        ["application/x-www-form-urlencoded charset=utf-8"],
        ["Application/X-WWW-Form-URLencoded; charset=utf-7"],
        ["text/plain", "application/x-www-form-urlencoded"],
    ],
)
async def test_what_some_servers_read_as_a_form_is_one(
    keyed: Connected, echo: EchoService, content_type: list[str]
) -> None:
    headers = [("content-type", value) for value in content_type]
    assert (await keyed.call("POST", "/x", content=b"_method=DELETE&a=1", headers=headers)).status_code == 200
    assert (echo.last.body, echo.last.headers.getall("content-type")) == (b"a=1", ["application/x-www-form-urlencoded"])


async def test_a_body_of_no_type_is_said_to_be_of_none(keyed: Connected, echo: EchoService) -> None:
    """Left unsaid, some servers read it as a form."""
    assert (await keyed.call("POST", "/x", content=b"_method=DELETE")).status_code == 200
    assert (echo.last.body, echo.last.headers["content-type"]) == (b"_method=DELETE", "application/octet-stream")
