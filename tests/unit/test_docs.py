"""The documentation and the code say the same: codes, settings, catalogue keys, endpoints, commands and links."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from integrations_api import create_app
from supabase_integrations.cli.commands import app as command_line
from supabase_integrations.configuration import Configuration
from supabase_integrations.core.callback import KNOWN_ERRORS, CallbackQuery
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.rate_limit_rule import RateLimitRule
from supabase_integrations.core.revocation_rule import RevocationRule
from supabase_integrations.core.service import AccountRule, ServiceDefinition
from supabase_integrations.core.token_refusal import TokenRefusal
from supabase_integrations.local.state import Description
from supabase_integrations.local.welcome import finishing_requests, first_request
from supabase_integrations.resources import catalogue_file
from supabase_integrations.settings import Settings
from supabase_integrations.settings_worker import WorkerSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LIBRARY = ROOT / "pythonlib" / "supabase_integrations"
FUNCTIONS = ROOT / "functions" / "integrations_api"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "sql").glob("*.md")])

REFUSING_CALLS = {"RefusedError": 0, "UnauthenticatedError": 0, "ForbiddenError": 0, "problem": 1}
"""Calls that name a code, and at which position."""


def modules_behind_the_api() -> Iterator[ast.Module]:
    """Every module an answer of the API can come from: not the command line, not the local system."""
    for folder in (LIBRARY / "core", LIBRARY / "adapters", LIBRARY / "use_cases", FUNCTIONS):
        yield from (ast.parse(path.read_text()) for path in sorted(folder.glob("*.py")))


def constant(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Codes as they are written: `code = "…"` of a class, an argument of a refusal, or a value of a table of codes."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        match node:
            case ast.Assign(targets=[ast.Name(id="code")], value=value):
                found = [value]
            case ast.AnnAssign(target=ast.Name(id="code"), value=value):
                found = [value]
            case ast.AnnAssign(target=ast.Name(id="_FRAMEWORK_CODES"), value=ast.Dict(values=values)):
                found = list(values)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_FRAMEWORK_CODES"), attr="get"), args=[_, default]):
                found = [default]
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in REFUSING_CALLS:
                found = list(arguments[REFUSING_CALLS[name] : REFUSING_CALLS[name] + 1])
        yield from (code for code in map(constant, found) if code)


def codes_of_the_api() -> set[str]:
    written = {code for tree in modules_behind_the_api() for code in codes_in(tree)}
    unknown_error = CallbackQuery.parse([("error", "anything else")]).error
    assert unknown_error
    return written | {refusal.value for refusal in TokenRefusal} | KNOWN_ERRORS | {unknown_error}


def section(page: Path, heading: str) -> str:
    """A page's text from a heading to the next one of its level or above."""
    text = page.read_text()
    level = heading.partition(" ")[0]
    after = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", after, maxsplit=1)[0]


