"""Live answers after a delivery attempt: no date until the parcel is delivered."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from eta.calendars.local_time import to_instant
from eta.delays import DelayPolicy
from eta.domain.vocabulary import EventCode
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle
from eta.service.scoring.assessment import Assessment, AssessmentOptions, DelayAssessment
from eta.service.scoring.score_dataset import score_dataset
from eta.service.scoring.score_shipments import score_shipments
from support.journeys import START, scan, shipment
from support.model_app import fixed

#: The parcel is ordered at midnight on 1 March 2026 (UTC) in Vienna, and promised for 8 March.
PROMISED_ON = date(2026, 3, 8)
OUT, ATTEMPT = ("out_for_delivery", 79.0), ("delivery_attempted", 82.0)
LATE_OUT, LATE_ATTEMPT = ("out_for_delivery", 199.0), ("delivery_attempted", 202.0)


def assess(*events: tuple[str, float], at_hours: float = 240.0) -> Assessment:
    """The assessment of a parcel with events at so many hours after its order."""
    journey = [("order_created", 0.0), ("accepted", 10.0), *events]
    scans = [scan(0, EventCode(code), hours) for code, hours in journey]
    [assessment] = score_shipments(
        [shipment(0, promised_on=PROMISED_ON)],
        scans,
        fixed(400).predictor,
        START + timedelta(hours=at_hours),
        policy=DelayPolicy(),
        options=AssessmentOptions(),
    )
    return assessment


@pytest.mark.parametrize(
    ("events", "status", "code"),
    [
        ([OUT, ATTEMPT], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT, ("delivery_attempted", 106.0)], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT, ("redirected", 90.0)], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT, ("delivery_rescheduled", 90.0)], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT, ("info", 90.0)], "delivery_attempted", "delivery_attempted"),
        ([ATTEMPT, ("arrived_at_delivery_depot", 90.0)], "in_transit", "delivery_attempted"),
        ([ATTEMPT, ("out_for_delivery", 103.0)], "out_for_delivery", "delivery_attempted"),
        ([ATTEMPT, ("held", 90.0)], "on_hold", "delivery_attempted"),
        ([ATTEMPT, ("lost", 200.0)], "lost", "delivery_attempted"),
        ([OUT, ("held", 82.0)], "on_hold", "delivery_attempted"),
        ([OUT, ("damaged", 82.0)], "out_for_delivery", "delivery_attempted"),
        ([OUT, ("delivery_rescheduled", 82.0)], "out_for_delivery", "delivery_attempted"),
        ([OUT, ("out_for_delivery", 104.0)], "out_for_delivery", "delivery_attempted"),
        ([("available_for_pickup", 82.0)], "available_for_pickup", "available_for_pickup"),
        ([ATTEMPT, ("available_for_pickup", 99.0)], "available_for_pickup", "available_for_pickup"),
        ([ATTEMPT, ("return_started", 99.0)], "return_to_sender", "no_arrival_expected"),
        (
            [ATTEMPT, ("return_started", 99.0), ("sorted", 110.0)],
            "in_transit",
            "no_arrival_expected",
        ),
        ([ATTEMPT, ("return_delivered", 150.0)], "return_to_sender", "no_arrival_expected"),
        ([ATTEMPT, ("cancelled", 150.0)], "cancelled", "no_arrival_expected"),
        (
            [ATTEMPT, ("return_started", 99.0), ("delivered", 150.0)],
            "delivered",
            "no_arrival_expected",
        ),
    ],
)
def test_an_attempted_parcel_has_no_date_and_no_on_time_claim(
    events: list[tuple[str, float]], status: str, code: str
) -> None:
    assessment = assess(*events)
    if events[0] == OUT and len(events) == 2 and events[1][0] == "out_for_delivery":
        # 25 hours later: sent out once more on the next day.
        assert assessment.first_attempt_on == date(2026, 3, 4)
    assert (assessment.status, assessment.code) == (status, code)
    dates = (assessment.earliest_on, assessment.estimated_on, assessment.latest_on)
    assert dates == (None, None, None)
    assert set(assessment.days_left.values()) == {None}
    assert (assessment.confidence, assessment.on_time_probability) == (None, None)
    assert assessment.delay == DelayAssessment()
    assert assessment.first_attempt_on == date(2026, 3, 4)
    assert assessment.promise_on == PROMISED_ON


@pytest.mark.parametrize(
    "events",
    [
        [OUT],
        [OUT, ("out_for_delivery", 80.0)],
        [OUT, ("out_for_delivery", 103.0)],
        [OUT, ("info", 82.0)],
        [("held", 60.0), OUT],
        [("delivery_rescheduled", 60.0), OUT],
        [("damaged", 60.0), ("sorted", 61.0)],
    ],
)
def test_a_parcel_without_an_attempt_is_forecast(events: list[tuple[str, float]]) -> None:
    assessment = assess(*events, at_hours=110.0)
    assert (assessment.code, assessment.first_attempt_on) == ("ok", None)
    assert assessment.estimated_on is not None


@pytest.mark.parametrize(
    ("events", "delivered_on", "first_attempt_on", "state"),
    [
        ([("delivered", 82.0)], date(2026, 3, 4), date(2026, 3, 4), "on_track"),
        # The first attempt was in time, the delivery after the promise: not late.
        ([ATTEMPT, ("delivered", 220.0)], date(2026, 3, 10), date(2026, 3, 4), "on_track"),
        (
            [OUT, ("held", 82.0), ("delivered", 220.0)],
            date(2026, 3, 10),
            date(2026, 3, 4),
            "on_track",
        ),
        (
            [OUT, ("out_for_delivery", 218.0), ("delivered", 220.0)],
            date(2026, 3, 10),
            date(2026, 3, 4),
            "on_track",
        ),
        (
            [("available_for_pickup", 82.0), ("picked_up_by_recipient", 220.0)],
            date(2026, 3, 10),
            date(2026, 3, 4),
            "on_track",
        ),
        (
            [LATE_OUT, LATE_ATTEMPT, ("delivered", 226.0)],
            date(2026, 3, 10),
            date(2026, 3, 9),
            "delivered_late",
        ),
    ],
)
def test_a_delivery_after_an_attempt_has_its_own_date(
    events: list[tuple[str, float]], delivered_on: date, first_attempt_on: date, state: str
) -> None:
    assessment = assess(*events)
    assert (assessment.status, assessment.code) == ("delivered", "arrived")
    assert assessment.estimated_on == assessment.latest_on == delivered_on
    assert assessment.first_attempt_on == first_attempt_on
    assert assessment.delay.state == state
    assert assessment.on_time_probability == (0.0 if state == "delivered_late" else 1.0)


def test_what_is_received_later_does_not_make_an_attempt() -> None:
    later = ("out_for_delivery", 104.0)
    assert assess(OUT, later, at_hours=103.9).code == "ok"
    assert assess(OUT, later, at_hours=104.0).code == "delivery_attempted"


def test_a_table_lists_undelivered_parcels_without_dates() -> None:
    ends = ("sorted", "delivery_attempted", "available_for_pickup", "delivered", "return_started")
    scans = []
    for number, end in enumerate(ends):
        for code, hours in (("order_created", 0.0), ("delivery_attempted", 82.0), (end, 90.0)):
            if not (end == "sorted" and code == "delivery_attempted"):
                scans.append(scan(number, EventCode(code), hours))
    shipments = [shipment(number, promised_on=PROMISED_ON) for number in range(len(ends))]
    model = fixed(400).predictor
    assert isinstance(model, ModelBundle)
    at = to_instant(START + timedelta(hours=110))
    scored = score_dataset(
        Timelines.from_records(shipments, scans), model, at, policy=DelayPolicy()
    )
    table = scored.on_the_way().set_index("shipment_id")
    assert table["status"].to_dict() == {
        "s000": "in_transit",
        "s001": "delivery_attempted",
        "s002": "available_for_pickup",
    }
    attempted = table.loc[["s001", "s002"]]
    empty = ["earliest_on", "latest_on", "estimated_on", "on_time_probability", "delay_state"]
    assert attempted[[*empty, "delay_probability"]].isna().to_numpy().all()
    assert attempted["promised_on"].tolist() == [PROMISED_ON, PROMISED_ON]
    assert table["estimated_on"].notna().tolist() == [True, False, False]
    assert len(scored.in_flight) == 1
    weeks_later = at + np.timedelta64(70, "D")
    later = score_dataset(
        Timelines.from_records(shipments, scans), model, weeks_later, policy=DelayPolicy()
    )
    assert later.undelivered.empty
    assert later.on_the_way().empty
