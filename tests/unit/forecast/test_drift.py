"""Drift: estimated from recent days, and from nothing else."""

from copy import copy
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, to_instant
from eta.forecast.drift.estimate import (
    AGE_CLASSES,
    DAILY_DECAY,
    HALF_LIVES_DAYS,
    HISTORY_DAYS,
    MAX_LOG_RATE_RATIO,
    VARIANCE,
    DailyExpectation,
    Drift,
    ObservedExpected,
    estimate_baseline_ratio,
    estimate_drift,
)
from eta.forecast.drift.tracker import (
    DriftTracker,
    OpenParcelCache,
    SupportsDrift,
    reporting_delay_cdf,
)
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.non_arrival import NonArrival
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes, examples
from eta.journey.features import features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import snapshots_open_at, training_snapshots
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, parcels

NOW = np.datetime64("2026-03-01", "us")
AS_EXPECTED = np.ones(len(AGE_CLASSES))
FRESH, STUCK = AGE_CLASSES.index("fresh"), AGE_CLASSES.index("stuck")


def days(
    ratio: float,
    *,
    expected: float = 100.0,
    age: int = FRESH,
    carrier: str | None = "a",
    count: int = HISTORY_DAYS,
) -> list[ObservedExpected]:
    """Days with so many observed arrivals for each expected one."""
    labels = {
        "carrier": Categorical.from_texts([carrier]),
        "destination": Categorical.from_texts(["x"]),
    }
    return [
        ObservedExpected(
            NOW - number * DAY,
            np.array([age]),
            labels,
            np.array([ratio * expected]),
            np.array([expected]),
        )
        for number in range(count, 0, -1)
    ]


def received_at_once(ago: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(ago)


def log_rate_ratio(
    drift: Drift, age: int, carrier: str | None = "a", *, at: np.datetime64 = NOW
) -> float:
    return float(
        drift.at(
            {
                "carrier": Categorical.from_texts([carrier]),
                "destination": Categorical.from_texts(["x"]),
            },
            np.array([at]),
        )[0, age]
    )


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5])
def test_drift_with_much_evidence_is_log_observed_over_expected(ratio: float) -> None:
    drift = estimate_drift(days(ratio, expected=1e5), NOW, received_at_once, AS_EXPECTED)
    assert log_rate_ratio(drift, FRESH) == pytest.approx(np.log(ratio), abs=0.01)


def test_drift_with_little_evidence_is_small() -> None:
    little, much = (
        log_rate_ratio(
            estimate_drift(days(0.5, expected=size), NOW, received_at_once, AS_EXPECTED), FRESH
        )
        for size in (0.01, 100.0)
    )
    assert -0.05 < little < 0.0
    assert much < 10 * little


def test_drift_without_evidence_is_zero_with_infinite_error() -> None:
    drift = estimate_drift([], NOW, received_at_once, AS_EXPECTED)
    assert log_rate_ratio(drift, FRESH) == 0.0
    assert np.isinf(drift.error).all()


def test_recent_days_count_more() -> None:
    slow_then_fast = [*days(0.5)[:16], *days(1.5)[16:]]
    assert (
        log_rate_ratio(estimate_drift(slow_then_fast, NOW, received_at_once, AS_EXPECTED), FRESH)
        > 0.0
    )


@pytest.mark.parametrize(
    ("expected", "changed_days", "least", "most"),
    [(300.0, 3, 0.5, 1.0), (300.0, 1, 0.0, 0.2), (3.0, 3, 0.0, 0.2)],
)
def test_drift_follows_a_changed_network_within_days_but_not_chance(
    expected: float, changed_days: int, least: float, most: float
) -> None:
    """The share of a change, in logs, that is estimated.

    For a lasting change, one bad day, and a few parcels that were slow for a while.
    """
    comparisons = [
        *days(1.0, expected=expected)[:-changed_days],
        *days(0.5, expected=expected)[-changed_days:],
    ]
    assert (
        least
        <= log_rate_ratio(estimate_drift(comparisons, NOW, received_at_once, AS_EXPECTED), FRESH)
        / np.log(0.5)
        <= most
    )


def test_ordinary_variation_between_days_is_forgotten_slowly() -> None:
    ratios = np.exp(0.15 * np.random.default_rng(4).standard_normal(HISTORY_DAYS))
    uneven = [days(ratio, expected=1e4)[number] for number, ratio in enumerate(ratios)]
    weights = 0.5 ** (np.arange(HISTORY_DAYS)[::-1] / HALF_LIVES_DAYS[0])
    assert log_rate_ratio(
        estimate_drift(uneven, NOW, received_at_once, AS_EXPECTED), FRESH
    ) == pytest.approx(np.log(weights @ ratios / weights.sum()), abs=0.02)


