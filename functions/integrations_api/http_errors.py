"""Every error as `application/problem+json` (RFC 9457). The one place that knows which HTTP status an error is."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supabase_integrations.core import encryption_errors, errors
from supabase_integrations.logs import StructuredLog

from .request_log import request_id

PROBLEM_JSON: Final = "application/problem+json"

_STATUS: Final[Mapping[type[errors.IntegrationError], int]] = {
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.IntegrationNotFoundError: 404,
    errors.DuplicateIntegrationError: 409,
    errors.IntegrationBusyError: 409,
    errors.SyncBusyError: 409,
    errors.SyncTakenOverError: 409,
    errors.AccountMismatchError: 409,
    errors.NotResumableError: 409,
    errors.NotRefreshableError: 409,
    errors.IntegrationPausedError: 409,
    errors.ReauthorizationRequiredError: 409,
    errors.InvalidValueError: 422,
    encryption_errors.UnsealableValueError: 422,
    errors.UnknownServiceError: 422,
    errors.UnknownResourceError: 422,
    errors.TooManyRecordsError: 422,
    errors.ServiceNotConfiguredError: 422,
    errors.CredentialsRejectedError: 422,
    errors.InvalidStateError: 400,
    errors.InvalidCallbackError: 400,
    errors.InvalidHandleError: 400,
    errors.AuthorizationDeniedError: 400,
    errors.InvalidGrantError: 400,
    errors.QuotaExceededError: 429,
    errors.RateLimitedError: 429,
    errors.ServiceRateLimitedError: 429,
    errors.ServiceError: 502,
    errors.ReplyTooLargeError: 502,
    errors.CallNotAllowedError: 403,
    errors.BodyTooLargeError: 413,
    errors.AuthUnavailableError: 503,
    errors.StoreUnavailableError: 503,
    errors.JournalUnavailableError: 503,
    errors.SchemaMissingError: 503,
    encryption_errors.DecryptionError: 503,
    errors.TokenEndpointError: 502,
    errors.RevocationRefusedError: 502,
    errors.MalformedTokenResponseError: 502,
    errors.AccountUnknownError: 502,
    errors.ProviderUnavailableError: 502,
}
"""An error that is not here has the status of its nearest ancestor that is."""

_FRAMEWORK_CODES: Final = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_media_type",
}

_FRAMEWORK_DETAILS: Final = {
    400: "The request cannot be read: send a JSON object, as application/json.",
    404: "There is nothing at this path. /docs lists what there is.",
    405: "This path does not take that method. /docs lists what it takes.",
    408: "The request body did not come in time.",
    413: "The request body is larger than this server accepts.",
}

_log: Final = StructuredLog("api")


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    fields: Iterable[Mapping[str, str]] | None = None,
    key_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document with this request's id; `key_id` is that of an encryption key that is missing here."""
    body: dict[str, Any] = {
        "type": f"urn:supabase-integrations:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(),
    }
    if fields is not None:
        body["errors"] = list(fields)
    if key_id is not None:
        body["key_id"] = key_id
    all_headers = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, headers=all_headers, media_type=PROBLEM_JSON)


def status_of(error: errors.IntegrationError) -> int:
    """The HTTP status of one of our errors."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def install(app: FastAPI) -> None:
    """Map everything that endpoints raise."""
    app.add_exception_handler(errors.IntegrationError, _integration_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _framework_error)


class UnexpectedErrors:
    """ASGI middleware for mistakes of ours: 500, and a log entry that names where it happened.

    Neither messages nor values are logged, for either may hold a secret; the server's own handler would log both.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noticing_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noticing_send)
        except Exception as error:
            _log.error("request.failed", request_id=request_id(), error=type(error).__name__, at=list(_frames(error)))
            if scope["type"] != "http" or started:
                raise ConnectionAbortedError from None
            detail = "Something went wrong here. The log has an entry under this request_id."
            await problem(500, "internal_error", detail)(scope, receive, send)


async def _integration_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, errors.IntegrationError):
        raise error
    headers: dict[str, str] = {}
    wait: timedelta | None = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(ceil(wait.total_seconds()))
    if isinstance(error, errors.UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    fields = None
    if isinstance(error, errors.InvalidValueError):
        fields = [{"field": error.field, "message": str(error)}]
    key_id = error.key_id if isinstance(error, encryption_errors.UnknownKeyError) else None
    return problem(status_of(error), error.code, str(error), fields=fields, key_id=key_id, headers=headers)


async def _invalid_request(_: Request, error: Exception) -> Response:
    """What pydantic says about each field; never the input, which may be a credential."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [
        {"field": "body" if item["type"] == "json_invalid" else _field(item["loc"]), "message": _message(item)}
        for item in found
    ]
    names = ", ".join(dict.fromkeys(field["field"] for field in fields))
    return problem(422, "invalid_request", f"The request is not valid: {names}.", fields=fields)


async def _framework_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = _FRAMEWORK_CODES.get(status, "http_error")
    headers = dict((error.headers if isinstance(error, HTTPException) else None) or {})
    if status == HTTPStatus.REQUEST_TIMEOUT:
        # What still comes of the request is not waited for (RFC 9110 §15.5.9).
        headers["connection"] = "close"
    detail = _FRAMEWORK_DETAILS.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase)
    return problem(status, code, detail, headers=headers)


def _frames(error: BaseException) -> Iterable[str]:
    traceback = error.__traceback__
    while traceback:
        code = traceback.tb_frame.f_code
        yield f"{code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next


def _field(location: tuple[int | str, ...]) -> str:
    """Where it is, in the caller's words: without `body`, and without the names of our own models."""
    names = [str(part) for part in location if not (isinstance(part, str) and part.endswith("Body"))]
    path = names[1:] if len(names) > 1 and names[0] in ("body", "query", "path", "header") else names
    return ".".join(path)[:200] or "body"


def _message(item: Mapping[str, Any]) -> str:
    if tuple(item["loc"]) == ("body",) and item["type"] in ("dict_type", "model_attributes_type"):
        return "must be a JSON object, sent as application/json"
    return str(item["msg"]).removeprefix("Value error, ")
