"""Delay flags: thresholds, precedence, reasons with evidence, and typical durations."""

from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.delays import DelayPolicy, Delays, FlagMemory, decide
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import EventCode
from eta.journey.categories import Categorical
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.stage_durations import DurationQuantiles, StageDurations
from support.journeys import START, scan, shipment

NOW = START + timedelta(hours=100)
DURATIONS = StageDurations(
    silence={"": DurationQuantiles(10, 48), "accepted": DurationQuantiles(20, 60)},
    handling=DurationQuantiles(24, 72),
    transit={"": DurationQuantiles(50, 90), "AT-9": DurationQuantiles(20, 40)},
)
POLICY = DelayPolicy()
YESTERDAY = to_instant(NOW - timedelta(days=1))


def flag(
    p_late: float,
    *codes_at: tuple[EventCode, float],
    was_expected_late: bool = False,
    memory: FlagMemory | None = None,
    promise_in_hours: float | None = 24.0,
    destination: str = "BR-SP",
) -> Delays:
    """The flag of one parcel with scans at so many hours before now."""
    memory = memory or FlagMemory.empty(1)
    if was_expected_late:
        memory.was_expected_late[:] = memory.is_raised[:] = True
        memory.first_flagged[:] = YESTERDAY.astype(np.int64)
    scans = [scan(0, code, 100 - hours_ago) for code, hours_ago in codes_at]
    timelines = Timelines.from_records([shipment(0)], scans)
    as_of = np.array([to_instant(NOW)])
    end = np.array(
        [
            np.datetime64("NaT")
            if promise_in_hours is None
            else to_instant(NOW + timedelta(hours=promise_in_hours))
        ],
        dtype="datetime64[us]",
    )
    return decide(
        np.array([np.nan if promise_in_hours is None else 1 - p_late]),
        fold(timelines, AsOfPairs.all_at(timelines, as_of[0])),
        as_of,
        Categorical.from_texts([destination]),
        DURATIONS,
        POLICY,
        promise_end=end,
        memory=memory,
    )


def on_its_way(hours_ago: float = 30.0) -> tuple[tuple[EventCode, float], ...]:
    return (EventCode.ORDER_CREATED, hours_ago + 10), (EventCode.ACCEPTED, hours_ago)


@pytest.mark.parametrize(
    ("p_late", "was_expected_late", "state"),
    [
        (0.10, False, "on_track"),
        (0.25, False, "at_risk"),
        (0.49, False, "at_risk"),
        (0.50, False, "predicted_late"),
        (0.40, True, "predicted_late"),
        (0.30, True, "predicted_late"),
        (0.29, True, "at_risk"),
        (0.10, True, "on_track"),
    ],
)
def test_a_flag_is_raised_at_one_threshold_and_withdrawn_at_a_lower(
    p_late: float, was_expected_late: bool, state: str
) -> None:
    decided = flag(p_late, *on_its_way(), was_expected_late=was_expected_late)
    assert decided.state.tolist() == [state]
    assert decided.is_raised.tolist() == [state == "predicted_late"]
    is_cleared = was_expected_late and state != "predicted_late"
    assert decided.cleared_at.tolist() == [NOW.replace(tzinfo=None) if is_cleared else None]
    first = YESTERDAY if was_expected_late else to_instant(NOW)
    is_flagged = was_expected_late or state == "predicted_late"
    assert decided.first_flagged_at.tolist() == [first.item() if is_flagged else None]
    assert decided.probability[0] == pytest.approx(p_late)


def test_a_parcel_past_its_promise_is_overdue_whatever_else() -> None:
    decided = flag(0.9, *on_its_way(hours_ago=80), promise_in_hours=-1)
    assert decided.state.tolist() == ["overdue"]
    assert decided.probability.tolist() == [1.0]


def test_a_promise_that_ends_now_has_passed() -> None:
    assert flag(0.9, *on_its_way(), promise_in_hours=0).state.tolist() == ["overdue"]


def test_a_long_silence_is_a_stall_with_its_evidence() -> None:
    decided = flag(0.1, *on_its_way(hours_ago=61))
    assert decided.state.tolist() == ["stalled"]
    assert (decided.reason_code[0], decided.reason_party[0], decided.evidence_kind[0]) == (
        "off_radar",
        "carrier",
        "silence",
    )
    assert (
        decided.observed_hours[0],
        decided.expected_p50_hours[0],
        decided.expected_upper_hours[0],
    ) == (61.0, 20.0, 60.0)


def test_a_silence_at_the_upper_hours_is_no_stall() -> None:
    assert flag(0.1, *on_its_way(hours_ago=60)).state.tolist() == ["on_track"]


def test_a_delay_before_the_handover_is_the_merchants() -> None:
    decided = flag(0.6, (EventCode.ORDER_CREATED, 40.0))
    assert (decided.reason_code[0], decided.reason_party[0], decided.evidence_kind[0]) == (
        "handover_delay",
        "merchant",
        "handling",
    )


