"""What a service sends back to the redirect URI (RFC 6749 §4.1.2), parsed from its query and checked."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .errors import AuthorizationDeniedError, InvalidCallbackError, IssuerMismatchError
from .secret import SecretStr
from .service import ServiceDefinition

MAX_QUERY_LENGTH: Final = 8192
_SINGLE: Final = frozenset({"code", "state", "iss", "error", "hmac"})

KNOWN_ERRORS: Final = frozenset(
    {
        "access_denied",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
"""RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6: whatever else a service answers is `provider_error` to our
callers.
"""


@dataclass(frozen=True, slots=True)
class CallbackQuery:
    """The whole query, in order; its values stay out of the repr, for one of them is the code."""

    parameters: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def parse(cls, parameters: Iterable[tuple[str, str]]) -> "CallbackQuery":
        """Refuse what no service sends: a protocol parameter given twice, control characters, an endless query.

        Raises InvalidCallbackError.
        """
        pairs = tuple(parameters)
        names = [name for name, _ in pairs if name in _SINGLE]
        if len(names) != len(set(names)):
            raise InvalidCallbackError("A parameter of the callback was given twice.")
        if sum(len(name) + len(value) for name, value in pairs) > MAX_QUERY_LENGTH:
            raise InvalidCallbackError(f"The callback's query is longer than {MAX_QUERY_LENGTH} characters.")
        if not all(_is_text(name) and _is_text(value) for name, value in pairs):
            raise InvalidCallbackError("The callback's query holds characters that no service sends.")
        return cls(pairs)

    def get(self, name: str) -> str:
        """The parameter's value; '' where it is absent."""
        return next((value for key, value in self.parameters if key == name), "")

    @property
    def error(self) -> str | None:
        """The service's error as a code of the closed list; None where it reports none."""
        error = self.get("error")
        if not error:
            return None
        return error if error in KNOWN_ERRORS else "provider_error"


def check_callback(
    query: CallbackQuery,
    service: ServiceDefinition,
    *,
    tenant: str,
    client_secret: SecretStr,
    other_issuers: frozenset[str] = frozenset(),
) -> SecretStr:
    """The authorization code, after everything that can be checked about the answer was.

    `other_issuers` are those of the catalogue's other services: an answer that names one of them is not this service's,
    even where this service names no issuer of its own.
    Raises IssuerMismatchError, AuthorizationDeniedError and InvalidCallbackError.
    """
    _check_issuer(query, service, other_issuers)
    if service.callback_hmac and not _hmac_holds(query, client_secret):
        raise InvalidCallbackError("The callback's signature is not the service's.")
    if query.error:
        raise AuthorizationDeniedError(query.error)
    if service.tenant_param and tenant and query.get(service.tenant_param) not in ("", tenant):
        raise InvalidCallbackError(
            f"The callback is for another {service.tenant_param} than the one that was asked for."
        )
    if service.callback_hmac and not query.get(service.tenant_param):
        raise InvalidCallbackError(f"The callback does not name its {service.tenant_param}.")
    code = query.get("code")
    if not code:
        raise InvalidCallbackError("The callback has neither a code nor an error.")
    return SecretStr(code)


def _check_issuer(query: CallbackQuery, service: ServiceDefinition, other_issuers: frozenset[str]) -> None:
    """RFC 9207 §2.4. An error may come without `iss`: it ends the flow either way, and nothing is exchanged."""
    issuer = query.get("iss")
    if not issuer:
        if service.issuer and service.issuer_in_callback == "required" and not query.error:
            raise IssuerMismatchError
        return
    is_foreign = issuer != service.issuer if service.issuer else issuer in other_issuers
    if is_foreign:
        raise IssuerMismatchError


def sign_query(parameters: Mapping[str, str], client_secret: SecretStr) -> str:
    """Hex HMAC-SHA256 over the sorted parameters other than `hmac`, joined as k=v with &.

    Source: https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant
    """
    message = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()) if name != "hmac")
    return hmac.new(client_secret.get_secret_value().encode(), message.encode(), hashlib.sha256).hexdigest()


def _hmac_holds(query: CallbackQuery, client_secret: SecretStr) -> bool:
    parameters = dict(query.parameters)
    if not client_secret.get_secret_value() or len(parameters) != len(query.parameters):
        return False
    return hmac.compare_digest(sign_query(parameters, client_secret).encode(), query.get("hmac").encode())


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return all(character.isprintable() for character in value)
