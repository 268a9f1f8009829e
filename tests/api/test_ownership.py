"""Two real users and one without an account: nobody reaches what is another's, or can even tell that it exists."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import DecryptionError
from supabase_integrations.core.keyring import Keyring
from tests import canaries
from tests.people import Person

UNKNOWN = "00000000-0000-4000-8000-000000000000"
Attempt = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]

ATTEMPTS: dict[str, Attempt] = {
    "read": lambda http, row: http.get(f"/api/integrations/{row}"),
    "read the events": lambda http, row: http.get(f"/api/integrations/{row}/events"),
    "pause": lambda http, row: http.patch(f"/api/integrations/{row}", json={"status": "inactive"}),
    "reconfigure": lambda http, row: http.patch(f"/api/integrations/{row}", json={"config": {"a": 1}}),
    "touch": lambda http, row: http.patch(f"/api/integrations/{row}", json={"last_sync_at": "2026-01-01T00:00:00Z"}),
    "replace the credentials": lambda http, row: http.patch(
        f"/api/integrations/{row}", json={"credentials": {"api_key": "canary-of-mallory"}}
    ),
    "refresh the token": lambda http, row: http.post(f"/api/integrations/{row}/refresh-token"),
    "revoke": lambda http, row: http.post(f"/api/integrations/{row}/revoke"),
    "delete": lambda http, row: http.delete(f"/api/integrations/{row}"),
    "reconnect": lambda http, row: http.post(
        "/api/integrations/oauth/initiate", json={"service_name": "scripted", "integration_id": row}
    ),
}


def problem(reply: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in reply.json().items() if name != "request_id"}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
async def test_another_users_id_is_the_same_404_as_an_unknown_one(
    ada: Person, mallory: Person, attempt: Attempt
) -> None:
    row = await ada.connect_with_key()
    foreign, unknown = await attempt(mallory.http, row["id"]), await attempt(mallory.http, UNKNOWN)
    assert foreign.status_code == unknown.status_code == 404
    assert problem(foreign) == problem(unknown)
    assert foreign.headers["content-type"] == "application/problem+json"
    assert (await ada.http.get(f"/api/integrations/{row['id']}")).json() == row


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
async def test_nobody_gets_anywhere_without_a_token(ada: Person, stranger: httpx.AsyncClient, attempt: Attempt) -> None:
    row = await ada.connect_with_key()
    refused = await attempt(stranger, row["id"])
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_lists_hold_the_callers_rows_only(ada: Person, mallory: Person) -> None:
    row = await ada.connect_with_key()
    assert [item["id"] for item in (await ada.http.get("/api/integrations")).json()["integrations"]] == [row["id"]]
    assert (await mallory.http.get("/api/integrations")).json() == {"integrations": [], "next_cursor": None}


@pytest.mark.parametrize("token", ["x", "a.b.c", "Bearer", "é", "x" * 9000])
async def test_what_is_no_token_is_refused(stranger: httpx.AsyncClient, token: str) -> None:
    refused = await stranger.get("/api/integrations", headers={b"authorization": f"Bearer {token}".encode()})
    assert refused.status_code == 401
    assert refused.json()["code"].startswith("token_")


async def test_the_publishable_key_is_no_user(ada: Person, stranger: httpx.AsyncClient) -> None:
    bearer = {"authorization": f"Bearer {ada.system.publishable_key}"}
    refused = await stranger.get("/api/integrations", headers=bearer)
    assert refused.status_code == 401


async def test_a_foreign_id_can_be_used_for_a_row_of_ones_own(ada: Person, mallory: Person) -> None:
    """The key begins with the owner: an insert tells nothing about other people's rows."""
    row = await ada.connect_with_key()
    body = {"id": row["id"], "service_name": "keyed", "service_type": "content"}
    async with mallory.data_api() as curl:
        foreign = await curl.post("/integrations", json=body)
        unknown = await curl.post("/integrations", json={**body, "id": str(uuid4()), "external_account_id": "2"})
    assert foreign.status_code == unknown.status_code == 201
    assert (await ada.http.get(f"/api/integrations/{row['id']}")).json() == row


async def test_curl_sees_ciphertext_at_most(ada: Person, mallory: Person) -> None:
    row = await ada.connect_with_key()
    async with ada.data_api() as own, mallory.data_api() as foreign:
        (stored,) = (await own.get(f"/integrations?id=eq.{row['id']}")).json()
        assert (await foreign.get(f"/integrations?id=eq.{row['id']}")).json() == []
    assert stored["credentials"].startswith("v1.")
    assert "canary" not in stored["credentials"]


async def test_a_sealed_envelope_of_another_row_does_not_open_here(ada: Person, mallory: Person) -> None:
    """Mallory puts Ada's ciphertext, wherever she got it from, into a row of her own, and an app trusts the row."""
    row = await ada.connect_with_key()
    async with ada.data_api() as curl:
        (stored,) = (await curl.get(f"/integrations?id=eq.{row['id']}&select=credentials")).json()
    body = {"service_name": "keyed", "service_type": "content", "credentials": stored["credentials"], "id": row["id"]}
    async with mallory.data_api() as curl:
        assert (await curl.post("/integrations", json=body)).status_code == 201
        (own,) = (await curl.get("/integrations?select=*")).json()

    place = AssociatedData(
        purpose=Purpose.CREDENTIALS,
        table="integrations",
        column="credentials",
        id=own["id"],
        user_id=mallory.user_id,
        service_name="keyed",
        credential_version=own["credential_version"],
    )
    with pytest.raises(DecryptionError):
        Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY)).decrypt_object(own["credentials"], place)
