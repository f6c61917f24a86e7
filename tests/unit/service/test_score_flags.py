"""The flag of a parcel that is sent whole: its times come from the week before the moment."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from eta.delays import DelayPolicy
from eta.domain.vocabulary import EventCode
from eta.model.bundle import Predictor
from eta.service.scoring.assessment import AssessmentOptions, DelayAssessment
from eta.service.scoring.score_shipments import score_shipments
from support.journeys import START, scan, shipment
from support.model_app import fixed

MODEL = fixed(400).predictor
TOO_FEW = fixed(16).predictor


def delay(
    at_hours: float,
    promised_on: date,
    *scans: float,
    served: Predictor | None = MODEL,
    stalled_at: float = DelayPolicy.stalled_at,
) -> DelayAssessment:
    """The delay of a parcel that is scanned at so many hours after its order.

    The fixed model expects half of all parcels within 96 hours of any moment, and 85 % within 240.
    A silence of more than 150 hours is too long.
    """
    events = [scan(0, EventCode.ORDER_CREATED, 0)]
    events += [scan(0, EventCode.SORTED, hours) for hours in scans]
    [assessment] = score_shipments(
        [shipment(0, promised_on=promised_on)],
        events,
        served,
        at(at_hours),
        policy=DelayPolicy(stalled_at=stalled_at),
        options=AssessmentOptions(),
    )
    return assessment.delay


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("at_hours", "state", "first_flagged_hours"),
    [
        # The promise ends after 191 hours, in Vienna; from 95 hours on it is expected to be missed.
        (90, "at_risk", None),
        (100, "predicted_late", 100),
        (150, "predicted_late", 102),
        (200, "overdue", 104),
        # Raised seven days before already: since when is unknown.
        (264, "overdue", None),
    ],
)
def test_a_flag_is_as_old_as_the_week_before_shows(
    at_hours: float, state: str, first_flagged_hours: float | None
) -> None:
    decided = delay(at_hours, date(2026, 3, 8), 0, at_hours - 1)
    assert (decided.state, decided.flag.is_raised) == (state, state != "at_risk")
    first = None if first_flagged_hours is None else at(first_flagged_hours)
    assert (decided.flag.first_flagged_at, decided.flag.cleared_at) == (first, None)


def test_a_withdrawn_flag_has_both_times() -> None:
    # The promise ends after 287 hours. P(late) is 0.415 after 156 hours of silence.
    silent = delay(156, date(2026, 3, 12), stalled_at=0.4)
    assert (silent.state, silent.flag.is_raised) == ("stalled", True)
    # 24 hours later it is 0.473, but the parcel has been scanned.
    decided = delay(180, date(2026, 3, 12), 165, stalled_at=0.4)
    assert decided.state == "at_risk"
    assert not decided.flag.is_raised
    assert decided.flag.first_flagged_at == at(156)
    assert decided.flag.cleared_at == at(180)
    assert not delay(156, date(2026, 3, 12), stalled_at=0.42).flag.is_raised


@pytest.mark.parametrize("served", [MODEL, TOO_FEW])
def test_silence_alone_warns_nobody(served: Predictor | None) -> None:
    # The promise ends in May: P(late) is the 5 % that never arrive, or unknown.
    decided = delay(200, date(2026, 5, 8), served=served)
    assert decided.state == "stalled"
    assert (decided.reason_code, decided.evidence_kind) == ("handover_delay", "silence")
    assert decided.flag == type(decided.flag)()


@pytest.mark.parametrize("served", [None, TOO_FEW])
def test_without_a_probability_a_flag_is_raised_at_the_promise(served: Predictor | None) -> None:
    decided = delay(240, date(2026, 3, 8), 239, served=served)
    assert (decided.state, decided.flag.is_raised) == ("overdue", True)
    assert decided.flag.first_flagged_at == at(191)
