"""What a developer reads when the local system is ready."""

from .state import Description


def addresses(description: Description) -> list[tuple[str, str]]:
    """Name and address of everything that can be visited or connected to."""
    return [
        ("API", description.api_url),
        ("API documentation", f"{description.api_url}/docs"),
        ("Supabase", description.supabase_url),
        ("Demo CRM", description.demo_url),
        ("Worker", _worker(description)),
        ("Described in", f"{description.state_dir}/dev.json"),
        ("Commands", f".venv/bin/integrations doctor --env-file {description.state_dir}/dev.env"),
        ("Logs", description.log_dir),
    ]


def _worker(description: Description) -> str:
    if "worker" not in description.pids:
        return "off: a token is renewed when somebody asks for it"
    return f"renews tokens before they end, and tells of it in {description.log_dir}/worker.log"


def first_request(description: Description) -> str:
    """Shell lines that sign up a user and start to connect the demo service; ready to paste, as often as wanted."""
    return f"""\
COOKIES=$(mktemp)
TOKEN=$(curl -s {description.supabase_url}/auth/v1/signup \\
  -H 'apikey: {description.publishable_key}' -H 'Content-Type: application/json' \\
  -d '{{"email":"user'$RANDOM$RANDOM'@example.com","password":"a long passphrase"}}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
curl -s -c "$COOKIES" {description.api_url}/api/integrations/oauth/initiate \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{{"service_name":"demo_crm"}}'"""


def finishing_requests(description: Description) -> str:
    """Shell lines that finish the authorization which `first_request` started, and show what came of it."""
    return f"""\
curl -s -b "$COOKIES" -H 'Accept: application/json' 'PASTE THE ADDRESS HERE'
curl -s {description.api_url}/api/integrations -H "Authorization: Bearer $TOKEN\""""
