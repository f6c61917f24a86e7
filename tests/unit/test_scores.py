"""Scores against values computed by hand and by brute force."""

import numpy as np
import pytest

from eta.curves import Curves
from eta.evaluation.scores import HORIZON_HOURS, crps_days, error_days, is_covered, probability_integral_transform, ranking

#: Any time within ten days is as likely as any other.
UNIFORM = Curves.on_grid([0, 240], [[0.0, 1.0]])


@pytest.mark.parametrize("arrival", [0.0, 24.0, 100.0, 480.0])
@pytest.mark.parametrize("forecast", [1.0, 60.0, 240.0])
def test_the_crps_of_a_certain_date_is_its_absolute_error(forecast: float, arrival: float) -> None:
    assert crps_days(Curves.at_once([forecast]), np.array([arrival])) == pytest.approx([abs(forecast - arrival) / 24])


@pytest.mark.parametrize("arrival_days", [0.0, 2.0, 5.0, 10.0, 13.0])
def test_the_crps_of_a_uniform_law_has_its_closed_form(arrival_days: float) -> None:
    inside = min(arrival_days, 10.0)
    expected = (inside**3 + (10.0 - inside) ** 3) / 300 + max(arrival_days - 10.0, 0.0)
    assert crps_days(UNIFORM, np.array([arrival_days * 24])) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("share_never", "arrival_days", "expected"),
    [
        # A jump to 1 - p after one day that stays there: (1 - p)^2 from it until the arrival, then p^2 until day 60.
        (0.25, 20.0, 0.75**2 * 19 + 0.25**2 * 40),
        (0.25, 60.0, 0.75**2 * 59),
        (0.25, 90.0, 0.75**2 * 59),
        (1.0, 20.0, 40.0),
        (1.0, np.inf, 0.0),
    ],
)
def test_the_crps_ends_after_sixty_days(share_never: float, arrival_days: float, expected: float) -> None:
    curve = Curves.on_grid([24, 2000], [[1 - share_never, 1 - share_never]])
    assert crps_days(curve, np.array([arrival_days * 24])) == pytest.approx([expected])


@pytest.mark.parametrize(("limit_days", "expected"), [(0.0, 0.0), (5.0, 5.0**3 / 300), (10.0, 10 / 3), (15.0, 10 / 3 + 5), (99.0, 10 / 3 + 50)])
def test_a_parcel_still_open_is_scored_up_to_where_it_was_seen(limit_days: float, expected: float) -> None:
    assert crps_days(UNIFORM, np.array([np.inf]), np.array([limit_days * 24])) == pytest.approx([expected])


def test_an_arrival_after_the_limit_scores_like_one_that_is_not_known() -> None:
    limit = np.array([120.0, 120.0])
    known, unknown = crps_days(UNIFORM.take(np.array([0, 0])), np.array([200.0, np.inf]), limit)
    assert known == pytest.approx(unknown)


def test_each_parcel_has_a_limit_of_its_own() -> None:
    curves = UNIFORM.take(np.array([0, 0]))
    together = crps_days(curves, np.array([np.inf, 48.0]), np.array([120.0, 240.0]))
    alone = [crps_days(UNIFORM, np.array([a]), limit)[0] for a, limit in ((np.inf, 120.0), (48.0, 240.0))]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize("seed", range(12))
def test_the_crps_is_the_integral_of_the_squared_error_of_the_law(seed: int) -> None:
    """Midpoint sums with steps of 0.1 hours over curves with jumps, flat stretches, a late start, waiting and never."""
    rng = np.random.default_rng(seed)
    knots = int(rng.integers(2, 8))
    # Half of the curves sit at whole hours, where two knots often meet; the first may be above 0 at an hour above 0.
    hours = np.sort(rng.choice([np.round(rng.uniform(0, 30, knots)), rng.uniform(0, 1200, knots)]))
    cdf = np.sort(rng.uniform(0, 0.97, knots))
    cdf[-1] = rng.choice([cdf[-1], 1.0])
    # Short of the last knot: past it a curve that ends at 1 has no parcel left to speak of.
    waited = rng.choice([0.0, rng.uniform(0, hours[-1] * 0.9)])
    curve = Curves.on_grid(hours, cdf[None]).remaining_after([waited])
    step = 0.1
    middle = np.arange(step / 2, HORIZON_HOURS, step)
    reached = curve.take(np.zeros(len(middle), dtype=np.int64)).cdf_at(middle)
    for arrival, limit in ((rng.uniform(0, 300), HORIZON_HOURS), (rng.uniform(0, 1440), rng.uniform(0, 1440)), (np.inf, rng.uniform(0, 1440))):
        expected = (np.square(reached - (middle >= arrival)) * step)[middle < limit].sum() / 24
        assert crps_days(curve, np.array([arrival]), limit) == pytest.approx([expected], abs=0.02)


