"""The application: routes, middleware, and the system opened for as long as it runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from supabase_integrations.configuration import Configuration
from supabase_integrations.core.proxy_messages import UPSTREAM_STATUS
from supabase_integrations.core.proxy_rule import METHODS
from supabase_integrations.integrations import open_integrations

from . import health, http_errors, integrations, oauth, proxy, services
from .body_limit import BodyLimit
from .dependencies import patience
from .request_log import RequestLog
from .responses import Problem

_PROXIED_HEADERS: Final = ("idempotency-key", "if-match", "if-none-match", "if-modified-since", "prefer")
_ANSWERED_HEADERS: Final = ("link", "etag", "last-modified", "content-disposition")
"""What frontends commonly need of calls of services, beside what every origin may send and read."""
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "content": {http_errors.PROBLEM_JSON: {}}}
    for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503)
}


def create_app(configuration: Configuration) -> FastAPI:
    """The API for what an operator decided."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_integrations(configuration) as system:
            app.state.integrations, app.state.waits = system, patience()
            yield

    # Its documentation page brings its scripts along: a CDN's would run on the origin that has the binding cookies.
    app = FastAPIOffline(
        redoc_url=None,
        title="Supabase Integrations",
        summary="Connect your users' accounts at third-party services.",
        lifespan=lifespan,
        # The framework's redirect to the path without its slash would go to whatever host the request named.
        redirect_slashes=False,
        telemetry={"logs": False, "metrics": False, "operation_spans": False},
    )
    # First, for its calls are the many: each route that does not match takes a few microseconds.
    app.include_router(proxy.router, responses=_PROBLEMS)
    app.include_router(health.router)
    app.include_router(services.router, responses=_PROBLEMS)
    app.include_router(oauth.router, responses=_PROBLEMS)
    app.include_router(integrations.router, responses=_PROBLEMS)
    http_errors.install(app)
    app.add_middleware(BodyLimit, max_proxied_bytes=configuration.settings.proxy_max_request_bytes)
    # Inside CORS, or a browser could not read what went wrong.
    app.add_middleware(http_errors.UnexpectedErrors)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(configuration.settings.allowed_origins),
        allow_credentials=True,
        allow_methods=METHODS,
        allow_headers=["authorization", "content-type", "x-request-id", *_PROXIED_HEADERS],
        expose_headers=["x-request-id", "retry-after", "location", UPSTREAM_STATUS, *_ANSWERED_HEADERS],
    )
    app.add_middleware(RequestLog)
    return app
