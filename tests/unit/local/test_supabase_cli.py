"""Addresses of databases as they may be shown."""

import pytest

from supabase_integrations.local.supabase_cli import SupabaseCliError, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://postgres:canary@127.0.0.1:54322/postgres?sslmode=disable",
            "postgresql://postgres@127.0.0.1:54322/postgres?sslmode=disable",
        ),
        ("postgres://postgres.ref:can%40ary@host:6543/postgres", "postgres://postgres.ref@host:6543/postgres"),
        ("postgresql://postgres:canary@[::1]/postgres", "postgresql://postgres@[::1]/postgres"),
        ("postgresql://localhost/postgres", "postgresql://localhost/postgres"),
    ],
)
def test_a_shown_address_has_no_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("url", ["", "mysql://canary@host/db", "host=127.0.0.1 password=canary", "postgresql:///db"])
def test_what_is_no_database_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SupabaseCliError, match="must look like") as refused:
        without_password(url)

    assert "canary" not in str(refused.value)