def test_stuck_parcels_hardly_affect_moving_ones() -> None:
    drift = estimate_drift(
        [*days(0.2, age=STUCK), *days(1.0, age=FRESH)], NOW, received_at_once, AS_EXPECTED
    )
    assert log_rate_ratio(drift, STUCK) < -0.5
    assert log_rate_ratio(drift, FRESH) == pytest.approx(0.0, abs=0.05)


def test_drift_of_one_carrier_does_not_spread_to_others() -> None:
    drift = estimate_drift(
        [*days(0.6, carrier="a"), *days(1.0, carrier="b", expected=5000.0)],
        NOW,
        received_at_once,
        AS_EXPECTED,
    )
    assert log_rate_ratio(drift, FRESH, "a") < -0.3
    assert log_rate_ratio(drift, FRESH, "b") == pytest.approx(0.0, abs=0.03)
    # An unknown carrier has the level of all.
    assert log_rate_ratio(drift, FRESH, "c") == pytest.approx(0.0, abs=0.03)


def test_missing_carrier_has_no_own_level() -> None:
    drift = estimate_drift(
        days(0.5, carrier=None, expected=1e5), NOW, received_at_once, AS_EXPECTED
    )
    assert drift.groups["carrier"] == {}
    # All the evidence is in the levels that all parcels share.
    assert log_rate_ratio(drift, FRESH, None) == pytest.approx(np.log(0.5), abs=0.01)


def test_constant_error_of_a_model_is_no_drift() -> None:
    baseline_ratio = estimate_baseline_ratio(days(0.8, expected=1e6, count=10))
    assert baseline_ratio[FRESH] == pytest.approx(0.8, abs=0.001)
    assert log_rate_ratio(
        estimate_drift(days(0.8, expected=1e5), NOW, received_at_once, baseline_ratio), FRESH
    ) == pytest.approx(0.0, abs=0.01)


def test_arrivals_not_yet_received_are_no_drift() -> None:
    assert log_rate_ratio(
        estimate_drift(days(0.5), NOW, lambda ago: np.full_like(ago, 0.5), AS_EXPECTED), FRESH
    ) == pytest.approx(0.0, abs=0.01)


def test_drift_is_capped() -> None:
    assert (
        log_rate_ratio(
            estimate_drift(days(50.0, expected=1e5), NOW, received_at_once, AS_EXPECTED), FRESH
        )
        == MAX_LOG_RATE_RATIO
    )


def test_outdated_drift_fades_day_by_day() -> None:
    drift = estimate_drift(days(0.5), NOW, received_at_once, AS_EXPECTED)
    now, tomorrow, later = (
        log_rate_ratio(drift, FRESH, at=NOW + number * DAY) for number in (0, 1, 60)
    )
    assert log_rate_ratio(drift, FRESH, at=NOW + np.timedelta64(23, "h")) == now
    assert now < tomorrow < later < 0.0
    assert tomorrow == pytest.approx(DAILY_DECAY[FRESH] * now)


def test_standard_error_starts_at_prior_and_shrinks_with_evidence() -> None:
    errors = [
        estimate_drift(days(1.0, expected=size), NOW, received_at_once, AS_EXPECTED).error[FRESH]
        for size in (1e-9, 1.0, 1e4)
    ]
    assert errors[0] == pytest.approx(np.sqrt(2 * VARIANCE))
    assert errors[0] > errors[1] > errors[2]


def test_drift_json_round_trip() -> None:
    drift = estimate_drift(days(0.7), NOW, received_at_once, AS_EXPECTED)
    back = Drift.from_json(drift.to_json())
    assert back.to_json() == drift.to_json()
    assert log_rate_ratio(back, FRESH) == log_rate_ratio(drift, FRESH)
    assert np.isinf(Drift.from_json(Drift.identity().to_json()).error).all()


def test_expected_arrivals_end_at_the_arrival() -> None:
    start = np.datetime64("2026-03-01", "us")
    hazards = np.tile([0.0, 0.6, 1.2, 1.8, 2.4], (2, 1))
    labels = {name: Categorical.from_texts(["x"] * 2) for name in ("carrier", "destination")}
    expectation = DailyExpectation(
        start, start + DAY, np.arange(2), np.array([0, 1]), labels, hazards
    )
    comparison = expectation.compare(
        Outcomes(
            start + 9 * DAY, np.array([start + np.timedelta64(3, "h"), np.datetime64("NaT", "us")])
        )
    )
    assert comparison.observed.tolist() == [1.0, 0.0]
    assert comparison.expected.tolist() == pytest.approx([0.3, 2.4])


