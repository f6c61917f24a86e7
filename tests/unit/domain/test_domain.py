"""Shipments, events and the vocabulary."""

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


def test_a_shipment_needs_only_two_places_and_an_order_time() -> None:
    assert shipment().package_count == 1


@pytest.mark.parametrize("field", ["weight_kg", "length_cm", "width_cm", "height_cm"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_sizes_are_rejected_with_the_field(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: ") as error:
        shipment(**{field: value})
    assert error.value.field == field


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
def test_impossible_weights_prices_and_counts_are_rejected(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        shipment(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight_kg", MAX_WEIGHT_KG), ("weight_kg", 0.001), ("price", 0.0), ("package_count", 40)],
)
def test_values_at_the_limits_are_accepted(field: str, value: float) -> None:
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
def test_coordinates_out_of_range_are_rejected_with_the_field(field: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=f"^{field}: "):
        place(**{field: value})


@pytest.mark.parametrize(("latitude", "longitude"), [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0)])
def test_coordinates_at_the_limits_are_accepted(latitude: float, longitude: float) -> None:
    assert Place(country="BR", latitude=latitude, longitude=longitude).latitude == latitude


def test_an_order_time_without_an_offset_is_rejected() -> None:
    with pytest.raises(NaiveTime, match=r"^ordered_at: ") as error:
        shipment(ordered_at=NAIVE)
    assert error.value.field == "ordered_at"


@pytest.mark.parametrize("field", ["occurred_at", "received_at"])
def test_scan_times_without_an_offset_are_rejected_with_the_field(field: str) -> None:
    with pytest.raises(NaiveTime, match=f"^{field}: ") as error:
        event(**{field: NAIVE})
    assert error.value.field == field


@pytest.mark.parametrize(
    ("value", "field"), [(place(), "country"), (shipment(), "weight_kg"), (event(), "occurred_at")]
)
def test_domain_objects_are_immutable(value: object, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)


def test_an_error_message_defaults_to_the_docstring() -> None:
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
def test_enum_values_match_their_names_and_are_unique(words: type[StrEnum]) -> None:
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
def test_event_codes_set_the_specified_status(code: EventCode) -> None:
    assert STATUS_OF.get(code) is STATUS_BY_RULE.get(code.value, Status.IN_TRANSIT)


def test_no_event_code_sets_unknown_or_expired() -> None:
    assert set(Status) - set(STATUS_OF.values()) == {Status.UNKNOWN, Status.EXPIRED}


def test_every_phase_is_started_by_an_event_code() -> None:
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
def test_phase_and_status_agree(codes: set[EventCode], phases: set[Phase]) -> None:
    assert {PHASE_OF[code] for code in codes} == phases


def test_phases_start_in_the_order_of_event_codes() -> None:
    order = [list(Phase).index(PHASE_OF[code]) for code in EventCode if code in PHASE_OF]
    assert order == sorted(order)


def test_arrival_codes_are_attempts_and_deliveries() -> None:
    delivered = {code for code, status in STATUS_OF.items() if status is Status.DELIVERED}
    assert (
        delivered | {EventCode.DELIVERY_ATTEMPTED, EventCode.AVAILABLE_FOR_PICKUP} == ARRIVAL_CODES
    )
    assert delivered < FINAL_CODES


def test_arrival_and_abandoned_codes_are_disjoint() -> None:
    assert not ABANDONED_CODES & ARRIVAL_CODES
    assert FINAL_CODES <= ABANDONED_CODES | ARRIVAL_CODES
    assert EventCode.LOST not in FINAL_CODES | ABANDONED_CODES, "a later scan revives a lost parcel"


def test_handover_and_facility_codes_are_disjoint() -> None:
    assert not HANDOVER_CODES & FACILITY_CODES
    assert {STATUS_OF[code] for code in HANDOVER_CODES | FACILITY_CODES} == {Status.IN_TRANSIT}


def test_a_plain_delivery_is_not_an_exception() -> None:
    assert not EXCEPTION_CODES & {
        EventCode.DELIVERED,
        EventCode.PICKED_UP_BY_RECIPIENT,
        EventCode.AVAILABLE_FOR_PICKUP,
        EventCode.INFO,
    }


@pytest.mark.parametrize("table", [STATUS_OF, PHASE_OF])
def test_vocabulary_tables_are_read_only(table: Mapping[EventCode, object]) -> None:
    with pytest.raises(TypeError):
        table[EventCode.INFO] = None  # type: ignore[index]  # that is what must fail
