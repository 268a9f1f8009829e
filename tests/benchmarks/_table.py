"""Prints what a benchmark measured.

Ratios are taken within one run: figures of two machines or two days are not compared.
"""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

from rich import box
from rich.console import Console
from rich.table import Table


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, packages: Sequence[str] = ()
) -> None:
    """One table: names to the left, figures to the right, and below what they were measured with."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    table = Table(
        title=title,
        caption=", ".join(filter(None, [interpreter, f"{os.cpu_count()} CPUs", versions])),
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 120).print(table)


def ratio(measured: float, baseline: float) -> str:
    """How many times the baseline a measurement is."""
    return f"{measured / baseline:.2f}"
