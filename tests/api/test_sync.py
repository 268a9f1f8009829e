"""A user has the demo service's contacts synced, and reads them through the Data API; nobody else does."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from supabase_integrations.local.secrets import LocalSecrets
from tests import canaries
from tests.api.test_refresh import connect_demo
from tests.local_system import LocalSystem
from tests.people import Person

_RECORDS = "/synced_records?select=external_id,data&resource=eq.contacts"


def sync(system: LocalSystem, folder: Path, person: Person, integration_id: str) -> "subprocess.CompletedProcess[str]":
    """The command as an operator runs it beside the local system."""
    secrets = LocalSecrets.load_or_generate(system.state_dir / "secrets.json")
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "development",
        "ENCRYPTION_KEY": canaries.ENCRYPTION_KEY,
        "STATE_DIR": str(folder / "state"),
        "DEMO_URL": system.demo_url,
        "DEMO_CRM_CLIENT_ID": secrets.demo_client_id.get_secret_value(),
        "DEMO_CRM_CLIENT_SECRET": secrets.demo_client_secret.get_secret_value(),
        "WORKER_DATABASE_URL": system.worker_database_url,
    }
    command = [sys.executable, "-m", "supabase_integrations", "sync", integration_id, "contacts"]
    return subprocess.run(
        [*command, "--user", person.user_id],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


async def test_contacts_of_a_real_service_reach_their_owner_alone(
    local_system: LocalSystem, ada: Person, mallory: Person, tmp_path: Path
) -> None:
    row = await connect_demo(ada)
    async with ada.data_api() as curl:
        wish = {"integration_id": row["id"], "resource": "contacts"}
        assert (await curl.post("/sync_cursors", json=wish)).status_code == 201

    done = await asyncio.to_thread(sync, local_system, tmp_path, ada, row["id"])

    assert done.returncode == 0, done.stderr
    assert "stored 25 records" in done.stdout
    async with ada.data_api() as curl:
        contacts = (await curl.get(_RECORDS)).json()
        (cursor,) = (await curl.get("/sync_cursors?select=records,synced_until")).json()
    assert len(contacts) == cursor["records"] == 25
    assert {contact["data"]["email"] for contact in contacts} >= {"ada.adams@example.com"}
    assert cursor["synced_until"]
    assert (await ada.http.get(f"/api/integrations/{row['id']}")).json()["last_sync_at"]
    async with mallory.data_api() as curl:
        assert (await curl.get(_RECORDS)).json() == []
        assert (await curl.delete("/synced_records?resource=eq.contacts")).status_code < 300
        foreign = {"integration_id": row["id"], "resource": "contacts"}
        assert (await curl.post("/sync_cursors", json=foreign)).status_code >= 400
        forged = {"user_id": mallory.user_id, "integration_id": row["id"], "resource": "contacts", "external_id": "x"}
        assert (await curl.post("/synced_records", json={**forged, "data": {}})).status_code in (401, 403)
    async with ada.data_api() as curl:
        assert len((await curl.get(_RECORDS)).json()) == 25
        moved = await curl.patch("/sync_cursors?resource=eq.contacts", json={"cursor": "100"})
        assert moved.status_code in (401, 403)


async def test_the_command_does_not_sync_for_another_user(
    local_system: LocalSystem, ada: Person, mallory: Person, tmp_path: Path
) -> None:
    row = await connect_demo(ada)
    done = await asyncio.to_thread(sync, local_system, tmp_path, mallory, row["id"])
    assert done.returncode == 1
    assert done.stderr.startswith("This user has no such connection")
