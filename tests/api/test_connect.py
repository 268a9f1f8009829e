"""Connecting an account, from the first click to the stored row, through a real OAuth server; and abusing all of it."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import psycopg
import pytest

from tests import canaries
from tests.api.conftest import SignUp
from tests.browser.site import Site
from tests.conftest import APP_ORIGIN, APP_PAGE, OTHER_PAGE
from tests.consent import pass_consent, query_of
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService

CALLBACK = "/api/integrations/oauth/callback"


def cookie_of(reply: httpx.Response) -> str:
    """The binding cookie as a browser sends it back."""
    return reply.headers["set-cookie"].partition(";")[0]


def fragment_of(reply: httpx.Response) -> dict[str, str]:
    assert reply.status_code == 303, reply.text
    return dict(parse_qsl(urlsplit(reply.headers["location"]).fragment))


def back_from(service: str, started: httpx.Response, **changes: str) -> dict[str, str]:
    """The query a scripted service's redirect carries."""
    assert started.status_code == 200, started.text
    issuer = {"issuing": "https://issuer.example"}.get(service, "")
    query = {"code": canaries.CODE, "state": query_of(started.json()["auth_url"])["state"], "iss": issuer} | changes
    return {name: value for name, value in query.items() if value}


async def rows_of(person: Person) -> list[dict[str, Any]]:
    reply = await person.http.get("/api/integrations")
    assert reply.status_code == 200, reply.text
    rows: list[dict[str, Any]] = reply.json()["integrations"]
    return rows


async def test_cookie_form_connects_by_itself(ada: Person, stranger: httpx.AsyncClient) -> None:
    """Authorize, consent and callback through the demo service; the browser has the cookie and no JWT."""
    started = await ada.initiate("demo_crm", redirect_to=APP_PAGE)
    assert started.status_code == 200, started.text
    assert started.json()["binding"] == "cookie"
    callback = await pass_consent(started.json()["auth_url"], "ada.lovelace")
    reply = await stranger.get(callback, headers={"cookie": cookie_of(started)})
    (row,) = await rows_of(ada)
    assert reply.headers["location"] == f"{APP_PAGE}#integration_id={row['id']}"
    assert row["service_name"] == "demo_crm"
    assert row["external_account_id"] == "ada.lovelace"
    assert row["status"] == "active"
    assert row["expires_at"] is not None


async def test_handle_form_is_finished_with_the_jwt(ada: Person, stranger: httpx.AsyncClient) -> None:
    started = await ada.initiate("demo_crm", redirect_to=APP_PAGE)
    reply = await stranger.get(await pass_consent(started.json()["auth_url"]))
    handle = fragment_of(reply)["integration_handle"]
    assert await rows_of(ada) == []
    finished = await ada.finish(handle=handle)
    assert finished.status_code == 200, finished.text
    (row,) = await rows_of(ada)
    assert finished.json()["integration_id"] == row["id"]
    assert finished.json()["integration"] == row


async def test_the_apps_own_page_may_bring_the_query(ada: Person) -> None:
    started = await ada.initiate("demo_crm")
    callback = await pass_consent(started.json()["auth_url"])
    finished = await ada.finish(params=query_of(callback))
    assert finished.status_code == 200, finished.text


async def test_a_victim_who_follows_an_attackers_link_cannot_finish_it(
    ada: Person, mallory: Person, stranger: httpx.AsyncClient
) -> None:
    started = await mallory.initiate("demo_crm", redirect_to=APP_PAGE)
    callback = await pass_consent(started.json()["auth_url"], "victim")
    handle = fragment_of(await stranger.get(callback))["integration_handle"]
    refused = await ada.finish(handle=handle)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_state")
    assert (await ada.finish(params=query_of(callback))).json()["code"] == "invalid_state"
    assert await rows_of(ada) == []
    assert await rows_of(mallory) == []


async def test_an_attacker_cannot_put_his_account_under_a_victim(
    ada: Person, mallory: Person, stranger: httpx.AsyncClient
) -> None:
    """The victim's browser, with cookies of a flow of her own, is sent to the attacker's callback URL."""
    own = await ada.initiate("demo_crm", redirect_to=APP_PAGE)
    foreign = await mallory.initiate("demo_crm", redirect_to=APP_PAGE)
    callback = await pass_consent(foreign.json()["auth_url"], "mallory")
    reply = await stranger.get(callback, headers={"cookie": cookie_of(own)})
    assert "integration_handle" in fragment_of(reply)
    assert await rows_of(ada) == []


