"""Addresses of databases: what is read, what is shown, and what is refused without a word of it."""

import pytest

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.database_url import DatabaseUrl


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        (
            "postgresql://postgres:canary@127.0.0.1:54322/postgres",
            "postgresql://postgres@127.0.0.1:54322/postgres",
            "canary",
        ),
        (
            "postgres://postgres.ref:can%40ary@host:6543/postgres",
            "postgres://postgres.ref@host:6543/postgres",
            "can@ary",
        ),
        ("postgresql://postgres:canary@[::1]/postgres", "postgresql://postgres@[::1]/postgres", "canary"),
        ("postgresql://u@host/db?password=canary&sslmode=require", "postgresql://u@host/db", "canary"),
        ("postgresql://localhost/postgres", "postgresql://localhost/postgres", None),
    ],
)
def test_a_shown_address_has_no_password(url: str, shown: str, password: str | None) -> None:
    database = DatabaseUrl.parse(url)

    assert database.shown == shown
    assert (database.password.get_secret_value() if database.password else None) == password
    assert database.url.get_secret_value() == url
    assert "canary" not in repr(database)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("refused\n\tIs it running?\n", "refused Is it running? Do this."),
        ("FATAL:  wrong password", "FATAL: wrong password. Do this."),
        ("no such user canary", "its answer is not shown, because it holds the password. Do this."),
    ],
)
def test_an_unreachable_database_is_told_in_one_line(said: str, told: str) -> None:
    database = DatabaseUrl.parse("postgresql://u:canary@host:1/db")

    assert (
        database.unreachable(said, "Do this.") == f"The database at postgresql://u@host:1/db cannot be reached: {told}"
    )


def test_another_program_is_told_the_parameters_that_are_no_secret() -> None:
    database = DatabaseUrl.parse("postgresql://u:canary@host:1/db?sslmode=disable&sslpassword=canary")

    assert database.without_password == "postgresql://u@host:1/db?sslmode=disable"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://canary@host/db",
        "host=127.0.0.1 password=canary",
        "postgresql:///db",
        "postgresql://postgres:canary#pa/ss@127.0.0.1/x",
        "postgresql://postgres:12#canary@127.0.0.1/x",
        "postgresql://postgres:12/canary@127.0.0.1/x",
        "postgresql://postgres:12?canary@127.0.0.1/x",
        "postgresql://postgres:can@ary@127.0.0.1/x",
        "postgresql://postgres:can%ary@127.0.0.1/x",
        "postgresql://postgres:canary%@127.0.0.1/x",
        "postgresql://postgres:canary%00@127.0.0.1/x",
        "postgresql://postgres:can[ary@127.0.0.1/x",
        "postgresql://postgres:can ary@127.0.0.1/x",
        "postgresql://postgres:can\tary@127.0.0.1/x",
        "postgresql://postgres:canary\udcff@127.0.0.1/x",
        "postgresql://postgres:canary@127.0.0.1:port/x",
        "postgresql://postgres:canary@one,two/x",
        "postgresql://postgres@127.0.0.1/x?canary",
    ],
)
def test_what_could_be_cut_in_two_ways_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Percent-encode the password") as refused:
        DatabaseUrl.parse(url)

    assert "ary" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("said", ['missing "=" after "can@ary"', "invalid token: can%40ary"])
def test_what_a_driver_says_is_not_repeated_where_it_holds_the_password(said: str) -> None:
    database = DatabaseUrl.parse("postgresql://postgres:can%40ary@host/db")

    assert "ary" not in database.conceal(said)
    assert database.conceal("connection refused\n") == "connection refused"
