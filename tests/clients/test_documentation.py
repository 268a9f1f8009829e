"""The client on the page about adding one, as it stands there."""

import re
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from supabase_integrations import clients
from supabase_integrations.core.errors import InvalidValueError, ServiceError, ServiceRateLimitedError
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import Office, numbered, open_office

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CODE = re.findall(r"```python\n(.+?)```", (DOCS / "adding-a-client.md").read_text(), re.DOTALL)
TOML = re.findall(r"```toml\n(.+?)```", (DOCS / "adding-a-service.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def documented() -> Iterator[Any]:
    """The page's module."""
    module = ModuleType("documented_client")
    sys.modules[module.__name__] = module
    exec(compile(CODE[0], "docs/adding-a-client.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
async def office(fake: FakeService, tmp_path: Path) -> AsyncIterator[Office]:
    """Connections to the service that the other page adds, at the fake's address."""
    table = f'[service.github]\nbased_on = "github"\napi_base_url = "{fake.url}"\n'
    settings = {"GITHUB_CLIENT_ID": "canary-id", "GITHUB_CLIENT_SECRET": "canary-secret"}
    async with open_office(fake, tmp_path / "state", TOML[0], table, **settings) as opened:
        yield opened


def repositories(count: int) -> Any:
    """GitHub's list of so many repositories, with its links."""

    def behaviour(asked: Asked) -> Answer:
        page, size = int(asked.query["page"]), int(asked.query["per_page"])
        found = list(numbered(count))[(page - 1) * size : page * size]
        last = -(-count // size)
        base = "https://api.github.com/user/repos?per_page=100&page="
        link = f'<{base}{page + 1}>; rel="next", <{base}{last}>; rel="last"'
        before = f'<{base}{page - 1}>; rel="prev", <{base}1>; rel="first"'
        return answer(found, link=link if page < last else before)

    return behaviour


async def test_it_reads_every_page(office: Office, fake: FakeService, documented: Any) -> None:
    fake.behaviour = repositories(250)
    async with office.client("github") as api:
        found = [record["id"] async for record in documented.GitHub(api).repositories()]
        issues = documented.GitHub(api).issues("acme/website")
        await anext(issues.pages())
    assert found == [str(number) for number in range(1, 251)]
    assert [asked.query["page"] for asked in fake.asked] == ["1", "2", "3", "1"]
    assert fake.asked[-1].path == "/repos/acme/website/issues"


async def test_its_refusals_are_known(office: Office, fake: FakeService, documented: Any) -> None:
    reset = int(datetime.now(UTC).timestamp()) + 2
    fake.first = [answer({"message": "rate limit"}, 403, x_ratelimit_remaining="0", x_ratelimit_reset=str(reset))]
    fake.behaviour = repositories(1)
    async with office.client("github") as api:
        assert [record["id"] async for record in documented.GitHub(api).repositories()] == ["1"]
        fake.behaviour = lambda _: answer({"message": "Resource not accessible"}, 403)
        with pytest.raises(ServiceError):
            await anext(documented.GitHub(api).repositories().pages())
    assert datetime.now(UTC).timestamp() >= reset
    assert len(fake.asked) == 3


@pytest.mark.parametrize("reset", [None, "", "soon", "-1", "0", "nan", "1e400", "9" * 20, "9" * 5000])
async def test_a_reset_that_nobody_can_mean_is_a_refusal_like_others(
    office: Office, fake: FakeService, documented: Any, reset: str | None
) -> None:
    headers = {"x_ratelimit_remaining": "0"} | ({"x_ratelimit_reset": reset} if reset is not None else {})
    fake.behaviour = lambda _: answer({"message": "rate limit"}, 403, **headers)
    office.limiter.set_config("github", queue_enabled=False)
    async with office.client("github") as api:
        with pytest.raises(ServiceRateLimitedError):
            await anext(documented.GitHub(api).repositories().pages())


async def test_it_takes_one_service(office: Office, documented: Any) -> None:
    async with office.client("hubspot") as api:
        with pytest.raises(InvalidValueError):
            documented.GitHub(api)


def test_the_other_examples_are_python() -> None:
    for page in ("adding-a-client.md", "clients.md"):
        for code in re.findall(r"```python\n(.+?)```", (DOCS / page).read_text(), re.DOTALL):
            compile(f"async def example():\n{re.sub('^', '    ', code, flags=re.MULTILINE)}", page, "exec")


def test_every_call_of_every_client_is_documented() -> None:
    page = (DOCS / "clients.md").read_text()
    names = set(clients.__all__) - {"Listing", "Page"}
    assert names >= {"GoogleAds", "HubSpot", "MetaAds", "Shopify"}
    for name in names:
        calls = [call for call in vars(getattr(clients, name)) if not call.startswith("_")]
        assert calls
        assert [call for call in calls if f"{call}(" not in page] == []


def test_each_client_is_short() -> None:
    """A client that grows is one that does what `IntegrationClient` should."""
    folder = Path(clients.__file__).parent
    lengths = {path.name: len(path.read_text().splitlines()) for path in folder.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length >= 150} == {}
