"""Finding out which account at a service a set of credentials belongs to."""

from collections.abc import Mapping
from dataclasses import replace

from ..core.account import MAX_ACCOUNT_ID_LENGTH, Account, account_in, account_in_id_token, account_in_reply
from ..core.credentials import OAuthCredentials
from ..core.errors import AccountUnknownError, CredentialsRejectedError, ProviderUnavailableError
from ..core.http_messages import HttpRequest, retry_after
from ..core.oauth_messages import OAuthClient, account_request, introspection_request
from ..core.service import AccountRule, ServiceDefinition
from ..core.service_kinds import AccountSource
from ..port import Clock, ProviderHttp


class Accounts:
    """Asks a service, in the way its catalogue entry names, whose token it issued."""

    def __init__(self, http: ProviderHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    async def identify(
        self,
        service: ServiceDefinition,
        client: OAuthClient,
        credentials: OAuthCredentials,
        *,
        tenant: str,
        reply_fields: Mapping[str, object],
    ) -> Account:
        """The account; `reply_fields` is the token endpoint's whole reply. One without id where nothing tells it.

        The tenant is part of an account's id: two tenants may both have an account number 1.
        Raises AccountUnknownError, CredentialsRejectedError, ProviderUnavailableError, RateLimitedError.
        """
        rule = service.account_id_from
        if rule is None or rule.source is AccountSource.TENANT:
            return Account(tenant, tenant or None)
        account = await self._account(rule, service, client, credentials, tenant=tenant, reply_fields=reply_fields)
        qualified = replace(account, id=f"{tenant}:{account.id}") if tenant else account
        if len(qualified.id) > MAX_ACCOUNT_ID_LENGTH:
            raise AccountUnknownError
        return qualified

    async def _account(
        self,
        rule: AccountRule,
        service: ServiceDefinition,
        client: OAuthClient,
        credentials: OAuthCredentials,
        *,
        tenant: str,
        reply_fields: Mapping[str, object],
    ) -> Account:
        match rule.source:
            case AccountSource.TOKEN_REPLY:
                return account_in(reply_fields, rule)
            case AccountSource.ID_TOKEN:
                return account_in_id_token(reply_fields.get("id_token"), service, client.client_id, rule)
            case AccountSource.INTROSPECTION:
                token = credentials.access_token
                request = introspection_request(service, client, access_token=token, tenant=tenant)
                return await self._ask(request, rule)
            case AccountSource.REQUEST:
                token = credentials.access_token
                request = account_request(service, client, access_token=token, request=rule.request, tenant=tenant)
                return await self._ask(request, rule)
        raise AccountUnknownError

    async def _ask(self, request: HttpRequest, rule: AccountRule) -> Account:
        reply = await self._http.send(request)
        if reply.status in (401, 403):
            raise CredentialsRejectedError
        if reply.status == 429 or reply.status >= 500:
            raise ProviderUnavailableError(retry_after=retry_after(reply.headers, self._clock.now()))
        return account_in_reply(reply, rule)
