"""Ranges are judged by segment: those that do not hold are listed, none is averaged away."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from eta.evaluation.confidence_intervals import exact_interval, week_bootstrap
from eta.evaluation.coverage import ALL, RANGES, WEEK, SegmentParcels, failing, judge
from eta.evaluation.metrics import share_within

Frame = pd.DataFrame


def parcels(
    transform: np.ndarray, *, week: np.ndarray | None = None, parcel: np.ndarray | None = None
) -> Frame:
    """Parcels that arrived as forecast; dates cover the same parcels as hours."""
    held = {
        f"held_{level}": share_within(transform, transform, 0.5 - level / 200, 0.5 + level / 200)
        for level in (80, 90)
    }
    return Frame(
        {
            "parcel": np.arange(len(transform)) if parcel is None else parcel,
            "arrived": True,
            "week": np.arange(len(transform)) % 26 if week is None else week,
            **held,
            "held_dates_80": held["held_80"],
        }
    )


def held(share: float, count: int) -> Frame:
    """Parcels of which each range covers a share."""
    return parcels(np.where(np.arange(count) < round(share * count), 0.5, 0.0))


def verdicts(parts: list[SegmentParcels], **options: Any) -> list[tuple[str, str, str]]:
    rows = [
        {
            "model": "eta",
            "moment": "purchase",
            "segment": part.segment,
            "value": part.value,
            "n": len(part.parcels),
            "n_censored": 0,
            **row,
        }
        for part, row in zip(parts, judge(parts, **options), strict=True)
    ]
    return [(entry["segment"], entry["value"], entry["range"]) for entry in failing(rows)]


def test_the_exact_interval_of_none_and_of_all_has_its_closed_form() -> None:
    # The share p at which (1 - p)^n is 0.025.
    assert exact_interval(0, 20) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    assert exact_interval(20, 20) == pytest.approx((0.025 ** (1 / 20), 1.0))
    assert exact_interval(0, 0) == (None, None)


@pytest.mark.parametrize("count", [30, 500])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_the_exact_interval_agrees_with_the_binomial_band(count: int, confidence: float) -> None:
    first, last = binom.interval(confidence, count, 0.8)
    for hits in range(count + 1):
        low, high = exact_interval(hits, count, confidence=confidence)
        assert low is not None
        assert high is not None
        assert (low <= 0.8 <= high) == (first <= hits <= last)


def test_the_bootstrap_resamples_weeks() -> None:
    # Two weeks, one all hits and one all misses: drawing weeks gives 0, 1/2 or 1, drawing orders
    # never would.
    low, high = week_bootstrap(np.array([50.0, 0.0]), np.array([50.0, 50.0]), seed=0)
    assert (low, high) == (0.0, 1.0)
    assert week_bootstrap(np.array([5.0]), np.array([9.0]), seed=0) == (None, None)


def test_a_segment_that_fails_is_not_averaged_away() -> None:
    good, bad = held(0.85, 9_000), held(0.70, 1_000)
    whole = pd.concat([good, bad], ignore_index=True).assign(parcel=np.arange(10_000))
    parts = [
        SegmentParcels(ALL, ALL, whole),
        SegmentParcels("carrier", "good", good),
        SegmentParcels("carrier", "bad", bad),
    ]
    (row, *_) = judge(parts, is_simulated=True)
    assert row["coverage_censored_80"] == pytest.approx(0.835)
    failures = verdicts(
        [SegmentParcels(ALL, ALL, held(0.80, 10_000)), *parts[1:]], is_simulated=True
    )
    assert ("carrier", "bad", "80") in failures
    assert (ALL, ALL, "80") not in failures


def test_the_largest_deviation_comes_first() -> None:
    parts = [
        SegmentParcels("carrier", name, held(share, 5_000))
        for name, share in (("near", 0.76), ("far", 0.60), ("wide", 0.95))
    ]
    rows = [
        {
            "model": "eta",
            "moment": "purchase",
            "segment": "carrier",
            "value": part.value,
            "n": 5_000,
            "n_censored": 0,
            **row,
        }
        for part, row in zip(parts, judge(parts, is_simulated=True), strict=True)
    ]
    listed = [entry["value"] for entry in failing(rows) if entry["range"] == "80"]
    assert listed == ["far", "wide", "near"]
    (entry,) = (
        entry for entry in failing(rows) if (entry["value"], entry["range"]) == ("wide", "80")
    )
    assert (entry["level"], entry["coverage"]) == (0.8, 0.95)
    assert entry["low"] > 0.8


def test_dates_may_cover_more_but_not_less() -> None:
    parts = [
        SegmentParcels("carrier", "more", held(0.95, 2_000)),
        SegmentParcels("carrier", "less", held(0.70, 2_000)),
    ]
    assert [
        value for _, value, name in verdicts(parts, is_simulated=True) if name == "dates_80"
    ] == ["less"]


@pytest.mark.parametrize(
    ("part", "is_simulated"),
    [
        (SegmentParcels("carrier", "post", held(0.3, 499)), True),
        (SegmentParcels(WEEK, "2025-09-01", held(0.3, 5_000)), True),
        (
            SegmentParcels("carrier", "post", parcels(np.zeros(5_000), week=np.arange(5_000) % 7)),
            False,
        ),
        (SegmentParcels("carrier", "post", parcels(np.zeros(99))), False),
    ],
    ids=["few parcels", "a week", "few weeks", "few parcels of real data"],
)
def test_too_few_parcels_are_not_judged(part: SegmentParcels, is_simulated: bool) -> None:
    (_, row) = judge([SegmentParcels(ALL, ALL, held(0.8, 9_000)), part], is_simulated=is_simulated)
    assert {row[f"holds_{nominal.name}"] for nominal in RANGES} == {None}
    assert row["coverage_censored_80"] < 0.5


def test_a_segment_that_is_all_of_the_moment_is_judged_once() -> None:
    bad = held(0.5, 1_000)
    assert {
        segment
        for segment, _, _ in verdicts(
            [SegmentParcels(ALL, ALL, bad), SegmentParcels("phase", "order_handling", bad)],
            is_simulated=True,
        )
    } == {ALL}


def test_weeks_do_not_widen_the_intervals_of_the_others() -> None:
    whole, weeks = (
        SegmentParcels(ALL, ALL, held(0.8, 9_000)),
        [SegmentParcels(WEEK, f"2025-09-{day:02d}", held(0.8, 900)) for day in (1, 8, 15)],
    )
    assert judge([whole, *weeks], is_simulated=True)[0] == judge([whole], is_simulated=True)[0]


def test_moments_of_one_parcel_count_for_less_than_as_many_parcels() -> None:
    transform = np.tile(np.random.default_rng(0).random(600), 4)
    (apart,) = judge([SegmentParcels(ALL, ALL, parcels(transform))], is_simulated=True)
    (together,) = judge(
        [SegmentParcels(ALL, ALL, parcels(transform, parcel=np.tile(np.arange(600), 4)))],
        is_simulated=True,
    )
    (once,) = judge([SegmentParcels(ALL, ALL, parcels(transform[:600]))], is_simulated=True)
    assert (together["low_80"], together["high_80"]) == pytest.approx(
        (once["low_80"], once["high_80"])
    )
    assert together["low_80"] < apart["low_80"] < apart["high_80"] < together["high_80"]


SEGMENT_SIZES = (500, 700, 1_200, 2_500, 600, 900, 3_000, 1_500)


def repetition(rng: np.random.Generator, scale: float) -> list[SegmentParcels]:
    """Segments of parcels whose normal forecasts are ``scale`` times as wide as is right."""
    whole = parcels(norm.cdf(rng.normal(size=sum(SEGMENT_SIZES)) / scale))
    segment = np.repeat(np.arange(len(SEGMENT_SIZES)), SEGMENT_SIZES)
    return [
        SegmentParcels(ALL, ALL, whole),
        *(
            SegmentParcels("region", str(number), whole[segment == number])
            for number in range(len(SEGMENT_SIZES))
        ),
    ]


def test_a_right_forecast_has_an_empty_list_in_nineteen_of_twenty_worlds() -> None:
    rng = np.random.default_rng(7)
    empty = [not verdicts(repetition(rng, 1.0), is_simulated=True) for _ in range(250)]
    assert np.mean(empty) >= 0.95


def test_a_forecast_a_tenth_too_narrow_is_listed() -> None:
    rng = np.random.default_rng(8)
    listed = [verdicts(repetition(rng, 0.9), is_simulated=True) for _ in range(60)]
    # As a whole, always; and by itself nearly always in the largest segment.
    assert all((ALL, ALL, "80") in listing for listing in listed)
    assert np.mean([("region", "6", "80") in listing for listing in listed]) > 0.9


def test_by_weeks_about_one_right_range_in_twenty_is_listed() -> None:
    rng = np.random.default_rng(9)
    week = np.arange(5_200) % 26
    by_week, exact = [], []
    for _ in range(150):
        # Good weeks and bad ones: the range covers 80 % over all weeks, in one of them more, in
        # another less.
        share = 0.8 + rng.uniform(-0.15, 0.15, 26)
        part = SegmentParcels(
            ALL, ALL, parcels(np.where(rng.random(5_200) < share[week], 0.5, 0.0), week=week)
        )
        by_week.append((ALL, ALL, "80") in verdicts([part], is_simulated=False))
        exact.append((ALL, ALL, "80") in verdicts([part], is_simulated=True))
    assert np.mean(by_week) < 0.12
    assert np.mean(exact) > 0.25


def test_by_weeks_a_forecast_a_tenth_too_narrow_is_listed() -> None:
    rng = np.random.default_rng(10)
    assert (
        np.mean(
            [
                (ALL, ALL, "80") in verdicts(repetition(rng, 0.9)[:1], is_simulated=False)
                for _ in range(60)
            ]
        )
        > 0.95
    )
