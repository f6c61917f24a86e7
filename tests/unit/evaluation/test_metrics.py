"""Scores against values computed by hand and by brute force."""

import numpy as np
import pytest

from eta.curves import Curves
from eta.evaluation.metrics import (
    HORIZON_HOURS,
    crps_days,
    error_days,
    is_covered,
    late_calibration,
    pinball_days,
    pit_deciles,
    probability_integral_transform,
    ranking,
    share_within,
)

#: Any time within ten days is as likely as any other.
UNIFORM = Curves.from_grid([0, 240], [[0.0, 1.0]])


@pytest.mark.parametrize("arrival", [0.0, 24.0, 100.0, 480.0])
@pytest.mark.parametrize("forecast", [1.0, 60.0, 240.0])
def test_the_crps_of_a_certain_date_is_its_absolute_error(forecast: float, arrival: float) -> None:
    assert crps_days(Curves.point_mass([forecast]), np.array([arrival])) == pytest.approx(
        [abs(forecast - arrival) / 24]
    )


@pytest.mark.parametrize("arrival_days", [0.0, 2.0, 5.0, 10.0, 13.0])
def test_the_crps_of_a_uniform_distribution_has_its_closed_form(arrival_days: float) -> None:
    inside = min(arrival_days, 10.0)
    expected = (inside**3 + (10.0 - inside) ** 3) / 300 + max(arrival_days - 10.0, 0.0)
    assert crps_days(UNIFORM, np.array([arrival_days * 24])) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("share_never", "arrival_days", "expected"),
    [
        # A jump to 1 - p after one day that stays there: (1 - p)^2 from it until the arrival, then
        # p^2 until day 60.
        (0.25, 20.0, 0.75**2 * 19 + 0.25**2 * 40),
        (0.25, 60.0, 0.75**2 * 59),
        (0.25, 90.0, 0.75**2 * 59),
        (1.0, 20.0, 40.0),
        (1.0, np.inf, 0.0),
    ],
)
def test_the_crps_ends_after_sixty_days(
    share_never: float, arrival_days: float, expected: float
) -> None:
    curve = Curves.from_grid([24, 2000], [[1 - share_never, 1 - share_never]])
    assert crps_days(curve, np.array([arrival_days * 24])) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("limit_days", "expected"),
    [(0.0, 0.0), (5.0, 5.0**3 / 300), (10.0, 10 / 3), (15.0, 10 / 3 + 5), (99.0, 10 / 3 + 50)],
)
def test_an_open_parcel_is_scored_up_to_its_limit(limit_days: float, expected: float) -> None:
    assert crps_days(UNIFORM, np.array([np.inf]), np.array([limit_days * 24])) == pytest.approx(
        [expected]
    )


def test_an_arrival_after_the_limit_scores_like_an_open_parcel() -> None:
    limit = np.array([120.0, 120.0])
    late, censored = crps_days(UNIFORM.take(np.array([0, 0])), np.array([200.0, np.inf]), limit)
    assert late == pytest.approx(censored)


def test_limits_differ_by_parcel() -> None:
    curves = UNIFORM.take(np.array([0, 0]))
    together = crps_days(curves, np.array([np.inf, 48.0]), np.array([120.0, 240.0]))
    alone = [
        crps_days(UNIFORM, np.array([a]), limit)[0] for a, limit in ((np.inf, 120.0), (48.0, 240.0))
    ]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize("seed", range(12))
def test_the_crps_is_the_integral_of_the_squared_error_of_the_cdf(seed: int) -> None:
    """Midpoint sums, steps of 0.1 hours: curves with jumps, plateaus, late starts and tail mass."""
    rng = np.random.default_rng(seed)
    knots = int(rng.integers(2, 8))
    # Half of the curves sit at whole hours, where two knots often meet; the first may be above 0 at
    # an hour above 0.
    hours = np.sort(rng.choice([np.round(rng.uniform(0, 30, knots)), rng.uniform(0, 1200, knots)]))
    cdf = np.sort(rng.uniform(0, 0.97, knots))
    cdf[-1] = rng.choice([cdf[-1], 1.0])
    # Short of the last knot: past it a curve that ends at 1 has no open parcel left.
    waited = rng.choice([0.0, rng.uniform(0, hours[-1] * 0.9)])
    curve = Curves.from_grid(hours, cdf[None]).remaining_after([waited])
    step = 0.1
    middle = np.arange(step / 2, HORIZON_HOURS, step)
    reached = curve.take(np.zeros(len(middle), dtype=np.int64)).cdf_at(middle)
    for arrival, limit in (
        (rng.uniform(0, 300), HORIZON_HOURS),
        (rng.uniform(0, 1440), rng.uniform(0, 1440)),
        (np.inf, rng.uniform(0, 1440)),
    ):
        expected = (np.square(reached - (middle >= arrival)) * step)[middle < limit].sum() / 24
        assert crps_days(curve, np.array([arrival]), limit) == pytest.approx([expected], abs=0.02)


