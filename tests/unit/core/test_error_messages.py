"""Messages of errors, as a person reads them."""

from supabase_integrations.core.errors import ReauthorizationRequiredError


def test_a_message_is_one_line_also_where_its_docstring_is_not() -> None:
    assert "\n" in (ReauthorizationRequiredError.__doc__ or "")
    assert str(ReauthorizationRequiredError()).endswith("POST /api/integrations/oauth/initiate and its integration_id.")
