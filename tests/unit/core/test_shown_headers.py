"""Which headers of a service's answer its caller gets to see."""

import pytest

from supabase_integrations.core.outgoing_headers import shown_headers
from supabase_integrations.core.service import ServiceDefinition

SERVICE = ServiceDefinition.model_validate(
    {"name": "echo", "display_name": "Echo", "service_type": "crm", "auth": "api_key"}
)


@pytest.mark.parametrize("control", ["\x00", "\x07", "\n", "\r", "\x1b", "\x7f"])
def test_a_value_that_no_server_would_send_is_left_out(control: str) -> None:
    headers = [("etag", f"a{control}b"), ("last-modified", "a\tb"), ("x-ratelimit-limit", "é")]
    assert shown_headers(headers, SERVICE) == headers[1:]
