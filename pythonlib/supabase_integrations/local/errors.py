"""What can go wrong while the local system starts; every message names the next step."""

from supabase_integrations.core.errors import IntegrationError


class LocalStackError(IntegrationError):
    """The local system cannot start or go on."""

    code = "local_stack_error"
