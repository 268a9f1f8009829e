"""Ctrl-C in the first moments of the `integrations` command."""

import subprocess
import sys

import pytest

START = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["integrations", "generate-key"]
from supabase_integrations.cli import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "pydantic", "supabase_integrations.cli.sync"])
def test_ctrl_c_while_it_is_being_imported_ends_it_without_a_traceback(module: str) -> None:
    command = [sys.executable, "-c", START.format(module=module)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
