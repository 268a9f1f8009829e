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


OTHERS = [
    ("application/json", b'{"method": "delete"}'),
    ("application/json", b'{"batch": [{"method": "DELETE", "relative_url": "1"}]}'),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="method"\r\n\r\ndelete\r\n--x--'),
    ("text/json", b'{"method": "delete"}'),
    ("", b"method=delete"),
    ("application/octet-stream", b"method=delete"),
]


@pytest.mark.parametrize(("content_type", "body"), OTHERS)
async def test_a_service_that_reads_methods_from_bodies_gets_those_that_were_read(
    ada: Person, connect: Connect, echo: EchoService, content_type: str, body: bytes
) -> None:
    connected = await connect(ada, "forms_alone")
    refused = await connected.call("POST", "/x", content=body, headers={"content-type": content_type})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")
    assert echo.got == []


async def test_such_a_service_gets_forms_without_the_method_and_the_calls_in_them(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada, "forms_alone")
    calls = '[{"method":"DELETE","relative_url":"act_1"}]'
    form = {"method": "delete", "batch": calls, "batch[0][method]": "DELETE", "Batch ": f" {calls}", "name": "Sale"}
    assert (await connected.call("POST", "/", params={"batch": calls}, data=form)).status_code == 200
    assert (echo.last.query, echo.last.body) == ([], b"name=Sale")
    assert (await connected.get("/", params={"batch": calls, "a": "1"})).status_code == 200
    assert echo.last.query == [("a", "1")]


async def test_a_parameter_that_is_only_called_batch_stays(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "forms_alone")
    await connected.get("/x", params={"batch": "7", "batch_id": "[1]"})
    assert echo.last.query == [("batch", "7"), ("batch_id", "[1]")]


@pytest.mark.parametrize(
    ("content_type", "is_passed"),
    [
        (["application/json"], True),
        (["Application/JSON; charset=UTF-8"], True),
        (['application/json;charset="utf-8"'], True),
        (["application/json; charset=utf-16"], False),
        (["application/json; boundary=x"], False),
        (["application/json, multipart/form-data; boundary=x"], False),
        (["application/json", "multipart/form-data; boundary=x"], False),
        (["multipart/form-data; boundary=x; a=application/json"], False),
        (["application/jsonp"], False),
        (["application/x-www-form-urlencoded"], False),
        ([""], False),
    ],
)
async def test_a_type_is_one_and_plainly_said(
    ada: Person, connect: Connect, echo: EchoService, content_type: list[str], is_passed: bool
) -> None:
    connected = await connect(ada, "json_alone")
    headers = [("content-type", value) for value in content_type]
    answer = await connected.call("POST", "/x", content=b'{"a": 1}', headers=headers)
    assert answer.status_code == (200 if is_passed else 422)
    assert bool(echo.got) == is_passed
    assert (await connected.call("POST", "/x")).status_code == 200
