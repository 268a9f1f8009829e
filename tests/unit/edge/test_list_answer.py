"""The JSON of a list is written without its models; it is the same to the byte."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from integrations_api import cursors
from integrations_api.integrations import listed, view
from integrations_api.responses import IntegrationList
from supabase_integrations.core.models import Integration, IntegrationPage, IntegrationStatus, ListPosition, ServiceType

MOMENT = datetime(2026, 11, 23, 7, 49, 51, 169102, tzinfo=UTC)
WHOLE_SECOND = MOMENT.replace(microsecond=0)
BARE = Integration(
    id=UUID("51b2b8a5-379c-428d-9975-cb4b0d8cea9e"),
    user_id=UUID("0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b222"),
    service_name="demo_crm",
    service_type=ServiceType.SUPPLY_CHAIN,
    external_account_id="",
    display_name=None,
    status=IntegrationStatus.NEEDS_REAUTHORIZATION,
    credential_version=3,
    config={},
    scopes=(),
    expires_at=None,
    last_refreshed_at=None,
    last_sync_at=None,
    last_error_code=None,
    last_error_at=None,
    refresh_lease_owner=None,
    refresh_lease_until=None,
    next_refresh_at=None,
    refresh_failures=0,
    created_at=MOMENT,
    updated_at=WHOLE_SECOND,
)
FULL = replace(
    BARE,
    display_name='Ä "name" </script> \u2028',
    config={"shop": "a.example", "nested": {"list": [1, 2.5, True, None, "ä"]}},
    scopes=("contacts.read", "contacts.write"),
    expires_at=MOMENT,
    last_refreshed_at=WHOLE_SECOND,
    last_sync_at=MOMENT,
    last_error_code="invalid_grant",
    last_error_at=MOMENT,
    refresh_lease_owner=BARE.id,
    refresh_lease_until=MOMENT,
    next_refresh_at=MOMENT,
)


@pytest.mark.parametrize("position", [None, ListPosition(MOMENT, BARE.id)], ids=["last page", "with a next page"])
@pytest.mark.parametrize("rows", [(), (BARE,), (FULL, BARE)], ids=["none", "one", "two"])
def test_a_list_is_written_as_its_model_would_be(rows: tuple[Integration, ...], position: ListPosition | None) -> None:
    modelled = IntegrationList(
        integrations=[view(row) for row in rows], next_cursor=cursors.encode(position) if position else None
    )
    assert listed(IntegrationPage(rows, position)) == modelled.model_dump_json().encode()