def test_the_crps_of_a_batch_is_that_of_each_row() -> None:
    parts = [UNIFORM, Curves.on_grid([10, 20], [[0.5, 0.6]]), UNIFORM.remaining_after([100.0])]
    arrival = np.array([100.0, 15.0, 30.0])
    alone = [crps_days(part, arrival[[row]])[0] for row, part in enumerate(parts)]
    assert crps_days(Curves.concatenate(parts), arrival) == pytest.approx(alone)


def test_the_true_law_scores_best_on_average() -> None:
    arrival = np.linspace(0.5, 239.5, 240)
    everyone = np.zeros(len(arrival), dtype=np.int64)
    mean = [crps_days(curve.take(everyone), arrival).mean() for curve in (UNIFORM, Curves.at_once([120.0]), Curves.on_grid([0, 300], [[0.0, 1.0]]))]
    assert mean[0] < min(mean[1:])


def test_a_median_after_the_arrival_is_a_positive_error() -> None:
    assert error_days(Curves.at_once([72.0, 24.0]), np.array([48.0, 48.0])) == pytest.approx([1.0, -1.0])


def test_a_median_beyond_the_knots_counts_as_sixty_days() -> None:
    assert error_days(Curves.on_grid([0, 10], [[0.0, 0.3]]), np.array([240.0])) == pytest.approx([50.0])


def test_the_transform_of_an_arrival_is_the_probability_of_having_come_by_then() -> None:
    assert probability_integral_transform(UNIFORM.take(np.array([0, 0, 0])), np.array([24.0, 120.0, 500.0])) == pytest.approx([0.1, 0.5, 1.0])


@pytest.mark.parametrize(("arrival_days", "is_within"), [(0.9, False), (1.0, True), (5.0, True), (9.0, True), (9.1, False)])
def test_the_central_range_leaves_the_same_share_on_either_side(arrival_days: float, is_within: bool) -> None:
    assert is_covered(UNIFORM, np.array([arrival_days * 24]), 0.8).tolist() == [is_within]


def test_a_range_without_an_end_covers_every_late_arrival() -> None:
    assert is_covered(Curves.on_grid([0, 10], [[0.0, 0.5]]), np.array([1e5]), 0.9).tolist() == [True]


@pytest.mark.parametrize(
    ("probability", "area", "precision"),
    [
        # Two of four are late. Of the four pairs of a late and a timely parcel, the area is the share ranked rightly.
        ([0.1, 0.2, 0.8, 0.9], 1.0, 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0, 0.5 * 1 / 3 + 0.5 * 2 / 4),
        ([0.1, 0.8, 0.5, 0.9], 0.75, 0.5 * 1 + 0.5 * 2 / 3),
        ([0.5, 0.5, 0.5, 0.5], 0.5, 0.5),
    ],
)
def test_ranking_counts_pairs_in_the_right_order(probability: list[float], area: float, precision: float) -> None:
    assert ranking(np.array([False, False, True, True]), np.array(probability)) == pytest.approx((area, precision))


@pytest.mark.parametrize("is_late", [[], [True, True], [False, False]], ids=["nothing", "all late", "none late"])
def test_there_is_nothing_to_rank_among_parcels_of_one_kind(is_late: list[bool]) -> None:
    assert ranking(np.array(is_late, dtype=bool), np.full(len(is_late), 0.5)) == (None, None)
