"""`/api/integrations/oauth`: start an authorization and finish it, from the app or from the browser's redirect."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response

from supabase_integrations.core.browser_binding import cookie_name, open_handle, seal_cookie
from supabase_integrations.core.callback import CallbackQuery
from supabase_integrations.core.errors import InvalidCallbackError, InvalidStateError
from supabase_integrations.core.state import STATE_LIFETIME
from supabase_integrations.use_cases.oauth_manager import Initiation

from .callback_answer import answer, refusal
from .dependencies import PatientUser, System, User
from .integrations import view
from .raw_cookies import cookie_value
from .request_log import current
from .requests import FinishBody, InitiateBody
from .responses import FinishedView, InitiatedView

router: Final = APIRouter(prefix="/api/integrations/oauth", tags=["oauth"])


@router.post("/initiate")
async def initiate(user: User, system: System, body: InitiateBody, response: Response) -> InitiatedView:
    """Where to send the browser. With the cookie this sets, the callback finishes by itself."""
    started = await user.initiate_auth(
        Initiation(
            service_name=body.service_name,
            additional_params=body.additional_params,
            redirect_to=body.redirect_to,
            config=body.config,
            scopes=tuple(body.scopes) if body.scopes is not None else None,
            integration_id=body.integration_id,
        )
    )
    sealed = seal_cookie(system.encryption, user.caller.access_token, started.state_hash)
    if sealed:
        response.set_cookie(
            cookie_name(started.state_hash),
            sealed,
            max_age=int(STATE_LIFETIME.total_seconds()),
            path="/",
            secure=True,
            httponly=True,
            samesite="lax",
        )
    response.headers["cache-control"] = "no-store"
    return InitiatedView(
        auth_url=started.auth_url, expires_at=started.expires_at, binding="cookie" if sealed else "handle"
    )


@router.get("/callback", response_class=Response)
async def browser_callback(request: Request, system: System) -> Response:
    """Where a service sends the browser back to.

    Ends at the `redirect_to` of the initiation with `#integration_id`, `#integration_handle` or `#integration_error`,
    or without one on a small page (or JSON, where that is accepted).
    """
    accepts_json = "application/json" in request.headers.get("accept", "")
    try:
        end = await system.browser_callback.finish(
            tuple(request.query_params.multi_items()), lambda name: cookie_value(request.headers.raw, name)
        )
    except (InvalidCallbackError, InvalidStateError) as error:
        return refusal(error, accepts_json=accepts_json)
    current().user_id = end.user_id
    return answer(end, system.settings.allowed_origins, accepts_json=accepts_json)


@router.post("/callback")
async def app_callback(user: PatientUser, system: System, body: FinishBody) -> FinishedView:
    """Finish an authorization from the app, as the user who started it."""
    if body.handle is not None:
        query = open_handle(system.encryption, body.handle, datetime.now(UTC))
    else:
        query = CallbackQuery.parse((body.params or {}).items())
    row = await user.handle_callback(query)
    return FinishedView(integration_id=row.id, integration=view(row))
