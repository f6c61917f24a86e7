"""Countries, regions and postcodes in requests."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from eta.api.schemas.common import Address
from eta.api.schemas.events import EventCreate
from eta.domain.shipment import Place


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (
            {"country": "Deutschland", "state": "Bayern", "postal_code": "D-80331"},
            Place(country="DE", region="BY", postcode="80331"),
        ),
        (
            {"country": "ESP", "state": "ES-B", "postal_code": "8001"},
            Place(country="ES", region="CT", postcode="08001"),
        ),
        (
            {"country": "uk", "state": "Surrey", "postal_code": "gu1 4lz"},
            Place(country="GB", region="ENG", postcode="GU14LZ"),
        ),
        (
            {"country": "US", "state": "Guam", "postal_code": "96910-1234"},
            Place(country="US", region="GU", postcode="96910"),
        ),
        ({"country": "HK", "state": "KLN"}, Place(country="HK", region="KLN")),
        # A region that was not stated is not stored, it follows from the postcode.
        (
            {"country": "BR", "postal_code": "01310-100"},
            Place(country="BR", postcode="01310100"),
        ),
    ],
)
def test_an_address_is_resolved(address: dict[str, Any], place: Place) -> None:
    assert Address.model_validate(address).to_place() == place


@pytest.mark.parametrize(
    ("address", "field", "message"),
    [
        (
            {"country": "Grmany"},
            "country",
            "'Grmany' is not a country; did you mean Germany (DE)?",
        ),
        (
            {"country": "DE", "state": "Bavria"},
            "state",
            "'Bavria' is not a region of Germany; did you mean Bavaria (BY)?",
        ),
        (
            {"country": "HK", "state": "Kowloon"},
            "state",
            "'Kowloon' is not a region of Hong Kong SAR China; "
            "send its ISO 3166-2 code or its name, or leave it out",
        ),
        (
            {"country": "DE", "postal_code": "ABC"},
            "postal_code",
            "'ABC' is not a postcode of Germany; "
            "correct it, with its leading zeros, or leave it out",
        ),
        (
            {"country": "US", "postal_code": "606"},
            "postal_code",
            "'606' is not a postcode of United States; "
            "correct it, with its leading zeros, or leave it out",
        ),
    ],
)
def test_an_impossible_part_of_an_address_is_named(
    address: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Address.model_validate(address)
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [
        ((field,), message)
    ]


def test_the_parts_of_an_unknown_country_are_not_judged() -> None:
    with pytest.raises(ValidationError) as caught:
        Address.model_validate({"country": "Atlantis", "state": "Deep", "postal_code": "1"})
    assert [error["loc"] for error in caught.value.errors()] == [("country",)]


EVENT = {
    "external_id": "A-1",
    "event_code": "accepted",
    "occurred_local": "2026-03-02T15:04:00",
}


def test_the_place_of_an_event_is_resolved() -> None:
    place = {"country": "Spain", "state": "Las Palmas", "postal_code": "35001"}
    event = EventCreate.model_validate(EVENT | place)
    assert (event.country, event.state, event.postal_code) == ("ES", "CN", "35001")
    # Without a country the route decides.
    assert EventCreate.model_validate(EVENT | {"state": " Bayern "}).state == "Bayern"


@pytest.mark.parametrize("state", ["", " ", "a\nb", "x" * 101])
def test_a_state_without_a_country_is_a_name(state: str) -> None:
    with pytest.raises(ValidationError):
        EventCreate.model_validate(EVENT | {"state": state})
