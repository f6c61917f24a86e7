"""The distance of a forecast from the true distribution is exactly the score that it loses."""

import numpy as np
import pandas as pd
import pytest

from eta.curves import Curves
from eta.evaluation.backtest import Replay
from eta.evaluation.metrics import crps_days
from eta.evaluation.oracle_comparison import compare, compare_with_oracle, crps_regret_days
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import parcels

TEN_DAYS = Curves.from_grid([0, 240], [[0.0, 1.0]])


@pytest.mark.parametrize(
    ("forecast", "truth", "expected"),
    [
        (Curves.point_mass([24.0]), Curves.point_mass([72.0]), 2.0),
        (TEN_DAYS, TEN_DAYS, 0.0),
        # u/10 against 0, then 1, with the step at five days: twice the integral of (u/10)^2 from 0
        # to 5.
        (TEN_DAYS, Curves.point_mass([120.0]), 2 * 125 / 300),
        # u/10 against u/20 on ten days, then 1 against u/20 on ten more.
        (TEN_DAYS, Curves.from_grid([0, 480], [[0.0, 1.0]]), 2 * 1000 / 3 / 400),
        # One never arrives, which counts until day 60.
        (Curves.point_mass([24.0]), Curves.from_grid([0, 10], [[0.0, 0.0]]), 59.0),
        (
            Curves.from_grid([12, 12], [[0.0, 0.5]]),
            Curves.from_grid([12, 12], [[0.0, 0.7]]),
            0.2**2 * 59.5,
        ),
    ],
)
def test_the_regret_is_the_integral_of_the_squared_gap(
    forecast: Curves, truth: Curves, expected: float
) -> None:
    assert crps_regret_days(forecast, truth) == pytest.approx([expected])
    assert crps_regret_days(truth, forecast) == pytest.approx([expected])


@pytest.mark.parametrize("seed", range(6))
def test_the_regret_is_the_mean_crps_lost_to_the_true_distribution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    forecast, truth = (
        Curves.from_grid(
            np.sort(rng.choice([12.0, 24.0, 24.0, 48.0, 300.0, *rng.uniform(0, 900, 5)], 8)),
            [np.sort(rng.uniform(0, 1, 8))],
        )
        for _ in range(2)
    )
    forecast = forecast.remaining_after([rng.choice([0.0, 10.0])])
    # Every level once: the mean over the distribution, but for the steps.
    level = (np.arange(40_000) + 0.5) / 40_000
    everyone = np.zeros(len(level), dtype=np.int64)
    arrival = truth.take(everyone).quantile(level)
    lost = crps_days(forecast.take(everyone), arrival) - crps_days(truth.take(everyone), arrival)
    assert crps_regret_days(forecast, truth) == pytest.approx([lost.mean()], abs=2e-3)


def test_the_regret_of_a_batch_is_that_of_each_row() -> None:
    rng = np.random.default_rng(1)
    forecast, truth = (
        Curves.from_knots(
            np.sort(rng.uniform(0, 900, (200, knots)), axis=1),
            np.sort(rng.random((200, knots)), axis=1),
        )
        for knots in (5, 30)
    )
    alone = [
        crps_regret_days(forecast.take(np.array([row])), truth.take(np.array([row])))[0]
        for row in range(200)
    ]
    assert crps_regret_days(forecast, truth) == pytest.approx(alone)


def test_the_bias_of_the_median_and_both_late_probabilities() -> None:
    gaps = compare(
        Curves.point_mass([48.0, 48.0, 48.0]),
        TEN_DAYS.take(np.array([0, 0, 0])),
        np.array([24.0, -1.0, np.nan]),
    )
    assert list(gaps["median_bias_days"]) == [-3.0, -3.0, -3.0]
    np.testing.assert_allclose(gaps["late_predicted"], [1.0, np.nan, np.nan])
    np.testing.assert_allclose(gaps["late_true"], [0.9, np.nan, np.nan])


def replayed(timelines: Timelines) -> Replay:
    """Three moments of one phase, of which two are in the sample, and one of another."""
    judged = pd.DataFrame(
        {
            "shipment_id": timelines.shipment_id[:4],
            "as_of": np.full(4, np.datetime64("2026-05-01", "us")),
            "week": "2026-04-27",
            "phase": ["first_mile", "first_mile", "first_mile", "linehaul"],
            "is_sampled": [True, False, True, True],
            "promise_hours": [24.0, 24.0, 48.0, np.nan],
        }
    )
    curves = [
        Curves.point_mass([24.0]),
        np.nan,
        Curves.from_grid([0, 24, 72], [[0.0, 0.0, 1.0]]),
        Curves.point_mass([72.0]),
    ]
    silent = pd.DataFrame({"curve": pd.Series([np.nan] * 4, dtype=object)})
    return Replay(
        judged,
        {"eta": pd.DataFrame({"curve": pd.Series(curves, dtype=object)}), "silent": silent},
        {},
        {},
        {},
        {},
    )


def test_forecasts_are_compared_by_phase_with_sample_weights() -> None:
    timelines = Timelines.from_frames(*parcels(20))
    requested: list[AsOfPairs] = []

    def source(moments: AsOfPairs) -> Curves:
        requested.append(moments)
        return Curves.point_mass(np.full(len(moments), 48.0))

    rows = compare_with_oracle(replayed(timelines), timelines, {"scan_conditional": source})
    assert list(requested[0].row) == [0, 2, 3]
    assert {(row["model"], row["truth"]) for row in rows} == {("eta", "scan_conditional")}
    by_phase = {row["phase"]: row for row in rows}
    assert list(by_phase) == ["all", "first_mile", "linehaul"]
    # One day off; the uniform from 24 to 72 hours: twice the integral of (u/2)^2 over a day; one
    # day off.
    assert by_phase["first_mile"]["crps_regret_days"] == pytest.approx((1.0 + 2 / 12) / 2)
    assert by_phase["linehaul"]["crps_regret_days"] == pytest.approx(1.0)
    # Each of the two of the first phase represents one and a half.
    assert by_phase["all"]["crps_regret_days"] == pytest.approx(
        (1.5 * 1.0 + 1.5 * 2 / 12 + 1.0) / 4
    )
    assert by_phase["all"]["median_bias_days"] == pytest.approx((1.5 * -1.0 + 1.0) / 4)
    assert (
        by_phase["first_mile"]["late_predicted"],
        by_phase["first_mile"]["late_true"],
    ) == pytest.approx((0.25, 0.5))
    assert by_phase["first_mile"]["late_brier_regret"] == pytest.approx((1.0 + 0.25) / 2)
    assert by_phase["linehaul"]["late_predicted"] is None
    assert by_phase["linehaul"]["crps_regret_se_days"] is None
