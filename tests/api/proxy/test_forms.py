"""Bodies that a server could read as forms: the method they name must not reach it."""

from collections.abc import AsyncIterator

import pytest

from supabase_integrations.use_cases.service_proxy import MAX_HELD_BYTES
from tests.api.proxy.conftest import Connect, Connected
from tests.api.proxy.echo_service import EchoService
from tests.people import Person


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


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("service_name", ["echo_header", "echo_body"])
async def test_what_is_held_as_a_whole_is_small(
    ada: Person, connect: Connect, echo: EchoService, service_name: str, is_announced: bool
) -> None:
    """A form takes eighty times its size while it is read: a user with a few large ones would end the process."""
    connected = await connect(ada, service_name)
    content_type = "application/x-www-form-urlencoded" if service_name == "echo_header" else "application/json"
    body = b"a=" + b"%41" * (MAX_HELD_BYTES // 3 + 1)

    async def in_parts() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    content = body if is_announced else in_parts()
    refused = await connected.call("POST", "/x", content=content, headers={"content-type": content_type})
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
    assert echo.got == []