async def test_a_cookie_renamed_to_another_flow_proves_nothing(
    ada: Person, mallory: Person, stranger: httpx.AsyncClient
) -> None:
    own, foreign = await ada.initiate("demo_crm", redirect_to=APP_PAGE), await mallory.initiate("demo_crm")
    callback = await pass_consent(own.json()["auth_url"])
    renamed = cookie_of(own).partition("=")[0] + "=" + cookie_of(foreign).partition("=")[2]
    reply = await stranger.get(callback, headers={"cookie": renamed})
    assert "integration_handle" in fragment_of(reply)


async def test_fifty_concurrent_callbacks_make_one_exchange(
    ada: Person, stranger: httpx.AsyncClient, scripted: ScriptedService
) -> None:
    started = await ada.initiate("scripted", redirect_to=APP_PAGE)
    query, cookie = back_from("scripted", started), cookie_of(started)
    replies = await asyncio.gather(
        *(stranger.get(CALLBACK, params=query, headers={"cookie": cookie}) for _ in range(50))
    )
    ends = [fragment_of(reply) for reply in replies]
    assert len(scripted.asked_for("/token")) == 1
    assert sum("integration_id" in end for end in ends) == 1
    assert sum(end.get("integration_error") == "invalid_state" for end in ends) == 49
    assert len(await rows_of(ada)) == 1


async def test_a_used_state_is_refused(ada: Person, scripted: ScriptedService) -> None:
    query = back_from("scripted", await ada.initiate("scripted"))
    assert (await ada.finish(params=query)).status_code == 200
    assert (await ada.finish(params=query)).json()["code"] == "invalid_state"
    assert len(scripted.asked_for("/token")) == 1


async def test_a_reinserted_state_is_refused(ada: Person, scripted: ScriptedService) -> None:
    """Its owner reads the row with curl, uses it, and puts it back."""
    query = back_from("scripted", await ada.initiate("scripted"))
    async with ada.data_api() as curl:
        (row,) = (await curl.get("/oauth_states?select=state_hash,flow")).json()
        assert (await ada.finish(params=query)).status_code == 200
        again = await curl.post("/oauth_states", json=row)
    assert again.status_code == 409
    assert (await ada.finish(params=query)).json()["code"] == "invalid_state"
    assert len(scripted.asked_for("/token")) == 1


async def test_a_state_with_another_flow_is_refused(ada: Person, scripted: ScriptedService) -> None:
    """Its owner swaps the sealed flows of two states, to have one service's code sent to another."""
    first, second = await ada.initiate("scripted"), await ada.initiate("demo_crm")
    async with ada.data_api() as curl:
        rows = (await curl.get("/oauth_states?select=state_hash,flow&order=expires_at.asc")).json()
        swapped = {"state_hash": rows[0]["state_hash"], "flow": rows[1]["flow"]}
        assert (await curl.delete(f"/oauth_states?state_hash=eq.{rows[0]['state_hash']}")).status_code in (200, 204)
        assert (await curl.post("/oauth_states", json=swapped)).status_code == 409
    refused = await ada.finish(params=back_from("scripted", first))
    assert refused.json()["code"] == "invalid_state"
    assert second.status_code == 200
    assert scripted.asked == []


async def test_an_expired_state_is_refused(ada: Person, scripted: ScriptedService) -> None:
    started = await ada.initiate("scripted")

    async with await psycopg.AsyncConnection.connect(ada.system.database_url, autocommit=True) as database:
        # The migrating role may change the row: this is the only way to age it without waiting ten minutes.
        await database.execute(
            "update public.oauth_states set expires_at = now() - interval '1 second' where user_id = %s", [ada.user_id]
        )
    refused = await ada.finish(params=back_from("scripted", started))
    assert refused.json()["code"] == "invalid_state"
    assert scripted.asked == []


async def test_an_answer_of_another_service_is_refused(ada: Person, scripted: ScriptedService) -> None:
    started = await ada.initiate("issuing")
    refused = await ada.finish(params=back_from("issuing", started, iss=ada.system.demo_url))
    assert (refused.status_code, refused.json()["code"]) == (400, "issuer_mismatch")
    assert scripted.asked == []


@pytest.mark.parametrize("state", ["", "x", "A" * 120, "%00", "../../etc", "<script>alert(1)</script>"])
async def test_a_forged_state_ends_on_our_own_page(stranger: httpx.AsyncClient, state: str) -> None:
    reply = await stranger.get(
        CALLBACK, params={"code": canaries.CODE, "state": state}, headers={"accept": "text/html"}
    )
    assert reply.status_code == 400
    assert "location" not in reply.headers
    assert reply.headers["content-type"].startswith("text/html")
    assert "<script>alert" not in reply.text


