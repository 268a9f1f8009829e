"""A place and its bytes: different places, different bytes, and none the beginning of another."""

from dataclasses import astuple, fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supabase_integrations.core.associated_data import MAX_LENGTH, AssociatedData, Purpose, differing_fields
from supabase_integrations.core.encryption_errors import UnsealableValueError

# Digits and colons are what the encoding itself is made of: the texts most likely to be mistaken for it.
texts = st.text(st.one_of(st.sampled_from("0123456789:"), st.characters(exclude_categories=["Cs"])), max_size=40)
places = st.builds(
    AssociatedData,
    purpose=st.sampled_from(Purpose),
    table=texts,
    column=texts,
    id=texts,
    user_id=texts,
    service_name=texts,
    tenant=texts,
    credential_version=st.integers(),
)
ROW = AssociatedData(
    Purpose.CREDENTIALS,
    table="integrations",
    column="credentials",
    id="5c1f7b7e-7a3b-4a53-9a0c-2f1c51d3a111",
    user_id="0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b222",
    service_name="shopify",
    tenant="canary.myshopify.com",
    credential_version=7,
)


def test_the_encoding_is_as_documented() -> None:
    fields_of_row = (
        b"11:credentials12:integrations11:credentials36:5c1f7b7e-7a3b-4a53-9a0c-2f1c51d3a111"
        b"36:0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b2227:shopify20:canary.myshopify.com1:7"
    )
    assert ROW.encoded == len(fields_of_row).to_bytes(2) + fields_of_row


@given(places, places)
def test_different_places_have_different_bytes_and_none_begins_with_another(
    one: AssociatedData, other: AssociatedData
) -> None:
    assume(one != other)
    assert not one.encoded.startswith(other.encoded)
    assert not other.encoded.startswith(one.encoded)


@given(texts, texts.filter(bool))
def test_moving_a_boundary_between_two_fields_changes_the_bytes(left: str, right: str) -> None:
    whole = AssociatedData(Purpose.FLOW, service_name=left + right, tenant="")
    split = AssociatedData(Purpose.FLOW, service_name=left, tenant=right)
    assert whole.encoded != split.encoded


@given(places, places)
def test_the_differing_fields_are_read_back_from_the_bytes(one: AssociatedData, other: AssociatedData) -> None:
    names = [field.name for field in fields(AssociatedData) if field.name != "encoded"]
    pairs = zip(names, astuple(one), astuple(other), strict=False)
    expected = tuple(name for name, value, other_value in pairs if value != other_value)
    assert differing_fields(one.encoded, other.encoded) == expected


def test_composed_and_decomposed_letters_are_different_tenants() -> None:
    assert replace(ROW, tenant="caf\u00e9").encoded != replace(ROW, tenant="cafe\u0301").encoded


def test_a_place_may_contain_nul_and_the_encodings_own_characters() -> None:
    assert differing_fields(replace(ROW, id="3:a\0b").encoded, replace(ROW, id="3:a").encoded) == ("id",)


def test_the_longest_place_is_encoded_and_a_longer_one_is_refused() -> None:
    overhead = len(AssociatedData(Purpose.STATE, tenant="a" * 1_000).encoded) - 2 - 1_000
    assert len(AssociatedData(Purpose.STATE, tenant="a" * (MAX_LENGTH - overhead)).encoded) == MAX_LENGTH + 2
    with pytest.raises(UnsealableValueError, match="2048 bytes"):
        AssociatedData(Purpose.STATE, tenant="a" * (MAX_LENGTH - overhead + 1))


def test_a_lone_surrogate_is_refused_without_being_repeated() -> None:
    with pytest.raises(UnsealableValueError) as refusal:
        AssociatedData(Purpose.STATE, tenant="canary-tenant\ud800")
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None
