"""Properties of the journey: later receipts, order, repetition and batches change nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eta.calendars.local_time import to_instant
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import (
    ABANDONED_CODES,
    ARRIVAL_CODES,
    DELIVERY_CODES,
    FAILED_DELIVERY_CODES,
    FINAL_CODES,
    STATUS_OF,
    EventCode,
    Status,
)
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffectHistory, PlaceEffects, PlaceEffectSource
from eta.journey.snapshots import training_snapshots
from eta.journey.state import STATUSES, AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from support.journeys import START, moments, scan, scans, shipment

SHIPMENTS = [shipment(number) for number in range(4)]


def states_and_features(
    events: Sequence[TrackingEvent],
    as_of: datetime,
    shipments: Sequence[Shipment] = SHIPMENTS,
    effect_source: Callable[[Timelines], PlaceEffectSource] = PlaceEffectHistory.from_timelines,
) -> tuple[States, Features]:
    timelines = Timelines.from_records(shipments, events)
    pairs = AsOfPairs.all_at(timelines, to_instant(as_of))
    return fold(timelines, pairs), features(timelines, pairs, effect_source(timelines))


def no_effects(_timelines: Timelines) -> PlaceEffectSource:
    """No other parcel has an effect."""
    return PlaceEffects()


def as_bytes(states: States, seen: Features) -> dict[str, bytes]:
    numbers = {f"number {name}": values.tobytes() for name, values in seen.numbers.items()}
    labels = {
        f"label {name}": repr(labels.texts().tolist()).encode()
        for name, labels in seen.categoricals.items()
    }
    state_bytes = {
        name: repr(values.texts().tolist()).encode()
        if isinstance(values, Categorical)
        else values.tobytes()
        for name, values in vars(states).items()
    }
    return {**state_bytes, **numbers, **labels, "local": seen.local_as_of.tobytes()}


@given(scans(4), moments, st.data())
@settings(max_examples=60, deadline=None)
def test_later_receipts_change_no_byte(
    events: list[TrackingEvent], as_of: datetime, data: st.DataObject
) -> None:
    received = [event for event in events if event.received_at <= as_of]
    # Whatever the future brings, and however early it claims to have happened.
    later = [
        replace(event, received_at=as_of + timedelta(hours=data.draw(st.integers(1, 99))))
        for event in data.draw(scans(4))
    ]
    assert as_bytes(*states_and_features(received, as_of)) == as_bytes(
        *states_and_features([*events, *later], as_of)
    )


@given(scans(4), moments, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_and_repetition_change_no_byte(
    events: list[TrackingEvent], as_of: datetime, random: object
) -> None:
    shuffled = [*events, *events[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert as_bytes(*states_and_features(shuffled, as_of)) == as_bytes(
        *states_and_features(events, as_of)
    )


@given(scans(4), moments)
@settings(max_examples=60, deadline=None)
def test_a_batch_equals_its_parts(events: list[TrackingEvent], as_of: datetime) -> None:
    states, seen = states_and_features(events, as_of, effect_source=no_effects)
    for row, one in enumerate(SHIPMENTS):
        shipment_events = [event for event in events if event.shipment_id == one.shipment_id]
        rows = np.array([row])
        assert as_bytes(
            *states_and_features(shipment_events, as_of, [one], no_effects)
        ) == as_bytes(states.take(rows), seen.take(rows))


@given(scans(3), moments)
@settings(max_examples=60, deadline=None)
def test_examples_of_a_day_equal_those_made_on_that_day(
    events: list[TrackingEvent], as_of: datetime
) -> None:
    def training_rows(received_events: list[TrackingEvent]) -> list[tuple[object, ...]]:
        timelines = Timelines.from_records(SHIPMENTS, received_events)
        training = examples(
            training_snapshots(timelines, to_instant(as_of)),
            Outcomes.at(timelines, to_instant(as_of)),
        )
        numbers = np.column_stack(list(training.features.numbers.values()))
        return list(
            zip(
                training.row,
                training.as_of,
                training.moment,
                training.duration_hours,
                training.event_observed,
                map(bytes, np.ascontiguousarray(numbers)),
                strict=True,
            )
        )

    assert training_rows(events) == training_rows(
        [event for event in events if event.received_at <= as_of]
    )


@given(scans(1), moments)
@settings(max_examples=60, deadline=None)
def test_the_fold_agrees_with_a_plain_reference(
    events: list[TrackingEvent], as_of: datetime
) -> None:
    codes = list(EventCode)
    received = sorted(
        {event.occurred_at: event for event in events if event.received_at <= as_of}.values(),
        key=lambda event: event.occurred_at,
    )
    status = Status.UNKNOWN
    for event in received:
        if event.event_code in STATUS_OF:
            status = STATUS_OF[event.event_code]
        if event.event_code in FINAL_CODES:
            break
    timelines = Timelines.from_records(SHIPMENTS[:1], received)
    folded = fold(timelines, AsOfPairs.all_at(timelines, to_instant(as_of)))
    assert STATUSES[folded.status[0]] is status
    assert folded.scan_count[0] == len(received)
    assert (
        codes[folded.last_code[0]] is received[-1].event_code
        if received
        else folded.last_code[0] == -1
    )


def first_attempt(events: Sequence[TrackingEvent]) -> datetime | None:
    """When delivery was first attempted, by a plain reading of events in order."""
    out: datetime | None = None
    for event in events:
        code, at = event.event_code, event.occurred_at
        if code in ABANDONED_CODES:
            return None
        if code in ARRIVAL_CODES or (out and code in FAILED_DELIVERY_CODES):
            return at
        if code is EventCode.OUT_FOR_DELIVERY:
            if out and at - out > timedelta(days=1):
                return out
            out = out or at
    return None


@given(scans(1), moments)
@settings(max_examples=200, deadline=None)
def test_attempts_and_deliveries_agree_with_a_plain_reference(
    events: list[TrackingEvent], as_of: datetime
) -> None:
    received = sorted(
        {event.occurred_at: event for event in events if event.received_at <= as_of}.values(),
        key=lambda event: event.occurred_at,
    )
    attempt = first_attempt(received)
    ends = [event for event in received if event.event_code in DELIVERY_CODES | ABANDONED_CODES]
    is_delivered = bool(ends) and ends[0].event_code in DELIVERY_CODES
    timelines = Timelines.from_records(SHIPMENTS[:1], received)
    folded = fold(timelines, AsOfPairs.all_at(timelines, to_instant(as_of)))
    expected = np.datetime64("NaT") if attempt is None else to_instant(attempt)
    np.testing.assert_array_equal(folded.arrived_at, [expected])
    delivered = to_instant(ends[0].occurred_at) if is_delivered else np.datetime64("NaT")
    np.testing.assert_array_equal(folded.delivered_at, [delivered])
    assert folded.is_undelivered[0] == (attempt is not None and not ends)


def state_after(*events: TrackingEvent, hours: float = 240.0) -> States:
    return states_and_features(events, START + timedelta(hours=hours), SHIPMENTS[:1])[0]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["order_created"], Status.PRE_TRANSIT),
        (["accepted", "held"], Status.ON_HOLD),
        (["accepted", "held", "sorted"], Status.IN_TRANSIT),
        (["delivered", "sorted"], Status.DELIVERED),
        (["cancelled", "delivered"], Status.CANCELLED),
        (["lost"], Status.LOST),
        (["lost", "sorted"], Status.IN_TRANSIT),
        (["out_for_delivery", "info"], Status.OUT_FOR_DELIVERY),
        (["delivery_attempted", "out_for_delivery"], Status.OUT_FOR_DELIVERY),
    ],
)
def test_a_status_follows_the_scans(codes: list[str], expected: Status) -> None:
    folded = state_after(*(scan(0, EventCode(code), hours) for hours, code in enumerate(codes)))
    assert STATUSES[folded.status[0]] is expected


def test_duplicate_scans_count_from_the_earliest_receipt() -> None:
    early, late = (
        scan(0, EventCode.ACCEPTED, 5, late_hours=1),
        scan(0, EventCode.ACCEPTED, 5, late_hours=9),
    )
    assert state_after(late, early, hours=7).scan_count[0] == 1
    assert state_after(late, early, hours=20).scan_count[0] == 1


def test_the_first_attempt_is_the_arrival() -> None:
    folded = state_after(
        scan(0, EventCode.DELIVERY_ATTEMPTED, 30), scan(0, EventCode.DELIVERED, 50)
    )
    assert folded.arrived_at[0] == to_instant(START + timedelta(hours=30))
    assert not folded.is_open[0]


def test_a_delivery_after_a_return_started_is_not_an_arrival() -> None:
    folded = state_after(scan(0, EventCode.RETURN_STARTED, 30), scan(0, EventCode.DELIVERED, 50))
    assert np.isnat(folded.arrived_at[0])
    assert not folded.is_open[0]


def test_a_facility_scan_is_the_handover_without_a_pickup_scan() -> None:
    assert state_after(scan(0, EventCode.SORTED, 12)).handed_over_at[0] == to_instant(
        START + timedelta(hours=12)
    )
    assert state_after(
        scan(0, EventCode.SORTED, 12), scan(0, EventCode.PICKED_UP, 14)
    ).handed_over_at[0] == to_instant(START + timedelta(hours=14))


def test_silence_snapshots_end_with_the_next_scan() -> None:
    timelines = Timelines.from_records(
        SHIPMENTS[:1],
        [
            scan(0, EventCode.ORDER_CREATED, 0),
            scan(0, EventCode.ACCEPTED, 40),
            scan(0, EventCode.DELIVERED, 400),
        ],
    )
    snapshots = training_snapshots(timelines, to_instant(START + timedelta(hours=600)))
    silent_hours = snapshots.features.numbers["silence_days"][snapshots.moment == "silence"] * 24
    assert (silent_hours < 360).all()
    assert snapshots.moment.tolist().count("purchase") == 1
    assert (np.diff(snapshots.pairs.as_of) > np.timedelta64(0)).all()


def test_a_country_without_a_region_is_a_place_of_its_own() -> None:
    _, seen = states_and_features([], START, [shipment(3)])
    assert seen.categoricals["destination"].texts().tolist() == ["JP"]
    assert seen.categoricals["lane"].texts().tolist() == ["BR-SP>JP"]
