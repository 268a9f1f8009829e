"""Comparing what a database allows with what the migrations made."""

from supabase_integrations.local.catalog import Snapshot

PRISTINE = Snapshot(
    frozenset(
        {
            ("relation public.integrations", "has row security on"),
            ("relation public.integrations", "authenticated may select"),
            ("relation public.oauth_states", "has row security on"),
        }
    )
)


def test_the_same_facts_differ_in_nothing() -> None:
    assert PRISTINE.differences(PRISTINE) == []


def test_a_grant_too_many_and_a_protection_too_few_are_told() -> None:
    loosened = Snapshot(
        (PRISTINE.facts - {("relation public.oauth_states", "has row security on")})
        | {
            ("relation public.oauth_states", "has row security off"),
            ("relation public.integrations", "anon may select"),
        }
    )

    assert loosened.differences(PRISTINE) == [
        "relation public.integrations: anon may select",
        "relation public.oauth_states: has row security off",
        "relation public.oauth_states: no longer: has row security on",
    ]


def test_a_missing_object_is_told_once() -> None:
    without = Snapshot(frozenset(fact for fact in PRISTINE.facts if "integrations" in fact[0]))

    assert without.differences(PRISTINE) == ["relation public.oauth_states is missing"]


def test_objects_of_the_developers_own_are_not_compared() -> None:
    with_more = Snapshot(PRISTINE.facts | {("relation public.notes", "anon may select")})

    assert with_more.differences(PRISTINE) == []
