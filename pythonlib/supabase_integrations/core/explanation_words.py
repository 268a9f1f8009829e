"""The words of an explanation: what each recorded code means, and who has to do what. For the service's operator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .models import IntegrationStatus


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a connection is as it is, and what to do about it: whole sentences."""

    why: str
    next_step: str


_RECONNECT: Final = (
    "The user connects again: POST /api/integrations/oauth/initiate with this integration_id renews this very row."
)
_WAIT: Final = "Nothing: it is tried again by itself. If it lasts, look at the service's status page and at the log."

REASONS: Final[Mapping[str, Reason]] = {
    "invalid_grant": Reason(
        "The service refused the refresh token: the user took the access back, changed the password or left it unused"
        " for too long, or the token was used by somebody else.",
        _RECONNECT,
    ),
    "reauthorization_required": Reason(
        "The token has ended and there is nothing to renew it with: the service gave no refresh token, or that has"
        " ended too.",
        _RECONNECT,
    ),
    "invalid_client": Reason(
        "The service did not accept this server's client id or secret.",
        "Copy client id and secret from the service's dashboard again and restart. It is tried again by itself within"
        " ten minutes; the user has nothing to do.",
    ),
    "token_endpoint_error": Reason(
        "The service's token endpoint refused the request for another reason than the token; the log names its error.",
        "Compare the service's entry in the catalogue with its documentation, and the app's permissions there.",
    ),
    "malformed_token_response": Reason(
        "The service's token endpoint answered with something that is no token. The credentials are kept.",
        "If it lasts, compare `token_endpoint` and `token_request_format` of the catalogue with the service's"
        " documentation.",
    ),
    "provider_unavailable": Reason("The service did not answer, or answered 429 or with an error of its own.", _WAIT),
    "forbidden_address": Reason(
        "The service's host name leads to an address that is not public, so nothing was sent.",
        "Correct the endpoint in the catalogue, or have the user connect again with the right tenant.",
    ),
    "revocation_failed": Reason(
        "The service could not be told to end the tokens, or refused.",
        "Revoke again, or end the access on the service's own page; the tokens may still work there.",
    ),
    "revocation_unsupported": Reason(
        "The credentials were removed here; the service has no way to be told.",
        "To end them there, remove the app or the key on the service's own page.",
    ),
    "revocation_skipped_shared_grant": Reason(
        "The credentials were removed here, and the service was not told: another connection of this user to the same"
        " account would have stopped with it.",
        "Nothing. The last of these connections to be revoked ends the access there.",
    ),
}
"""By what stands in `last_error_code`."""

BY_STATUS: Final[Mapping[IntegrationStatus, Reason]] = {
    IntegrationStatus.ACTIVE: Reason("It works, as far as is known here.", "Nothing."),
    IntegrationStatus.INACTIVE: Reason(
        "The user has paused it; it is not renewed meanwhile.",
        "The user sets its status to active. If the token has ended for good by then, they connect again.",
    ),
    IntegrationStatus.NEEDS_REAUTHORIZATION: Reason("The service no longer accepts it.", _RECONNECT),
    IntegrationStatus.ERROR: Reason(
        "Something that the operator has to mend stands in its way.", "Look at the log and at `integrations doctor`."
    ),
    IntegrationStatus.REVOKED: Reason(
        "It was ended at the service, and its credentials were removed.",
        f"Nothing, unless it is wanted again. {_RECONNECT}",
    ),
}
"""Where no code says more."""


def reason_for(status: IntegrationStatus | None, code: str | None) -> Reason:
    """Why, and what to do. A code that is not one of ours was written by the user's own client."""
    if status is IntegrationStatus.INACTIVE or code is None:
        return BY_STATUS[status] if status else Reason("Nothing is known of it.", "Nothing.")
    known = REASONS.get(code)
    if known:
        return known
    why = f"The code {code} was recorded, which is none of this service's: an app of yours may have written it."
    return Reason(why, BY_STATUS[status].next_step if status else "Ask whoever wrote it.")


_ROLES: Final = {
    "integrations_worker": "the worker",
    "supabase_auth_admin": "Supabase Auth",
    "service_role": "a holder of the project's secret key (service_role)",
}


def who(role: str | None, is_owner: bool) -> str:
    """Who acted, by the role that did and whether the owner's token was used."""
    if role == "authenticated":
        return "the user" if is_owner else "another user's token"
    return _ROLES.get(role or "", f"an operator (role {role or 'unknown'})")


def what(event: str, role: str | None, columns: tuple[str, ...]) -> str:
    """What somebody did, as the rest of a sentence that names them first."""
    names = ", ".join(columns)
    is_worker = role == "integrations_worker"
    match event:
        case "integration.created":
            said = "connected it"
        case "integration.deleted":
            said = "deleted the user, and it with them" if role == "supabase_auth_admin" else "deleted it"
        case "credentials.replaced" if is_worker and columns == ("credentials",):
            said = "sealed its credentials anew (a key rotation, or a renewal that changed nothing else)"
        case "credentials.replaced":
            said = "renewed its credentials" if is_worker else f"replaced or renewed its credentials ({names})"
        case "credentials.discarded":
            said = "removed its credentials"
        case "status.changed":
            said = f"changed its status ({names})"
        case _:
            said = f"changed {names}" if names else event
    return said