def test_the_crps_of_a_batch_is_that_of_each_row() -> None:
    parts = [UNIFORM, Curves.from_grid([10, 20], [[0.5, 0.6]]), UNIFORM.remaining_after([100.0])]
    arrival = np.array([100.0, 15.0, 30.0])
    alone = [crps_days(part, arrival[[row]])[0] for row, part in enumerate(parts)]
    assert crps_days(Curves.concatenate(parts), arrival) == pytest.approx(alone)


def test_the_true_distribution_scores_best_on_average() -> None:
    arrival = np.linspace(0.5, 239.5, 240)
    everyone = np.zeros(len(arrival), dtype=np.int64)
    mean = [
        crps_days(curve.take(everyone), arrival).mean()
        for curve in (UNIFORM, Curves.point_mass([120.0]), Curves.from_grid([0, 300], [[0.0, 1.0]]))
    ]
    assert mean[0] < min(mean[1:])


def test_a_median_after_the_arrival_is_a_positive_error() -> None:
    assert error_days(Curves.point_mass([72.0, 24.0]), np.array([48.0, 48.0])) == pytest.approx(
        [1.0, -1.0]
    )


def test_a_median_beyond_the_knots_counts_as_sixty_days() -> None:
    assert error_days(Curves.from_grid([0, 10], [[0.0, 0.3]]), np.array([240.0])) == pytest.approx(
        [50.0]
    )


@pytest.mark.parametrize(
    ("level", "arrival_days", "expected"),
    # The quantiles of the uniform distribution are at 5, 8 and 9.5 days.
    [
        (0.5, 7.0, 0.5 * 2),
        (0.5, 1.0, 0.5 * 4),
        (0.8, 10.0, 0.8 * 2),
        (0.8, 3.0, 0.2 * 5),
        (0.95, 9.5, 0.0),
    ],
)
def test_the_pinball_loss_weights_later_arrivals_by_the_level(
    level: float, arrival_days: float, expected: float
) -> None:
    assert pinball_days(UNIFORM, np.array([arrival_days * 24]), level) == pytest.approx([expected])


def test_a_quantile_that_is_never_reached_counts_as_sixty_days() -> None:
    assert pinball_days(
        Curves.from_grid([0, 10], [[0.0, 0.3]]), np.array([240.0]), 0.9
    ) == pytest.approx([0.1 * 50])


def test_the_pit_of_an_arrival_is_the_cdf_at_it() -> None:
    start, end = probability_integral_transform(
        UNIFORM.take(np.array([0, 0, 0])), np.array([24.0, 120.0, 500.0]), np.full(3, 1e4)
    )
    assert start == pytest.approx([0.1, 0.5, 1.0])
    assert end == pytest.approx(start)


def test_the_pit_of_an_open_parcel_is_spread_over_the_remaining_range() -> None:
    start, end = probability_integral_transform(
        UNIFORM.take(np.array([0, 0])), np.array([np.inf, np.inf]), np.array([72.0, 500.0])
    )
    assert start == pytest.approx([0.3, 1.0])
    assert end == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("arrival", "expected"),
    # Nothing until 12 hours, a jump to 0.2 there, to 0.3 by 24 hours, a jump to 0.8, and 0.9 by 48
    # hours.
    [
        (6.0, (0.0, 0.0)),
        (12.0, (0.0, 0.2)),
        (18.0, (0.25, 0.25)),
        (24.0, (0.3, 0.8)),
        (36.0, (0.85, 0.85)),
        (60.0, (0.9, 0.9)),
    ],
)
def test_the_pit_is_spread_over_a_jump(arrival: float, expected: tuple[float, float]) -> None:
    start, end = probability_integral_transform(
        Curves.from_grid([12, 24, 24, 48], [[0.2, 0.3, 0.8, 0.9]]),
        np.array([arrival]),
        np.array([1e4]),
    )
    assert (start[0], end[0]) == pytest.approx(expected)


def test_the_pit_of_the_true_distribution_is_uniform() -> None:
    rng = np.random.default_rng(1)
    truth = Curves.from_grid([12, 24, 24, 48], [[0.2, 0.3, 0.8, 0.9]]).remaining_after([6.0])
    arrival = truth.take(np.zeros(20_000, dtype=np.int64)).quantile(rng.random(20_000))
    limit = np.where(rng.random(20_000) < 0.3, rng.uniform(0, 40, 20_000), 1e4)
    start, end = probability_integral_transform(
        truth.take(np.zeros(20_000, dtype=np.int64)),
        np.where(arrival <= limit, arrival, np.inf),
        limit,
    )
    assert pit_deciles(start, end) == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert share_within(start, end, 0.1, 0.9).mean() == pytest.approx(0.8, abs=0.01)


