"""What may be said about a shipment, and the words for it."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from eta.domain import vocabulary
from eta.domain.errors import EtaError, InvalidValue, NaiveTime, NotFitted
from eta.domain.shipment import MAX_WEIGHT_KG, Place, Shipment, TrackingEvent
from eta.domain.vocabulary import (
    ABANDONED_CODES,
    ARRIVAL_CODES,
    EXCEPTION_CODES,
    FACILITY_CODES,
    FINAL_CODES,
    HANDOVER_CODES,
    PHASE_OF,
    STATUS_OF,
    EventCode,
    Phase,
    Status,
)

NOON = datetime(2018, 5, 15, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)


def place(**changes: Any) -> Place:
    return Place(**{"country": "BR", **changes})


def shipment(**changes: Any) -> Shipment:
    return Shipment(
        **{
            "shipment_id": "s",
            "order_id": "o",
            "origin": place(),
            "destination": place(),
            "ordered_at": NOON,
            **changes,
        }
    )


def event(**changes: Any) -> TrackingEvent:
    return TrackingEvent(
        **{
            "shipment_id": "s",
            "event_code": EventCode.SORTED,
            "occurred_at": NOON,
            "received_at": NOON,
            **changes,
        }
    )


def test_a_shipment_needs_no_more_than_its_ends_and_the_time_of_the_order() -> None:
    assert shipment().package_count == 1


@pytest.mark.parametrize("field", ["weight_kg", "length_cm", "width_cm", "height_cm"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_size_that_cannot_be_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: ") as refused:
        shipment(**{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_kg", MAX_WEIGHT_KG * 1.001),
        ("price", -0.01),
        ("price", float("nan")),
        ("price", float("inf")),
        ("package_count", 0),
        ("package_count", -3),
    ],
)
def test_what_no_parcel_has_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        shipment(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight_kg", MAX_WEIGHT_KG), ("weight_kg", 0.001), ("price", 0.0), ("package_count", 40)],
)
def test_values_at_the_edge_are_taken(field: str, value: float) -> None:
    assert getattr(shipment(**{field: value}), field) == value


@pytest.mark.parametrize("country", ["", "B", "BRA", "br", "Br", "ÖS", "12", "A1", "B ", "A-"])
def test_a_country_is_two_capital_letters(country: str) -> None:
    with pytest.raises(InvalidValue, match=r"^country: "):
        Place(country=country)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latitude", 90.1),
        ("latitude", -90.1),
        ("latitude", float("nan")),
        ("longitude", 180.1),
        ("longitude", -180.1),
        ("longitude", float("nan")),
    ],
)
def test_a_coordinate_off_the_globe_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        place(**{field: value})


@pytest.mark.parametrize(("latitude", "longitude"), [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0)])
def test_the_poles_the_date_line_and_the_origin_are_on_the_globe(
    latitude: float, longitude: float
) -> None:
    assert Place(country="BR", latitude=latitude, longitude=longitude).latitude == latitude


def test_an_order_without_an_offset_is_refused() -> None:
    with pytest.raises(NaiveTime, match=r"^ordered_at: ") as refused:
        shipment(ordered_at=NAIVE)
    assert refused.value.field == "ordered_at"


@pytest.mark.parametrize("field", ["occurred_at", "received_at"])
def test_a_scan_without_an_offset_is_refused_by_the_fields_name(field: str) -> None:
    with pytest.raises(NaiveTime, match=f"^{field}: ") as refused:
        event(**{field: NAIVE})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("value", "field"), [(place(), "country"), (shipment(), "weight_kg"), (event(), "occurred_at")]
)
def test_facts_do_not_change(value: object, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)


def test_the_message_of_an_error_is_its_docstring_or_its_own() -> None:
    assert str(NotFitted()) == "The model is not fitted; fit it before it predicts."
    assert str(NotFitted("B4")) == "B4"
    assert issubclass(NaiveTime, InvalidValue)
    assert issubclass(InvalidValue, EtaError)


ENUMS = [
    word
    for word in vars(vocabulary).values()
    if isinstance(word, type) and issubclass(word, StrEnum) and word is not StrEnum
]


@pytest.mark.parametrize("words", ENUMS)
def test_words_are_spelt_like_their_names_and_are_unique(words: type[StrEnum]) -> None:
    # An alias would be a second name for one value and so be lost among the members.
    assert [word.value for word in words] == [name.lower() for name in words.__members__]


#: The rule of the product's vocabulary, code by code name; every code that it does not name is a
#: scan in transit.
STATUS_BY_RULE = {
    **dict.fromkeys(
        ["order_created", "order_approved", "order_packed", "label_created", "manifest_received"],
        Status.PRE_TRANSIT,
    ),
    **dict.fromkeys(["held", "import_customs_held"], Status.ON_HOLD),
    **dict.fromkeys(["return_started", "return_delivered"], Status.RETURN_TO_SENDER),
    **dict.fromkeys(
        ["delivery_scheduled", "delivery_rescheduled", "redirected", "damaged", "info"], None
    ),
    "picked_up_by_recipient": Status.DELIVERED,
    **{status.value: status for status in Status},
}


@pytest.mark.parametrize("code", EventCode)
def test_a_scan_sets_the_status_that_the_product_says(code: EventCode) -> None:
    assert STATUS_OF.get(code) is STATUS_BY_RULE.get(code.value, Status.IN_TRANSIT)


def test_unknown_and_expired_are_set_by_no_scan() -> None:
    assert set(Status) - set(STATUS_OF.values()) == {Status.UNKNOWN, Status.EXPIRED}


def test_every_clock_is_started_by_some_scan() -> None:
    assert set(PHASE_OF.values()) == set(Phase)


@pytest.mark.parametrize(
    ("codes", "phases"),
    [
        (
            {code for code, status in STATUS_OF.items() if status is Status.PRE_TRANSIT},
            {Phase.ORDER_HANDLING},
        ),
        (
            {code for code, status in STATUS_OF.items() if status is Status.DELIVERED},
            {Phase.POST_DELIVERY},
        ),
        (HANDOVER_CODES, {Phase.FIRST_MILE}),
        (FACILITY_CODES, {Phase.LINEHAUL}),
        (ARRIVAL_CODES, {Phase.LAST_MILE, Phase.POST_DELIVERY}),
    ],
    ids=["before the carrier", "delivered", "hand-over", "facility", "arrival"],
)
def test_clock_and_status_agree(codes: set[EventCode], phases: set[Phase]) -> None:
    assert {PHASE_OF[code] for code in codes} == phases


def test_clocks_start_in_the_order_in_which_codes_are_declared() -> None:
    order = [list(Phase).index(PHASE_OF[code]) for code in EventCode if code in PHASE_OF]
    assert order == sorted(order)


def test_an_arrival_is_an_attempt_or_a_delivery() -> None:
    delivered = {code for code, status in STATUS_OF.items() if status is Status.DELIVERED}
    assert (
        delivered | {EventCode.DELIVERY_ATTEMPTED, EventCode.AVAILABLE_FOR_PICKUP} == ARRIVAL_CODES
    )
    assert delivered < FINAL_CODES


def test_the_wait_for_an_arrival_ends_with_it_or_without_it() -> None:
    assert not ABANDONED_CODES & ARRIVAL_CODES
    assert FINAL_CODES <= ABANDONED_CODES | ARRIVAL_CODES
    assert EventCode.LOST not in FINAL_CODES | ABANDONED_CODES, "a later scan revives a lost parcel"


def test_the_first_possession_and_the_first_facility_are_told_apart() -> None:
    assert not HANDOVER_CODES & FACILITY_CODES
    assert {STATUS_OF[code] for code in HANDOVER_CODES | FACILITY_CODES} == {Status.IN_TRANSIT}


def test_a_plain_delivery_is_no_exception() -> None:
    assert not EXCEPTION_CODES & {
        EventCode.DELIVERED,
        EventCode.PICKED_UP_BY_RECIPIENT,
        EventCode.AVAILABLE_FOR_PICKUP,
        EventCode.INFO,
    }


@pytest.mark.parametrize("table", [STATUS_OF, PHASE_OF])
def test_tables_of_words_cannot_be_edited(table: Mapping[EventCode, object]) -> None:
    with pytest.raises(TypeError):
        table[EventCode.INFO] = None  # type: ignore[index]  # that is what must fail
