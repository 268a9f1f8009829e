"""Where a list goes on, as an opaque text. It is no secret: row level security decides what comes after it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

from supabase_integrations.core.errors import InvalidValueError
from supabase_integrations.core.models import ListPosition


def encode(position: ListPosition) -> str:
    """The text for a position."""
    text = f"{position.created_at.astimezone(UTC).isoformat()}|{position.id}"
    return urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")


def decode(cursor: str) -> ListPosition:
    """The inverse of `encode`. Raises InvalidValueError."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        moment, _, identifier = text.partition("|")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError
        return ListPosition(created_at.astimezone(UTC), UUID(identifier))
    except (ValueError, OverflowError):
        raise InvalidValueError("cursor", "cursor is not one that a list returned.") from None
