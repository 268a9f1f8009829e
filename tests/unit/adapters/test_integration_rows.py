"""Rows as PostgREST and Supabase Lite write them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from supabase_integrations.adapters.integration_rows import (
    EVENT_COLUMNS,
    INTEGRATION_COLUMNS,
    SEALED_COLUMNS,
    STATE_COLUMNS,
    to_event,
    to_integration,
    to_pending_authorization,
    to_sealed_integration,
)
from supabase_integrations.core.models import Integration, IntegrationStatus, ServiceType
from tests.token_issuer import USER

ID = UUID("51b2b8a5-379c-428d-9975-cb4b0d8cea9e")
ROW: dict[str, Any] = {
    "id": str(ID),
    "user_id": str(USER),
    "service_name": "demo_crm",
    "service_type": "crm",
    "external_account_id": "account-1",
    "display_name": None,
    "status": "needs_reauthorization",
    "credential_version": 3,
    "config": {"shop": "a.example"},
    "scopes": ["read", "write"],
    "expires_at": None,
    "last_refreshed_at": None,
    "last_sync_at": None,
    "last_error_code": "invalid_grant",
    "last_error_at": None,
    "refresh_lease_owner": str(ID),
    "refresh_lease_until": None,
    "next_refresh_at": None,
    "refresh_failures": 2,
    "created_at": "2026-11-23T07:49:51.169102+00:00",
    "updated_at": "2026-11-23 07:49:51.1691+00",
}
MOMENTS = [
    "expires_at",
    "last_refreshed_at",
    "last_sync_at",
    "last_error_at",
    "refresh_lease_until",
    "next_refresh_at",
    "created_at",
    "updated_at",
]


def test_a_row_becomes_an_integration_column_by_column() -> None:
    assert to_integration(ROW) == Integration(
        id=ID,
        user_id=USER,
        service_name="demo_crm",
        service_type=ServiceType.CRM,
        external_account_id="account-1",
        display_name=None,
        status=IntegrationStatus.NEEDS_REAUTHORIZATION,
        credential_version=3,
        config={"shop": "a.example"},
        scopes=("read", "write"),
        expires_at=None,
        last_refreshed_at=None,
        last_sync_at=None,
        last_error_code="invalid_grant",
        last_error_at=None,
        refresh_lease_owner=ID,
        refresh_lease_until=None,
        next_refresh_at=None,
        refresh_failures=2,
        created_at=datetime(2026, 11, 23, 7, 49, 51, 169102, tzinfo=UTC),
        updated_at=datetime(2026, 11, 23, 7, 49, 51, 169100, tzinfo=UTC),
    )


@pytest.mark.parametrize("column", MOMENTS)
@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T07:49:51+00:00",
        "2026-11-23 07:49:51+00",
        "2026-11-23 07:49:51.000+00",
        "2026-11-23T07:49:51Z",
        "2026-11-23T13:19:51+05:30",
        "2026-11-23 05:49:51-02",
    ],
)
def test_a_moment_is_read_in_every_form_into_its_own_column_in_utc(column: str, text: str) -> None:
    moment = getattr(to_integration(ROW | {column: text}), column)
    assert moment == datetime(2026, 11, 23, 7, 49, 51, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": "2026-11-23T07:49:51"},
        {"created_at": "yesterday"},
        {"created_at": None},
        {"status": "hibernating"},
        {"service_type": "gaming"},
        {"id": "51b2b8a5"},
        {"scopes": None},
    ],
)
def test_a_row_of_another_shape_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        to_integration(ROW | change)


def test_credentials_are_asked_for_in_one_list_of_columns_only() -> None:
    lists = {INTEGRATION_COLUMNS, STATE_COLUMNS, EVENT_COLUMNS}
    assert not [columns for columns in lists if "credentials" in columns.split(",")]
    assert SEALED_COLUMNS == INTEGRATION_COLUMNS + ",credentials"


@pytest.mark.parametrize("envelope", [None, "v1.canary"])
def test_a_sealed_row_carries_its_envelope_and_does_not_show_it(envelope: str | None) -> None:
    sealed = to_sealed_integration(ROW | {"credentials": envelope})
    assert sealed.envelope == envelope
    assert "canary" not in repr(sealed)


@pytest.mark.parametrize("integration_id", [None, ID])
def test_a_consumed_state_is_read(integration_id: UUID | None) -> None:
    state = to_pending_authorization(
        {
            "user_id": str(USER),
            "state_hash": "a" * 64,
            "flow": "v1.canary",
            "integration_id": integration_id and str(integration_id),
            "expires_at": "2026-11-23 07:59:51.346745+00",
        }
    )
    assert (state.user_id, state.integration_id, state.flow) == (USER, integration_id, "v1.canary")
    assert state.expires_at == datetime(2026, 11, 23, 7, 59, 51, 346745, tzinfo=UTC)


EVENT = {
    "id": 7,
    "integration_id": str(ID),
    "service_name": "demo_crm",
    "event": "status.changed",
    "actor_role": "authenticated",
    "actor_id": str(USER),
    "changed_columns": ["status"],
    "status": "needs_reauthorization",
    "error_code": "refresh_token_revoked",
    "created_at": "2026-11-23 07:49:51+00",
}


def test_an_event_is_read() -> None:
    event = to_event(EVENT)
    assert (event.id, event.integration_id, event.actor_id) == (7, ID, USER)
    assert event.changed_columns == ("status",)
    assert (event.status, event.error_code) == (IntegrationStatus.NEEDS_REAUTHORIZATION, "refresh_token_revoked")


def test_an_event_of_before_says_no_status() -> None:
    event = to_event(EVENT | {"status": None, "error_code": None})
    assert (event.status, event.error_code) == (None, None)
