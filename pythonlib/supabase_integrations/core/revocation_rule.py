"""How one service is asked to end a token, as data. Every default is RFC 7009's."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .service_kinds import TokenEndpointAuth

_AUTH: Final = (
    r"^(client|client_secret_post|client_secret_basic|client_secret_header:[A-Za-z0-9_.-]+(=[A-Za-z0-9_-]+)?"
    r"|access_token|none)$"
)


class RevocationRule(BaseModel):
    """The catalogue's `revocation`: a form POST of the refresh token with the client's authentication, unless it says
    otherwise.

    `auth` `client` is the token endpoint's; `access_token` sends the user's token as the service's API takes it.
    `params` may contain `{client_id}`, `{client_secret}` and `{account_id}`. `ends` `grant`: the service ends every
    token that this client has for the account, those of other connections too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    method: Literal["POST", "DELETE"] = "POST"
    auth: Annotated[str, StringConstraints(pattern=_AUTH)] = "client"
    format: Literal["form", "json", "query", "none"] = "form"
    token: Literal["refresh_token", "access_token"] = "refresh_token"
    token_field: str = "token"
    token_type_hint: bool = True
    params: dict[str, str] = Field(default_factory=dict)
    success: dict[str, Any] = Field(default_factory=dict)
    unknown_token_errors: frozenset[str] = frozenset()
    ends: Literal["token", "grant"] = "token"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.format == "none" and self.params:
            raise ValueError("params have no place in format = none")
        if self.format == "query" and any("{client_secret}" in value for value in self.params.values()):
            raise ValueError("params must not put the client secret into a URL")
        if self.auth != "access_token" and not self.sends_token and not self.names_account:
            raise ValueError("the token is sent nowhere: name a token_field, or auth = access_token")
        return self

    @property
    def sends_token(self) -> bool:
        """Whether the token is one of the request's fields."""
        return bool(self.token_field) and self.format != "none"

    @property
    def names_account(self) -> bool:
        """Whether the request says which account it is about."""
        return any("{account_id}" in value for value in self.params.values())

    @property
    def needs_access_token(self) -> bool:
        """Whether the request is made of an access token that still holds."""
        return self.auth == "access_token" or self.token == "access_token"

    def client_auth(self, at_token_endpoint: TokenEndpointAuth) -> TokenEndpointAuth:
        """How this server proves itself here, in one of the token endpoint's ways; none where it does not, or has a
        header of its own for it.
        """
        if self.auth == "client":
            return at_token_endpoint
        named = self.auth in (TokenEndpointAuth.POST, TokenEndpointAuth.BASIC)
        return TokenEndpointAuth(self.auth) if named else TokenEndpointAuth.NONE

    def check_place_of_secret(self, at_token_endpoint: TokenEndpointAuth) -> None:
        """Raise ValueError where the client secret would go into a URL, or nowhere."""
        in_body = self.client_auth(at_token_endpoint) is TokenEndpointAuth.POST
        if in_body and self.format not in ("form", "json"):
            raise ValueError(f"auth = {self.auth} sends the client secret in a body: format is form or json with it")
