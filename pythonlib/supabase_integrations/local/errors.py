"""What can go wrong while the local system starts; every message names the next step."""


class LocalStackError(Exception):
    """The local system cannot start or go on. The message says why and what to do."""