def first_cells(text: str) -> set[str]:
    """What the first column of a text's tables names in backticks."""
    rows = re.findall(r"^\|([^|\n]*)\|", text, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def anchors(page: Path) -> set[str]:
    """The anchors that headings get: small letters, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings_names() -> set[str]:
    names: set[str] = set()
    for field in (*Settings.model_fields.values(), *WorkerSettings.model_fields.values()):
        aliases = getattr(field.validation_alias, "choices", [field.alias])
        names.update(alias for alias in aliases if isinstance(alias, str))
    tree = ast.parse((LIBRARY / "local" / "settings.py").read_text())
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    names.update(str(value) for value in constants if re.fullmatch(r"[A-Z][A-Z_]+", str(value)))
    return names


def client_settings() -> set[str]:
    text = catalogue_file().read_text()
    services = Catalogue.from_files({"services.toml": text}, lambda _: None, development=False)
    return {name for service in services for name in (service.client_id_name, service.client_secret_name)}


def commands() -> set[str]:
    """The commands as they are typed, those of a group with the group's name before them."""
    names: set[str] = set()
    for name, command in getattr(typer.main.get_command(command_line), "commands", {}).items():
        names.update(f"{name} {only}".strip() for only in getattr(command, "commands", [""]))
    return names


def test_every_error_code_is_explained_and_no_other() -> None:
    """A code in the code and not on the page leaves a reader alone; one on the page only is not true any more."""
    explained = first_cells(section(DOCS / "troubleshooting.md", "## Error codes"))
    assert explained == codes_of_the_api()


def test_the_collected_codes_include_one_of_every_origin() -> None:
    """The comparison above is worth something only while the collection finds codes wherever they are written."""
    found = codes_of_the_api()
    assert found >= {"provider_unavailable", "decryption_failed", "forbidden_address", "row_level_security"}
    assert found >= {"token_expired", "access_denied", "provider_error", "invalid_request", "not_found", "http_error"}
    assert "broken_guarantee" not in found


def test_the_readme_lists_every_setting() -> None:
    listed = first_cells(section(ROOT / "README.md", "## Settings"))
    aliases = set(re.findall(r"also read from `(\w+)`", (ROOT / "README.md").read_text()))
    assert settings_names() | client_settings() <= listed | aliases


def test_the_example_environment_has_every_setting() -> None:
    text = (ROOT / ".env.example").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert set(given.values()) == {""}
    missing = (settings_names() | client_settings()) - set(given)
    assert missing == {"RESET", "SUPABASE_ANON_KEY", "NEXT_PUBLIC_APP_URL"}


def test_every_catalogue_key_is_explained_and_no_other() -> None:
    page = DOCS / "adding-a-service.md"
    assert first_cells(section(page, "## Keys")) == set(ServiceDefinition.model_fields)
    assert first_cells(section(page, "## `account_id_from`")) == set(AccountRule.model_fields)
    assert first_cells(section(page, "## `rate_limit`")) == set(RateLimitRule.model_fields)
    assert first_cells(section(page, "## `revocation`")) == set(RevocationRule.model_fields)


def test_every_endpoint_is_explained_and_no_other() -> None:
    configuration = Configuration.from_environment(
        {
            "SUPABASE_URL": "https://project.example",
            "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_canary",
            "ENCRYPTION_KEY": "ab" * 32,
            "APP_URL": "https://api.example",
        }
    )
    paths = create_app(configuration).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert first_cells(section(DOCS / "http-api.md", "## Endpoints")) == served


def test_the_readme_names_every_service_command() -> None:
    """`generate-key`, `migrate` and the others; `dev` has `make dev`, and a page of its own."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    named = {command for command in commands() if f"integrations {command}" in readme}
    assert commands() - named == {"dev"}


def test_the_readme_shows_the_requests_that_make_dev_prints() -> None:
    description = Description(
        api_url="http://127.0.0.1:8000",
        supabase_url="http://127.0.0.1:54321",
        publishable_key="sb_publishable_…",
        database_url="",
        jwt_secret="",
        worker_database_url="",
        demo_url="",
        pids={},
        state_dir="",
        log_dir="",
    )
    readme = (ROOT / "README.md").read_text()
    assert first_request(description) in readme
    assert finishing_requests(description) in readme


def test_the_readme_example_is_a_service_that_can_be_connected() -> None:
    example = re.search(r"```toml\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example
    services = Catalogue.from_files({"example.toml": example[1]}, lambda _: None, development=False)
    assert [service.client_id_name for service in services] == ["GITHUB_CLIENT_ID"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_a_secret_of_the_documentation_is_none() -> None:
    """Keys on the pages are shortened or canaries, so that nobody copies one into a server."""
    text = "".join(page.read_text() for page in PAGES)
    assert re.findall(r"\b[0-9a-f]{64}\b", text) == []
    assert re.findall(r"sb_(?:publishable|secret)_[A-Za-z0-9]{8,}", text) == []