async def test_refusing_consent_reaches_the_app_as_a_code(ada: Person, stranger: httpx.AsyncClient) -> None:
    started = await ada.initiate("demo_crm", redirect_to=APP_PAGE)
    callback = await pass_consent(started.json()["auth_url"], allow=False)
    without = await stranger.get(callback)
    assert fragment_of(without) == {"integration_error": "access_denied"}
    with_cookie = await stranger.get(callback, headers={"cookie": cookie_of(started)})
    assert fragment_of(with_cookie) == {"integration_error": "access_denied"}
    consumed = await ada.finish(params=query_of(callback))
    assert consumed.json()["code"] == "invalid_state"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer.json({"error": "invalid_grant"}, 400), 400, "invalid_grant"),
        (Answer.json({"error": "invalid_client"}, 401), 502, "invalid_client"),
        (Answer.json({"error": "server_error"}, 200), 502, "token_endpoint_error"),
        (Answer.json({"access_token": 7}), 502, "malformed_token_response"),
        (Answer(200, b"<html>canary-code-0b9a</html>", {"content-type": "text/html"}), 502, "malformed_token_response"),
        (Answer(500, b"<html>"), 502, "provider_unavailable"),
        (Answer(429, b"{}", {"retry-after": "7"}), 502, "provider_unavailable"),
        (Answer(302, b"", {"location": "http://127.0.0.1:1/steal"}), 502, "token_endpoint_error"),
        (Answer(200, b"{" + b" " * 2_000_000 + b"}"), 502, "provider_unavailable"),
    ],
)
async def test_what_is_not_a_token_stores_nothing(
    ada: Person, scripted: ScriptedService, answer: Answer, status: int, code: str
) -> None:
    scripted.scripts["/token"] = lambda _: answer
    query = back_from("scripted", await ada.initiate("scripted"))
    refused = await ada.finish(params=query)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await rows_of(ada) == []
    assert (await ada.finish(params=query)).json()["code"] == "invalid_state"
    assert [asked.path for asked in scripted.asked] == ["/token"]


async def test_form_encoded_tokens_are_stored(ada: Person, scripted: ScriptedService) -> None:
    body = f"access_token={canaries.ACCESS_TOKEN}&scope=read&token_type=bearer".encode()
    scripted.scripts["/token"] = lambda _: Answer(200, body, {"content-type": "application/x-www-form-urlencoded"})
    finished = await ada.finish(params=back_from("scripted", await ada.initiate("scripted")))
    assert finished.json()["integration"]["scopes"] == ["read"]
    assert finished.json()["integration"]["expires_at"] is None


async def test_an_address_that_is_not_public_is_not_called(ada: Person) -> None:
    started = await ada.initiate("inward")
    refused = await ada.finish(params=back_from("inward", started))
    assert (refused.status_code, refused.json()["code"]) == (502, "forbidden_address")


async def test_the_same_account_updates_its_row_and_another_makes_one(ada: Person, scripted: ScriptedService) -> None:
    async def connect() -> dict[str, Any]:
        finished = await ada.finish(params=back_from("scripted", await ada.initiate("scripted")))
        integration: dict[str, Any] = finished.json()["integration"]
        return integration

    first, again = await connect(), await connect()
    scripted.scripts["/me"] = lambda _: Answer.json({"id": "account-2"})
    other = await connect()
    assert again["id"] == first["id"] != other["id"]
    assert other["external_account_id"] == "account-2"
    assert len(await rows_of(ada)) == 2


async def test_two_callbacks_for_one_account_at_once_make_one_row(ada: Person, scripted: ScriptedService) -> None:
    queries = [back_from("scripted", await ada.initiate("scripted")) for _ in range(6)]
    finished = await asyncio.gather(*(ada.finish(params=query) for query in queries))
    assert {reply.status_code for reply in finished} == {200}, [reply.text for reply in finished]
    assert len({reply.json()["integration_id"] for reply in finished}) == 1
    assert len(scripted.asked_for("/token")) == 6


async def test_reconnecting_with_a_different_account_changes_nothing(ada: Person, scripted: ScriptedService) -> None:
    first = await ada.finish(params=back_from("scripted", await ada.initiate("scripted")))
    row_id = first.json()["integration_id"]
    (before,) = await rows_of(ada)
    scripted.scripts["/me"] = lambda _: Answer.json({"id": "account-2"})
    started = await ada.initiate("scripted", integration_id=row_id)
    refused = await ada.finish(params=back_from("scripted", started))
    assert (refused.status_code, refused.json()["code"]) == (409, "account_mismatch")
    assert await rows_of(ada) == [before]


