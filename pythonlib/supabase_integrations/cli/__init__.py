"""The `integrations` command."""

from typing import Final

_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback, also while its modules are still being imported."""
    try:
        from .commands import run

        run()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