def test_a_range_counts_in_each_tenth_in_part_and_a_point_in_one() -> None:
    # The first from 0.25 to 0.75: a tenth of it in the third, a fifth in each of the next four. The
    # others are points.
    start, end = np.array([0.25, 0.0, 1.0, 0.4]), np.array([0.75, 0.0, 1.0, 0.4])
    assert 4 * pit_deciles(start, end) == pytest.approx([1, 0, 0.1, 0.2, 1.2, 0.2, 0.2, 0.1, 0, 1])


def test_the_share_within_counts_in_part_and_nan_stays_nan() -> None:
    start, end = np.array([0.0, 0.85, 0.1, 0.95, np.nan]), np.array([0.2, 1.0, 0.1, 0.95, np.nan])
    np.testing.assert_allclose(share_within(start, end, 0.1, 0.9), [0.5, 1 / 3, 1.0, 0.0, np.nan])


@pytest.mark.parametrize(
    ("arrival_days", "is_within"),
    [(0.9, False), (1.0, True), (5.0, True), (9.0, True), (9.1, False)],
)
def test_the_central_range_leaves_the_same_share_on_either_side(
    arrival_days: float, is_within: bool
) -> None:
    assert is_covered(UNIFORM, np.array([arrival_days * 24]), 0.8).tolist() == [is_within]


def test_a_range_without_an_end_covers_every_late_arrival() -> None:
    assert is_covered(Curves.from_grid([0, 10], [[0.0, 0.5]]), np.array([1e5]), 0.9).tolist() == [
        True
    ]


@pytest.mark.parametrize(
    ("probability", "area", "precision"),
    [
        # Two of four are late. Of the four pairs of a late and a timely parcel, the area is the
        # share ranked rightly.
        ([0.1, 0.2, 0.8, 0.9], 1.0, 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0, 0.5 * 1 / 3 + 0.5 * 2 / 4),
        ([0.1, 0.8, 0.5, 0.9], 0.75, 0.5 * 1 + 0.5 * 2 / 3),
        ([0.5, 0.5, 0.5, 0.5], 0.5, 0.5),
    ],
)
def test_ranking_counts_pairs_in_the_right_order(
    probability: list[float], area: float, precision: float
) -> None:
    assert ranking(np.array([False, False, True, True]), np.array(probability)) == pytest.approx(
        (area, precision)
    )


@pytest.mark.parametrize(
    "is_late", [[], [True, True], [False, False]], ids=["nothing", "all late", "none late"]
)
def test_there_is_nothing_to_rank_among_parcels_of_one_kind(is_late: list[bool]) -> None:
    assert ranking(np.array(is_late, dtype=bool), np.full(len(is_late), 0.5)) == (None, None)


def test_the_calibration_error_is_the_mean_gap_of_bins_of_equal_size() -> None:
    # Two bins: five parcels at 0.2 of which two are late, five at 0.6 of which two are late: gaps
    # of 0.2 each.
    probability = np.repeat([0.2, 0.6], 5)
    is_late = np.array([True, True, False, False, False] * 2)
    assert late_calibration(is_late, probability, bins=2)[0] == pytest.approx(0.2)


def test_equal_probabilities_share_a_bin_in_any_order() -> None:
    is_late = np.array([True] * 10 + [False] * 90)
    assert late_calibration(is_late, np.full(100, 0.1))[0] == pytest.approx(0.0)


@pytest.mark.parametrize(("stretch", "slope"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
def test_the_slope_is_below_one_for_overconfident_probabilities(
    stretch: float, slope: float
) -> None:
    rng = np.random.default_rng(3)
    logit = rng.normal(-2, 1, 60_000)
    is_late = rng.random(60_000) < 1 / (1 + np.exp(-logit))
    error, fitted_slope = late_calibration(is_late, 1 / (1 + np.exp(-stretch * logit)))
    assert fitted_slope == pytest.approx(slope, rel=0.04)
    assert error is not None
    assert (error < 0.005) == (stretch == 1.0)


@pytest.mark.parametrize(
    "is_late", [[], [True, True], [False, False]], ids=["nothing", "all late", "none late"]
)
def test_parcels_of_one_kind_show_no_calibration(is_late: list[bool]) -> None:
    assert late_calibration(np.array(is_late, dtype=bool), np.full(len(is_late), 0.5)) == (
        None,
        None,
    )


@pytest.mark.parametrize(
    "probability",
    [[0.3, 0.3, 0.3, 0.3], [0.1, 0.2, 0.8, 0.9]],
    ids=["the same for all", "parts them perfectly"],
)
def test_there_is_no_slope_where_it_is_not_determined(probability: list[float]) -> None:
    assert late_calibration(np.array([False, False, True, True]), np.array(probability))[1] is None
