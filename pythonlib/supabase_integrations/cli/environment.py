"""The environment a command sees: the process's own, over that of a .env file where there is one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from dotenv import dotenv_values

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="A file of NAME=value lines; what is set in the environment wins. (default: .env)"),
]


def read_environment(env_file: Path | None) -> Mapping[str, str]:
    """Settings by name. Without a file named, `.env` is read where it exists."""
    if env_file is not None and not env_file.is_file():
        raise typer.BadParameter(f"{env_file} does not exist.", param_hint="--env-file")
    values = dotenv_values(env_file or Path(".env"), interpolate=False)
    return {**{name: value for name, value in values.items() if value is not None}, **os.environ}
