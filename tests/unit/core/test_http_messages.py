"""The wait that a service asks for."""

from datetime import timedelta

import pytest

from supabase_integrations.core.http_messages import retry_after
from tests.unit.fakes import START


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 17 ", 17),
        ("2.0", 2),
        ("0.25", 0.25),
        ("9" * 5000 + "." + "9" * 5000, 86_400),
        ("999999999999", 86_400),
        ("9" * 5000, 86_400),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 03:05:05", 60),
        ("Fri, 02 Jan 2015 03:05:05 GMT", 0),
        ("Fri, 02 Jan 2126 03:05:05 GMT", 86_400),
    ],
)
def test_both_forms_are_read_and_bounded(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, START) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "1.",
        ".5",
        "1.5.1",
        "1e3",
        "١٧",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 99 Foo",
    ],
)
def test_what_is_no_wait_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}, START) is None