def test_reporting_delay_cdf_follows_the_delay_of_scans() -> None:
    shipments, events = parcels(400, days=60)
    events["received_at"] = events["occurred_at"] + timedelta(hours=36)
    timelines = Timelines.from_frames(shipments, events)
    reporting_cdf = reporting_delay_cdf(timelines, to_instant(START + timedelta(days=60)))
    assert reporting_cdf(np.array([0.0, 1.0, 2.0])).tolist() == pytest.approx([0.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def world() -> tuple[Timelines, HazardModel]:
    timelines = Timelines.from_frames(*parcels(4000, days=120))
    instant = to_instant(START + timedelta(days=60))
    return timelines, HazardModel(trees=20, leaves=6, leaf_rows=40).fit(
        examples(training_snapshots(timelines, instant), Outcomes.at(timelines, instant))
    )


def slowed(timelines: Timelines, since: np.datetime64, factor: float) -> Timelines:
    """The same parcels, with all events after a day taking ``factor`` times as long."""
    times = [
        np.where(values > since, since + (values - since) * factor, values)
        for values in (timelines.occurred_at, timelines.received_at)
    ]
    return replace(timelines, occurred_at=times[0], received_at=times[1])


def track(timelines: Timelines, model: SupportsDrift, day: int) -> Drift:
    """The drift at a day, beyond the model's constant error at its fit."""
    tracker = DriftTracker(model, OpenParcelCache(timelines))
    return [
        tracker.drift(Outcomes.at(timelines, to_instant(START + timedelta(days=number))))
        for number in (60, day)
    ][-1]


def test_steady_network_has_no_drift_and_a_slow_one_has(
    world: tuple[Timelines, HazardModel],
) -> None:
    timelines, model = world
    steady = track(timelines, model, 80)
    slow = track(slowed(timelines, to_instant(START + timedelta(days=60)), 2.0), model, 80)
    assert (np.abs(steady.log_rate_ratio[:2]) < 2 * steady.error[:2]).all()
    assert (slow.log_rate_ratio[:2] < -3 * slow.error[:2]).all()


def test_curves_are_later_in_a_slow_network(world: tuple[Timelines, HazardModel]) -> None:
    timelines, model = world
    open_features = features(
        timelines,
        AsOfPairs.all_at(timelines, to_instant(START + timedelta(days=80))),
        PlaceEffects(),
    )
    before = model.predict_curves(open_features).quantile(0.5)
    model = model.with_drift(
        track(slowed(timelines, to_instant(START + timedelta(days=60)), 2.0), model, 80)
    )
    assert (model.predict_curves(open_features).quantile(0.5) > before).mean() > 0.95


def test_drift_does_not_depend_on_later_events(world: tuple[Timelines, HazardModel]) -> None:
    timelines, model = world
    shipments, events = parcels(4000, days=120)
    instant = to_instant(START + timedelta(days=80))
    later = events["received_at"] > START + timedelta(days=80)
    blanked = Timelines.from_frames(shipments, events[~later])
    drifts = [
        DriftTracker(model, OpenParcelCache(source)).drift(Outcomes.at(source, instant)).to_json()
        for source in (timelines, blanked)
    ]
    assert drifts[0] == drifts[1]


def test_silent_feed_has_no_drift(
    world: tuple[Timelines, HazardModel],
) -> None:
    timelines, model = world
    end = int((timelines.received_at.max() - to_instant(START)) / DAY)
    assert np.abs(track(timelines, model, end).log_rate_ratio).max() > 0.0
    assert not track(timelines, model, end + 5).log_rate_ratio.any()


def test_parcel_has_the_same_age_class_in_scoring_and_tracking(
    world: tuple[Timelines, HazardModel],
) -> None:
    timelines, model = world[0], copy(world[1])
    # Those who never arrive stay about as many: what comes later would move what comes now.
    model.non_arrival_ = NonArrival.identity()
    instant = to_instant(START + timedelta(days=80))
    expectation = model.expected_arrivals(
        snapshots_open_at(timelines, instant, 10_000), instant + DAY
    )
    open_features = features(
        timelines,
        AsOfPairs(expectation.row, np.full(len(expectation.row), instant)),
        PlaceEffects(),
    )
    before = model.predict_curves(open_features).cdf[:, 1]
    for age in range(len(AGE_CLASSES)):
        only = np.where(np.arange(len(AGE_CLASSES)) == age, 0.5, 0.0)
        model = model.with_drift(replace(Drift.identity(instant), log_rate_ratio=only))
        changed = model.predict_curves(open_features).cdf[:, 1] != before
        # Within six hours hardly any parcel grows into another age.
        assert (changed == (expectation.age == age)).mean() > 0.95


def test_tracker_advanced_daily_equals_a_new_one(
    world: tuple[Timelines, HazardModel],
) -> None:
    timelines, model = world
    going = DriftTracker(model, OpenParcelCache(timelines))
    for day in (60, 77, 78, 79, 80):
        drift = going.drift(Outcomes.at(timelines, to_instant(START + timedelta(days=day))))
    assert drift.to_json() == track(timelines, model, 80).to_json()
