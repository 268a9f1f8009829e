"""When it is asked whether a caller's session still exists: an access token outlives the sign-out by up to an hour."""

from enum import StrEnum


class SessionCheck(StrEnum):
    """Which requests ask Supabase Auth before they do anything."""

    OFF = "off"
    """None: a signed-out token works until it expires."""
    SENSITIVE = "sensitive"
    """Connecting in every form, deleting, and replacing, refreshing or releasing credentials."""
    ALWAYS = "always"
    """Every request."""
