"""Which columns a change of credentials writes, through either door. Moments are left to the database's clock."""

from ..core.models import CredentialReplacement, RefreshFailure


def columns_of_replacement(replacement: CredentialReplacement) -> dict[str, object]:
    """New credentials, without the traces of what failed before them, and the end of the lease."""
    columns: dict[str, object] = {
        "credentials": replacement.envelope,
        "scopes": replacement.scopes,
        "expires_at": replacement.expires_at,
        "next_refresh_at": replacement.next_refresh_at,
        "last_refreshed_at": "now",
        "last_error_code": None,
        "last_error_at": None,
        "refresh_failures": 0,
        "refresh_lease_owner": None,
    }
    kept_where_none = {
        "display_name": replacement.display_name,
        "status": replacement.status,
        "config": replacement.config,
        "last_sync_at": replacement.last_sync_at,
    }
    return columns | {column: value for column, value in kept_where_none.items() if value is not None}


def columns_of_failure(failure: RefreshFailure) -> dict[str, object]:
    """What a failed refresh leaves behind, and the end of the lease."""
    columns: dict[str, object] = {
        "last_error_code": failure.error_code,
        "last_error_at": "now",
        "next_refresh_at": failure.next_refresh_at,
        "refresh_failures": failure.failures,
        "refresh_lease_owner": None,
    }
    return columns if failure.status is None else {**columns, "status": failure.status}
