"""How this process logs: one JSON object a line, ids and event names only.

Other libraries' lines pass through at WARNING and above. Some of them log whole URLs at INFO, and a callback's URL
holds a code.
"""

import logging
import sys
from typing import Final

import orjson
import structlog

from .adapters.structured_log import StructuredLog

__all__ = ["StructuredLog", "configure_logs"]

_QUIET: Final = ("httpx", "httpcore", "aiohttp", "uvicorn.access", "asyncio", "psycopg")


def configure_logs(*, beside_a_command: bool = False) -> None:
    """Set up structlog and the standard library's logging for this process.

    A command speaks to a person on standard output: beside one, warnings and worse go to standard error.
    """
    stream, level = (sys.stderr, logging.WARNING) if beside_a_command else (sys.stdout, logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(stream.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """A line of another library in our own form: without traceback, whose messages may hold what was being sent."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"logger": record.name, "event": record.getMessage(), "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return orjson.dumps(line).decode()