async def test_reconnecting_revives_the_same_row(ada: Person, scripted: ScriptedService) -> None:
    first = await ada.finish(params=back_from("scripted", await ada.initiate("scripted")))
    row_id = first.json()["integration_id"]
    async with ada.data_api() as curl:
        reply = await curl.patch(f"/integrations?id=eq.{row_id}", json={"status": "needs_reauthorization"})
        assert reply.status_code in (200, 204)
    started = await ada.initiate("scripted", integration_id=row_id)
    finished = await ada.finish(params=back_from("scripted", started))
    assert finished.json()["integration_id"] == row_id
    assert finished.json()["integration"]["status"] == "active"


async def test_reconnecting_a_foreign_row_looks_like_an_unknown_one(
    ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    first = await ada.finish(params=back_from("scripted", await ada.initiate("scripted")))
    foreign = await mallory.initiate("scripted", integration_id=first.json()["integration_id"])
    unknown = await mallory.initiate("scripted", integration_id="00000000-0000-4000-8000-000000000000")
    assert foreign.status_code == unknown.status_code == 404
    assert _without_id(foreign) == _without_id(unknown)


async def test_the_callback_goes_to_the_page_that_was_asked_for(
    ada: Person, stranger: httpx.AsyncClient, scripted: ScriptedService
) -> None:
    started = await ada.initiate("scripted", redirect_to=OTHER_PAGE)
    reply = await stranger.get(CALLBACK, params=back_from("scripted", started), headers={"cookie": cookie_of(started)})
    assert reply.headers["location"].startswith(f"{OTHER_PAGE}#integration_id=")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "Max-Age=0" in reply.headers["set-cookie"]


async def test_without_a_page_the_person_and_the_opener_are_told(
    ada: Person, stranger: httpx.AsyncClient, scripted: ScriptedService, app_site: Site
) -> None:
    started = await ada.initiate("scripted")
    headers = {"cookie": cookie_of(started), "accept": "text/html,*/*"}
    reply = await stranger.get(CALLBACK, params=back_from("scripted", started), headers=headers)
    (row,) = await rows_of(ada)
    told = json.loads(reply.text.partition('id="outcome">')[2].partition("</script>")[0])
    assert reply.status_code == 200
    assert told == {
        "message": {"type": "supabase-integrations", "integration_id": row["id"]},
        "origins": [APP_ORIGIN, *app_site.origins],
    }


async def test_without_a_page_json_is_answered_where_it_is_accepted(
    ada: Person, stranger: httpx.AsyncClient, scripted: ScriptedService
) -> None:
    started = await ada.initiate("scripted")
    reply = await stranger.get(CALLBACK, params=back_from("scripted", started), headers={"accept": "application/json"})
    assert reply.status_code == 200
    assert list(reply.json()) == ["integration_handle"]


async def test_a_signed_out_user_cannot_finish_with_the_cookie(
    sign_up: SignUp, stranger: httpx.AsyncClient, scripted: ScriptedService
) -> None:
    person = await sign_up()
    started = await person.initiate("scripted", redirect_to=APP_PAGE)
    await sign_out(person)
    await asyncio.sleep(5.1)  # the session check remembers a yes for five seconds
    reply = await stranger.get(CALLBACK, params=back_from("scripted", started), headers={"cookie": cookie_of(started)})
    assert "integration_handle" in fragment_of(reply)
    assert (await person.initiate("scripted")).json()["code"] == "session_ended"
    assert scripted.asked == []


async def sign_out(person: Person) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        reply = await http.post(
            f"{person.system.supabase_url}/auth/v1/logout",
            headers={"apikey": person.system.publishable_key, "authorization": f"Bearer {person.access_token}"},
        )
    assert reply.status_code == 204


async def test_shopify_builds_urls_for_real_shops_only(ada: Person) -> None:
    good = await ada.initiate("shopify", config={"shop": "canary.myshopify.com"})
    assert good.json()["auth_url"].startswith("https://canary.myshopify.com/admin/oauth/authorize?")
    for shop in ("evil.example", "canary.myshopify.com.evil.example", "canary.myshopify.com\n", "", None, 7):
        refused = await ada.initiate("shopify", config={"shop": shop})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "config.shop"


async def test_meta_and_hubspot_are_ready_to_be_authorized(ada: Person) -> None:
    meta = query_of((await ada.initiate("meta_ads")).json()["auth_url"])
    hubspot = query_of((await ada.initiate("hubspot")).json()["auth_url"])
    assert meta["scope"] == "ads_read,business_management"
    assert hubspot["client_id"] == "canary-hubspot_client-id"
    assert meta["redirect_uri"] == hubspot["redirect_uri"] == f"{ada.system.api_url}{CALLBACK}"


def _without_id(reply: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in reply.json().items() if name != "request_id"}
