"""How this process logs: one JSON object a line on standard output, ids and event names only.

Other libraries' lines pass through at WARNING and above. Some of them log whole URLs at INFO, and a callback's URL
holds a code.
"""

import logging
import sys
from typing import Final

import orjson
import structlog

_QUIET: Final = ("httpx", "httpcore", "aiohttp", "uvicorn.access", "asyncio", "psycopg")


def configure_logs() -> None:
    """Set up structlog and the standard library's logging for this process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """A line of another library in our own form: without traceback, whose messages may hold what was being sent."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"logger": record.name, "event": record.getMessage(), "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return orjson.dumps(line).decode()
