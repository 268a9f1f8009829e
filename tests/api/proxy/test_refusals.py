"""The table of what must not get out: hostile paths, hosts, redirects and methods, each with what becomes of it."""

from uuid import uuid4

import pytest

from tests.api.proxy.conftest import KEY, Connect, Connected
from tests.api.proxy.echo_service import EchoService
from tests.people import Person

INVALID = (422, "invalid_value")
UNAVAILABLE = (502, "provider_unavailable")

PATHS = [
    "/..",
    "/../me",
    "/a/../../me",
    "/a/./b",
    "/.",
    "/%2e%2e/me",
    "/%2E%2E/me",
    "/.%2e/me",
    "/a/%2e%2e%2f%2e%2e/me",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a%5C..%5Cme",
    "/a\\b",
    "/\\..\\me",
    "/%252e%252e/me",
    "/a%252fb",
    "/%25%32%65%25%32%65/me",
    "/..;/me",
    "/..;x=1/me",
    "/%2e%2e;/me",
    "/;/me",
    "//evil.example/x",
    "/a//b",
    "//",
    "/http://evil.example/x",
    "/https:%2f%2fevil.example",
    "/%c0%ae%c0%ae/me",
    "/%c0%afme",
    "/%e0%80%af",
    "/%ff",
    "/%00",
    "/a%00.json",
    "/a%0a",
    "/a%09b",
    "/a%7fb",
    "/%ef%bc%8e%ef%bc%8e/me",
    "/a%ef%bc%8fb",
    "/%e2%80%a5/me",
    "/a%e2%84%80b",
    "/%zz",
    "/a%2",
    "/%u002e%u002e/me",
    "/" + "a" * 20_000,
]
"""Each is refused with 422 `invalid_value`."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
async def test_a_path_that_could_be_read_twice_is_refused(keyed: Connected, echo: EchoService, path: str) -> None:
    answer = await keyed.raw("GET", keyed.proxy + path)
    assert (answer.status, b'"code":"invalid_value"' in answer.body) == (422, True)
    assert "integrations-upstream-status" not in answer.headers
    assert echo.got == []


async def test_a_line_break_is_no_path_at_all(keyed: Connected, echo: EchoService) -> None:
    answer = await keyed.raw("GET", f"{keyed.proxy}/a%0d%0aX-Injected:%201")
    assert (answer.status, b'"code":"not_found"' in answer.body) == (404, True)
    assert echo.got == []


@pytest.mark.parametrize("target", ["{id}%2Fproxy/x", "{id}/%70roxy/x", "{id}/proxy%2Fx", "%2e/{id}/proxy/x"])
async def test_the_place_of_the_proxy_itself_is_written_plainly(
    keyed: Connected, echo: EchoService, target: str
) -> None:
    answer = await keyed.raw("GET", "/api/integrations/" + target.format(id=keyed.row["id"]))
    assert answer.status in (404, 422)
    assert echo.got == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/contacts", True),
        ("HEAD", "/contacts", True),
        ("GET", "/contacts/", True),
        ("GET", "/contacts/1", True),
        ("GET", "/contacts/%31", True),
        ("GET", "/%63ontacts/1", True),
        ("POST", "/contacts/1/search", True),
        ("GET", "/files", True),
        ("GET", "/files/a/b/c", True),
        ("GET", "/", False),
        ("GET", "/Contacts", False),
        ("GET", "/contacts/1/2", False),
        ("GET", "/contactsx", False),
        ("GET", "/filesx/a", False),
        ("POST", "/contacts", False),
        ("POST", "/contacts/1/2/search", False),
        ("PUT", "/contacts/1", False),
        ("PATCH", "/contacts/1", False),
        ("DELETE", "/contacts/1", False),
    ],
)
async def test_only_what_a_rule_names_is_passed_on(
    narrow: Connected, echo: EchoService, method: str, path: str, allowed: bool
) -> None:
    answer = await narrow.raw(method, narrow.proxy + path)
    assert answer.status == (200 if allowed else 403)
    assert bool(echo.got) == allowed
    if not allowed:
        assert b'"code":"call_not_allowed"' in answer.body


async def test_a_service_may_be_closed_to_the_proxy(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "closed")
    assert (await connected.get("/x")).json()["code"] == "call_not_allowed"
    assert (await (await connect(ada, "without_address")).get("/x")).json()["code"] == "service_not_configured"
    assert echo.got == []


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PURGE", "BREW"])
async def test_other_methods_are_not_passed_on(keyed: Connected, echo: EchoService, method: str) -> None:
    answer = await keyed.raw(method, f"{keyed.proxy}/x")
    assert answer.status in (400, 405)
    assert echo.got == []


@pytest.mark.parametrize(
    "query",
    [
        "_method=DELETE",
        "_METHOD=DELETE",
        "method=delete",
        "method[]=delete",
        "%6dethod=delete",
        "+method=DELETE",
        "_HttpMethod=PUT",
        "x-http-method-override=DELETE",
        "X.Http_Method.Override=DELETE",
        "__method=DELETE",
        "$method=DELETE",
        "_method%00=DELETE",
        "HTTP-Verb=DELETE",
        "override-method=DELETE",
        "$httpMethod=DELETE",
        "%24httpHeaders=X-HTTP-Method-Override:DELETE%0D%0ARange:bytes%3D0-60%0D%0A",
        "access_token=canary",
        "access_token%00=canary",
        "ACCESS_TOKEN=canary",
        "access_token[0]=canary",
        "access%5Ftoken=canary",
        "access.token=canary",
        "appsecret_proof=canary",
        "key=canary",
        "Key=canary",
    ],
)
async def test_a_parameter_that_would_change_the_call_is_dropped(
    queried: Connected, echo: EchoService, query: str
) -> None:
    answer = await queried.raw("GET", f"{queried.proxy}/x?a=1&{query}&b=%26c%3D1;d=2")
    assert answer.status == 200
    assert echo.last.target.startswith("/api/x?a=1&b=%26c%3D1%3Bd%3D2&key=")
    assert echo.last.query == [("a", "1"), ("b", "&c=1;d=2"), ("key", KEY)]


async def test_a_parameter_that_is_only_called_so_stays(queried: Connected, echo: EchoService) -> None:
    await queried.get("/x", params={"method": "artist.search", "methods": "GET"})
    assert echo.last.query[:2] == [("method", "artist.search"), ("methods", "GET")]


async def test_a_form_cannot_change_the_method_either(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    form = {"_method": "DELETE", "method": "delete", "access_token": "canary", "a": "1"}
    assert (await connected.call("POST", "/x", data=form)).status_code == 200
    assert echo.last.body == b"a=1"
    refused = await connected.call("GET", "/x", content=b"_method=DELETE")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")


HOSTS = [
    "10.0.0.1",
    "0x0a000001",
    "0x0a.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "[::]",
    "[::ffff:10.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::10.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::10.0.0.1]",
    "[2002:a00:1::]",
    "[2001:0:a00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "10.0.0.1:8443",
]
"""Numbers for what is not public: each is refused with 502 `forbidden_address`."""


@pytest.mark.parametrize("host", HOSTS)
async def test_an_address_that_is_not_public_is_refused(grace: Person, connect: Connect, host: str) -> None:
    connected = await connect(grace, "anywhere", config={"host": host})
    answer = await connected.get("/x")
    assert (answer.status_code, answer.json()["code"]) == (502, "forbidden_address")


NO_HOSTS = {
    "10.1": UNAVAILABLE,
    "167772161": UNAVAILABLE,
    "012.0.0.1": UNAVAILABLE,
    "2852039166": UNAVAILABLE,
    "0": UNAVAILABLE,
    "evil.example?": INVALID,
    "evil.example#": INVALID,
    "user@10.0.0.1": INVALID,
    "a.shops.example@10.0.0.1": INVALID,
    "evil.example:0": INVALID,
    "evil.example:99999": INVALID,
    "evil.example:x": INVALID,
    "evil..example": UNAVAILABLE,
    "[::1": INVALID,
    "a b": UNAVAILABLE,
    "no-such-host.invalid": UNAVAILABLE,
}
"""Numbers in spellings that only some resolvers read, what a URL takes for more than a host, and no hosts at all."""


@pytest.mark.parametrize(("host", "refusal"), NO_HOSTS.items(), ids=NO_HOSTS)
async def test_a_host_that_is_none_is_refused(
    grace: Person, connect: Connect, host: str, refusal: tuple[int, str]
) -> None:
    connected = await connect(grace, "anywhere", config={"host": host})
    answer = await connected.get("/x")
    assert (answer.status_code, answer.json()["code"]) == refusal


@pytest.mark.parametrize(
    "shop",
    [
        "evil.example",
        "a.shops.example.evil.example",
        "evil.example/.shops.example",
        "evil.example#.shops.example",
        "evil.example?.shops.example",
        "evil.example\\.shops.example",
        "a.shops.example\n",
        "user@a.shops.example",
        "A.shops.example",
        "169.254.169.254",
        "",
    ],
)
async def test_a_tenant_that_breaks_out_is_never_connected(keyed: Connected, shop: str) -> None:
    body = {"service_name": "shops", "credentials": {"api_key": KEY}, "config": {"shop": shop}}
    answer = await keyed.http.post("/api/integrations", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")


async def test_a_tenant_that_is_changed_with_curl_is_not_the_one_that_is_called(ada: Person, connect: Connect) -> None:
    """The column is a copy: the sealed tenant is called, and another one beside it does not open."""
    connected = await connect(ada, "anywhere", config={"host": "no-such-host.invalid"})
    async with ada.data_api() as curl:
        changed = await curl.patch(
            f"/integrations?id=eq.{connected.row['id']}", json={"config": {"host": "127.0.0.1:1"}}
        )
        assert changed.is_success
    answer = await connected.get("/x")
    assert (answer.status_code, answer.json()["code"]) == (503, "wrong_tenant")


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/api/contacts/2", "/contacts/2"),
        ("contacts/2", "/contacts/2"),
        ("{url}/api/contacts/2?a=1&access_token=canary", "/contacts/2?a=1"),
        ("?page=2", "/redirect?page=2"),
        ("https://evil.example/x", None),
        ("//evil.example/x", None),
        ("http://169.254.169.254/latest/meta-data/", None),
        ("{url}/me", None),
        ("/me", None),
        ("/apix/y", None),
        ("{url}@evil.example/api/x", None),
        ("http://user@{host}/api/x", None),
        ("https://{host}/api/x", None),
        ("/api/../me", None),
        ("/api/%2e%2e/me", None),
        ("/api/a%2fb", None),
        ("javascript:alert(1)", None),
        ("file:///etc/passwd", None),
        ("\\\\evil.example\\x", None),
        ("/\\evil.example", None),
        ("http://[", None),
        ("", "/redirect"),
    ],
)
async def test_a_redirect_leads_through_the_proxy_or_nowhere(
    keyed: Connected, echo: EchoService, location: str, leads_to: str | None
) -> None:
    to = location.format(url=echo.url, host=echo.url.removeprefix("http://"))
    answer = await keyed.get("/redirect", params={"to": to})
    assert answer.status_code == 302
    assert answer.headers.get("location") == (keyed.proxy + leads_to if leads_to else None)
    assert len(echo.got) == 1


async def test_an_unknown_connection_is_no_service(keyed: Connected, echo: EchoService) -> None:
    unknown = await keyed.http.get(f"/api/integrations/{uuid4()}/proxy/x")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "integration_not_found")
    word = await keyed.http.get("/api/integrations/oauth/proxy/x")
    assert (word.status_code, word.json()["code"]) == (422, "invalid_request")
    assert echo.got == []
