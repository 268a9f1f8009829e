"""Setting up a clone."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "bootstrap.py"


def test_a_second_setup_of_a_clone_says_that_it_waits_for_the_first(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "bootstrap.py"
    script.parent.mkdir()
    shutil.copy(SCRIPT, script)
    with (tmp_path / ".bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            said = second.stdout.readline()
            second.kill()
    assert said == "==> Waiting for another setup of this clone\n"
    assert not (tmp_path / ".venv").exists()
