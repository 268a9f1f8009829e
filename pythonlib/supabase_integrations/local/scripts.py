"""The SQL files of the local system."""

from pathlib import Path
from typing import Literal

Script = Literal["hosted", "hosted_auth", "lite_before", "lite_after", "catalog"]

_FOLDER = Path(__file__).with_name("sql")


def read_script(name: Script) -> bytes:
    """A script's statements, to be executed as they are."""
    return (_FOLDER / f"{name}.sql").read_bytes()
