"""The one user whose account shows whether a local system kept its data."""

import httpx

from tests.local_system import LocalSystem

_CREDENTIALS = {"email": "keeper@example.com", "password": "canary-password-of-the-keeper"}


def sign_up(system: LocalSystem) -> httpx.Response:
    """Make the account."""
    return _post(system, "signup")


def sign_in(system: LocalSystem) -> httpx.Response:
    """Use the account: 200 where it is known."""
    return _post(system, "token?grant_type=password")


def _post(system: LocalSystem, path: str) -> httpx.Response:
    url = f"{system.supabase_url}/auth/v1/{path}"
    return httpx.post(url, json=_CREDENTIALS, headers={"apikey": system.publishable_key}, trust_env=False, timeout=60)