def test_the_typical_transit_is_that_of_the_destination() -> None:
    here, elsewhere = (
        flag(0.6, *on_its_way(hours_ago=30), destination=place) for place in ("AT-9", "BR-SP")
    )
    assert (here.reason_code[0], here.expected_upper_hours[0]) == ("carrier_delay", 40.0)
    # Not slow by the durations of all: the promise was tight, and no party is responsible.
    assert (elsewhere.reason_code[0], elsewhere.reason_party[0], elsewhere.evidence_kind[0]) == (
        "unknown",
        "unknown",
        None,
    )


@pytest.mark.parametrize(
    ("p_late", "hours_ago", "state", "is_raised"),
    [
        (0.01, 61, "stalled", False),
        (POLICY.stalled_at - 0.01, 61, "stalled", False),
        (POLICY.stalled_at + 0.01, 61, "stalled", True),
        (POLICY.stalled_at + 0.01, 30, "at_risk", False),
        (0.5, 61, "stalled", True),
        (0.5, 30, "predicted_late", True),
    ],
)
def test_silence_raises_a_flag_only_with_a_chance_of_being_late(
    p_late: float, hours_ago: float, state: str, is_raised: bool
) -> None:
    decided = flag(p_late, *on_its_way(hours_ago=hours_ago))
    assert (decided.state.tolist(), decided.is_raised.tolist()) == ([state], [is_raised])
    assert np.isnat(decided.first_flagged_at[0]) == (not is_raised)


def test_a_scan_withdraws_the_flag_of_a_silent_parcel() -> None:
    memory = FlagMemory.empty(1)
    assert flag(0.46, *on_its_way(hours_ago=61), memory=memory).is_raised[0]
    decided = flag(0.46, *on_its_way(hours_ago=1), memory=memory)
    assert (decided.state[0], decided.is_raised[0]) == ("at_risk", False)
    assert decided.cleared_at[0] == decided.first_flagged_at[0] == to_instant(NOW)
    again = flag(0.6, *on_its_way(hours_ago=1), memory=memory)
    assert (again.is_raised[0], np.isnat(again.cleared_at[0])) == (True, True)


def test_an_overdue_parcel_was_flagged_at_the_end_of_the_promised_day() -> None:
    decided = flag(0.9, *on_its_way(), promise_in_hours=-5)
    assert decided.first_flagged_at[0] == to_instant(NOW - timedelta(hours=5))


def test_without_a_promise_no_flag_is_raised() -> None:
    assert flag(0.0, *on_its_way(), promise_in_hours=None).state.tolist() == ["on_track"]
    silent = flag(0.0, *on_its_way(hours_ago=70), promise_in_hours=None)
    assert (silent.state.tolist(), silent.is_raised.tolist()) == (["stalled"], [False])
    assert np.isnan(flag(0.0, *on_its_way(), promise_in_hours=None).probability[0])


def test_a_parcel_on_track_has_no_reason() -> None:
    decided = flag(0.1, *on_its_way())
    assert (decided.reason_code[0], decided.reason_party[0], decided.evidence_kind[0]) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "thresholds",
    [
        {"raise_at": 0.2},
        {"clear_at": 0.6},
        {"risk_at": 0.0},
        {"raise_at": 1.0},
        {"silence_level": 0.4},
        {"stalled_at": 0.0},
        {"stalled_at": 0.51},
    ],
)
def test_thresholds_out_of_order_are_rejected(thresholds: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=r"keep|choose"):
        DelayPolicy(**thresholds)


def durations_of(
    handover_hours: NDArray[np.float64], *, known_through_hours: float
) -> StageDurations:
    """Durations of parcels ordered at 0 and handed over after so many hours, as far as received."""
    shipments = [shipment(number) for number in range(len(handover_hours))]
    scans = [scan(number, EventCode.ORDER_CREATED, 0) for number in range(len(handover_hours))]
    scans += [
        scan(number, EventCode.ACCEPTED, hours) for number, hours in enumerate(handover_hours)
    ]
    timelines = Timelines.from_records(shipments, scans)
    through = to_instant(START + timedelta(hours=known_through_hours))
    return StageDurations.fit(
        timelines,
        fold(timelines, AsOfPairs.all_at(timelines, through)),
        through,
        level=0.95,
        at_least=10,
    )


def test_typical_durations_are_quantiles_of_the_parcels() -> None:
    durations = durations_of(np.arange(1.0, 101.0), known_through_hours=500)
    assert durations.handling == DurationQuantiles(50.0, 95.0)
    assert durations.silence["order_created"] == DurationQuantiles(50.0, 95.0)


def test_parcels_still_silent_are_censored_at_their_silence() -> None:
    # Of a hundred only the fifty fastest have a handover: the median is observed, the 95 % not.
    durations = durations_of(np.arange(1.0, 101.0), known_through_hours=50.5)
    assert durations.silence["order_created"] == DurationQuantiles(50.0, np.inf)


def test_typical_durations_survive_as_json() -> None:
    durations = durations_of(np.arange(1.0, 101.0), known_through_hours=50.5)
    assert StageDurations.from_json(durations.to_json()) == durations
