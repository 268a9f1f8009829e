"""The shape of the code: which way imports point, and where each third-party library lives."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import integrations_api
import supabase_integrations

ROOT = Path(__file__).parents[2]
PACKAGES = [Path(package.__path__[0]) for package in (supabase_integrations, integrations_api)]

HOMES = {
    "aiohttp": ["supabase_integrations/adapters/http_"],
    "certifi": ["supabase_integrations/adapters/http_streams.py"],
    "cryptography": ["supabase_integrations/core/encryption.py"],
    "dotenv": ["supabase_integrations/cli/environment.py"],
    "fastapi": ["integrations_api/"],
    "fastapi_offline": ["integrations_api/app.py"],
    "httpx": ["supabase_integrations/adapters/", "supabase_integrations/local/"],
    "httpx_aiohttp": ["supabase_integrations/adapters/http_pool.py"],
    "jwt": ["supabase_integrations/adapters/json_web_tokens.py", "supabase_integrations/local/guarantees.py"],
    "orjson": ["supabase_integrations/", "integrations_api/"],
    "postgrest": ["supabase_integrations/adapters/"],
    "psycopg": [
        "supabase_integrations/adapters/audits.py",
        "supabase_integrations/adapters/database_connection.py",
        "supabase_integrations/adapters/explanation_store.py",
        "supabase_integrations/adapters/postgres_errors.py",
        "supabase_integrations/adapters/worker_",
        "supabase_integrations/local/",
    ],
    "pybase64": ["supabase_integrations/core/base64url.py"],
    "pydantic": [
        "integrations_api/requests.py",
        "integrations_api/responses.py",
        "supabase_integrations/core/catalogue.py",
        "supabase_integrations/core/rate_limit_rule.py",
        "supabase_integrations/core/revocation_rule.py",
        "supabase_integrations/core/secret.py",
        "supabase_integrations/core/service.py",
        "supabase_integrations/settings.py",
        "supabase_integrations/settings_worker.py",
    ],
    "redis": ["supabase_integrations/adapters/redis_rate_limits.py"],
    "rich": ["supabase_integrations/cli/"],
    "starlette": ["integrations_api/"],
    "structlog": ["supabase_integrations/adapters/structured_log.py", "supabase_integrations/logs.py"],
    "supabase_auth": ["supabase_integrations/adapters/auth_sessions.py"],
    "typer": ["supabase_integrations/cli/"],
    "uvicorn": ["supabase_integrations/bounded_http.py", "supabase_integrations/cli/serve.py"],
    "yarl": ["supabase_integrations/adapters/http_streams.py"],
    "uvloop": ["supabase_integrations/cli/worker.py"],
}
"""Where a library may be imported; a new one is decided on here."""

NO_OUTSIDE_WORLD = {"asyncio", "os", "socket", "subprocess", "time", "urllib.request", "http.client", "pathlib"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            yield path.relative_to(package.parent).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def strangers(homes: dict[str, list[str]]) -> list[str]:
    """Imports of third-party libraries outside their homes."""
    ours = {package.name for package in PACKAGES} | set(sys.stdlib_module_names)
    return [
        f"{module} imports {library}"
        for module, tree in modules()
        for library in sorted({name.partition(".")[0] for name in imports(tree)} - ours)
        if not module.startswith(tuple(homes.get(library, ())) or "\0")
    ]


def lint_imports(config: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import linter with a pyproject.toml of this text."""
    (folder / "pyproject.toml").write_text(config)
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_point_inwards(tmp_path: Path) -> None:
    result = lint_imports((ROOT / "pyproject.toml").read_text(), tmp_path)
    assert result.returncode == 0, result.stdout


def test_an_import_that_points_outwards_is_noticed(tmp_path: Path) -> None:
    adapters = '    "supabase_integrations.adapters | supabase_integrations.use_cases",\n'
    core = '    "supabase_integrations.core",\n'
    lines = (ROOT / "pyproject.toml").read_text()
    turned = lines.replace(core, "").replace(adapters, core + adapters)
    assert turned != lines
    result = lint_imports(turned, tmp_path)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout


def test_each_library_is_imported_at_home() -> None:
    assert strangers(HOMES) == []


def test_a_library_away_from_home_is_noticed() -> None:
    found = strangers(HOMES | {"uvicorn": ["supabase_integrations/bounded_http.py"]})
    assert found == ["supabase_integrations/cli/serve.py imports uvicorn"]


def test_the_core_does_nothing_but_decide() -> None:
    """Randomness is the one exception, in the encryption."""
    reached = {
        f"{module} imports {name}"
        for module, tree in modules()
        if module.startswith("supabase_integrations/core/")
        for name in imports(tree)
        if name in NO_OUTSIDE_WORLD
    }
    assert reached == {"supabase_integrations/core/encryption.py imports os"}


def test_only_the_settings_read_the_environment() -> None:
    def reads(tree: ast.Module) -> bool:
        return any(isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") for node in ast.walk(tree))

    readers = {module for module, tree in modules() if reads(tree)}
    assert {module for module in readers if not module.startswith("supabase_integrations/local/")} == {
        "supabase_integrations/cli/environment.py"
    }


def test_every_public_function_and_class_is_documented() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    undocumented = [
        f"{module}:{node.lineno} {node.name}"
        for module, tree in modules()
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert undocumented == []


def test_every_module_says_what_it_is() -> None:
    assert [module for module, tree in modules() if not ast.get_docstring(tree)] == []
