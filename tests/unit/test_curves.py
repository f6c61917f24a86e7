"""Curves as values, by numbers small enough to check by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.curves import Curves, InvalidCurve, kaplan_meier
from eta.evaluation.metrics import crps_days

#: Half has arrived after a day, nine tenths after two, one tenth later or never.
TWO_DAYS = Curves.from_grid([0, 24, 48], [[0.0, 0.5, 0.9]])
#: Nothing for ten hours, then half at once, the rest evenly over ten more.
WITH_JUMP = Curves.from_grid([0, 10, 10, 20], [[0.0, 0.0, 0.5, 1.0]])


@pytest.mark.parametrize(
    ("curve", "hours", "probability"),
    [
        *(
            (TWO_DAYS, hours, probability)
            for hours, probability in [
                (0, 0.0),
                (12, 0.25),
                (24, 0.5),
                (36, 0.7),
                (48, 0.9),
                (1e6, 0.9),
            ]
        ),
        *(
            (WITH_JUMP, hours, probability)
            for hours, probability in [(9.999, 0.0), (10, 0.5), (15, 0.75), (20, 1.0)]
        ),
    ],
)
def test_probabilities_are_linear_between_knots_and_jump(
    curve: Curves, hours: float, probability: float
) -> None:
    assert curve.cdf_at(hours) == pytest.approx([probability])


@pytest.mark.parametrize(
    ("curve", "level", "hours"),
    [
        *(
            (TWO_DAYS, level, hours)
            for level, hours in [(0.25, 12), (0.5, 24), (0.7, 36), (0.9, 48), (0.91, np.inf)]
        ),
        *(
            (WITH_JUMP, level, hours)
            for level, hours in [(0.01, 10), (0.5, 10), (0.75, 15), (1.0, 20)]
        ),
    ],
)
def test_a_quantile_is_the_fewest_hours_that_reach_the_level(
    curve: Curves, level: float, hours: float
) -> None:
    assert curve.quantile(level) == pytest.approx([hours])


def test_a_quantile_on_a_flat_part_is_its_start() -> None:
    flat = Curves.from_grid([0, 10, 20, 30], [[0.0, 0.5, 0.5, 1.0]])
    assert flat.quantile(0.5) == pytest.approx([10])


def test_levels_and_hours_may_differ_by_row() -> None:
    curves = Curves.from_grid([0, 10], [[0.0, 1.0], [0.0, 0.5], [0.0, 1.0]])
    assert curves.quantile([0.1, 0.25, 0.9]) == pytest.approx([1, 5, 9])
    assert curves.cdf_at([1.0, 5.0, 9.0]) == pytest.approx([0.1, 0.25, 0.9])


def test_nothing_has_arrived_before_the_first_knot() -> None:
    late_start = Curves.from_grid([10, 20], [[0.4, 1.0]])
    assert late_start.cdf_at(9.9) == pytest.approx([0.0])
    assert late_start.quantile(0.3) == pytest.approx([10])


def test_waiting_conditions_on_still_being_open() -> None:
    after_a_day = TWO_DAYS.remaining_after(24.0)
    assert after_a_day.cdf_at(24.0) == pytest.approx([(0.9 - 0.5) / 0.5])
    assert after_a_day.quantile(0.4) == pytest.approx([12])
    assert after_a_day.tail_mass == pytest.approx([0.1 / 0.5])


def test_waiting_until_a_jump_means_that_the_jump_was_missed() -> None:
    missed = WITH_JUMP.remaining_after(10.0)
    assert missed.cdf_at(0.0) == pytest.approx([0.0])
    assert missed.quantile(0.5) == pytest.approx([5])


def test_past_the_last_knot_arrival_is_certain_or_never() -> None:
    curves = Curves.from_grid([0, 10], [[0.0, 0.8], [0.0, 1.0]]).remaining_after([20.0, 20.0])
    assert curves.cdf_at(100.0) == pytest.approx([0.0, 1.0])
    assert curves.quantile(0.5) == pytest.approx([np.inf, 0.0])
    assert curves.tail_mass == pytest.approx([1.0, 0.0])


def test_knots_of_a_waiting_curve_count_from_now() -> None:
    hours, cdf = TWO_DAYS.remaining_after(24.0).knots()
    assert hours.tolist() == [[0, 0, 24]]
    assert cdf == pytest.approx(np.array([[0.0, 0.0, 0.8]]))


def test_quantiles_become_a_curve_with_linear_tails() -> None:
    curve = Curves.from_quantiles([0.2, 0.5, 0.8], [[10.0, 20.0, 40.0]], max_hours=100.0)
    assert curve.quantile([0.1]) == pytest.approx([5])
    assert curve.quantile([0.5]) == pytest.approx([20])
    assert curve.quantile([0.65]) == pytest.approx([30])
    assert curve.quantile([0.9]) == pytest.approx([70])
    assert curve.tail_mass == pytest.approx([0.0])


def test_a_quantile_beyond_the_longest_time_moves_the_end() -> None:
    curve = Curves.from_quantiles([0.5], [[150.0]], max_hours=100.0)
    assert curve.quantile([1.0]) == pytest.approx([150])


def test_a_certain_arrival_has_one_date_at_every_level() -> None:
    curves = Curves.point_mass([5.0, 7.0])
    for level in (0.01, 0.5, 1.0):
        assert curves.quantile(level) == pytest.approx([5, 7])
    assert curves.cdf_at([4.999, 7.0]) == pytest.approx([0.0, 1.0])


def test_concatenated_curves_equal_their_parts() -> None:
    parts = [
        TWO_DAYS.remaining_after(12.0),
        Curves.from_knots(
            np.array([[0.0, 5.0, 50.0], [1.0, 6.0, 60.0]]), np.array([[0.0, 0.1, 1.0]])
        ),
    ]
    whole = Curves.concatenate(parts)
    assert len(whole) == 3
    assert whole.quantile(0.6) == pytest.approx(
        np.concatenate([part.quantile(0.6) for part in parts])
    )
    assert whole.cdf_at(7.0) == pytest.approx(np.concatenate([part.cdf_at(7.0) for part in parts]))
    assert whole.tail_mass == pytest.approx(np.concatenate([part.tail_mass for part in parts]))


@pytest.mark.parametrize(
    "rows", [np.array([2, 0, 2]), np.array([True, False, True])], ids=["positions", "mask"]
)
@pytest.mark.parametrize("has_hours_by_row", [True, False])
@pytest.mark.parametrize("has_cdf_by_row", [True, False])
def test_taken_rows_have_unchanged_values(
    rows: NDArray[np.int64], has_hours_by_row: bool, has_cdf_by_row: bool
) -> None:
    hours = np.array([[0.0, 10.0], [0.0, 20.0], [5.0, 30.0]])[: 3 if has_hours_by_row else 1]
    cdf = np.array([[0.0, 0.9], [0.1, 0.8], [0.2, 1.0]])[: 3 if has_cdf_by_row else 1]
    curves = Curves(hours, cdf, np.array([0.0, 3.0, 6.0]))
    taken = curves.take(rows)
    assert taken.quantile(0.5) == pytest.approx(curves.quantile(0.5)[rows])
    assert taken.cdf_at(4.0) == pytest.approx(curves.cdf_at(4.0)[rows])
    assert len(taken) == len(curves.quantile(0.5)[rows])


@pytest.mark.parametrize(
    ("hours", "cdf"),
    [
        ([0.0, 1.0, 2.0], [0.0, 0.6, 0.5]),
        ([0.0, 2.0, 1.0], [0.0, 0.5, 0.6]),
        ([0.0, 1.0, 2.0], [0.0, 0.5, 1.1]),
        ([0.0, 1.0, 2.0], [-0.1, 0.5, 1.0]),
        ([0.0, 1.0, 2.0], [0.0, np.nan, 1.0]),
        ([0.0, np.nan, 2.0], [0.0, 0.5, 1.0]),
        ([0.0, 1.0, np.inf], [0.0, 0.5, 1.0]),
    ],
    ids=[
        "the cdf falls",
        "hours go back",
        "above one",
        "below zero",
        "probability unknown",
        "hours unknown",
        "hours infinite",
    ],
)
def test_invalid_distributions_are_rejected(hours: list[float], cdf: list[float]) -> None:
    with pytest.raises(InvalidCurve):
        Curves.from_grid(hours, [[0.0, 0.5, 1.0], cdf])


def test_crossing_quantiles_are_rejected() -> None:
    with pytest.raises(InvalidCurve):
        Curves.from_quantiles([0.5, 0.9], [[20.0, 10.0]], max_hours=100.0)


def product_limit(
    hours: list[float], arrived: list[bool], groups: list[int], count: int, grid: list[float]
) -> NDArray[np.float64]:
    return kaplan_meier(
        np.array(hours),
        np.array(arrived, dtype=bool),
        np.array(groups, dtype=np.int64),
        count,
        np.array(grid),
    )


def test_without_censoring_kaplan_meier_counts_arrivals() -> None:
    assert product_limit([1, 2, 2, 4], [True] * 4, [0] * 4, 1, [0, 1, 2, 3, 4]) == pytest.approx(
        np.array([[0, 0.25, 0.75, 0.75, 1.0]])
    )


def test_kaplan_meier_with_censoring_as_computed_by_hand() -> None:
    # At risk 5, 3 (one of 4 was lost from sight before), 2 and 0: S = 4/5, 4/5 x 2/3, 4/5 x 2/3 x
    # 1/2, then unchanged.
    result = product_limit(
        [1, 2, 2, 3, 4], [True, True, False, True, False], [0] * 5, 1, [0, 1, 2, 3, 4]
    )
    assert result == pytest.approx(np.array([[0, 1 / 5, 1 - 8 / 15, 1 - 4 / 15, 1 - 4 / 15]]))


def test_an_open_parcel_raises_the_odds_of_a_late_arrival() -> None:
    delivered_only = product_limit([1, 2], [True, True], [0, 0], 1, [0, 1, 2])
    with_open = product_limit([1, 2, 1.5], [True, True, False], [0, 0, 0], 1, [0, 1, 2])
    assert with_open[0, 1] == pytest.approx(1 / 3)
    assert with_open[0, 1] < delivered_only[0, 1]


def test_a_time_within_a_step_counts_at_the_end_of_the_step() -> None:
    assert product_limit([0.0, 1.2], [True, True], [0, 0], 1, [0, 1, 2]) == pytest.approx(
        np.array([[0, 0.5, 1.0]])
    )


def test_an_arrival_after_the_grid_was_at_risk_all_along() -> None:
    assert product_limit([1, 99], [True, True], [0, 0], 1, [0, 1, 2]) == pytest.approx(
        np.array([[0, 0.5, 0.5]])
    )


def test_groups_are_independent_and_an_empty_one_is_zero() -> None:
    result = product_limit([1, 2, 2, 1], [True, False, True, True], [0, 0, 2, 2], 3, [0, 1, 2])
    assert result == pytest.approx(np.array([[0, 0.5, 0.5], [0, 0, 0], [0, 0.5, 1.0]]))


def test_without_observations_nothing_arrives() -> None:
    assert product_limit([], [], [], 1, [0, 1, 2]).tolist() == [[0, 0, 0]]
    assert product_limit([1.0, 2.0], [False, False], [0, 0], 1, [0, 1, 2]).tolist() == [[0, 0, 0]]


def test_certain_arrival_is_not_scored_as_never_arriving() -> None:
    gone = Curves.from_grid([0, 24], [[0.0, 1.0]]).remaining_after([30.0])
    hours, cdf = gone.knots()
    assert (hours == 0).all()
    assert (cdf == 1).all()
    assert crps_days(gone, np.array([10.0])) == pytest.approx([10 / 24])


def test_a_jump_at_zero_is_not_conditioned_away() -> None:
    curve = Curves.from_quantiles([0.1, 0.5, 0.9], [[-5.0, 10.0, 20.0]], max_hours=100.0)
    assert curve.quantile(0.5) == pytest.approx([10.0])
    assert curve.quantile(0.1) == pytest.approx([0.0])
    assert curve.cdf_at([10.0]) == pytest.approx([0.5])
    assert crps_days(Curves.point_mass([0.0]), np.array([24.0])) == pytest.approx([1.0])


def test_empty_batches_have_no_rows() -> None:
    empty = Curves.point_mass(np.empty(0))
    assert len(empty) == len(empty.quantile(0.5)) == len(empty.cdf_at(np.empty(0))) == 0


def test_tables_equal_single_lookups() -> None:
    curves = Curves.from_grid([0, 10, 20], [[0.0, 0.5, 0.9], [0.1, 0.2, 1.0]]).remaining_after(
        [0.0, 12.0]
    )
    levels, hours = np.array([[0.1, 0.5, 0.95]]), np.array([[1.0, 8.0], [3.0, np.nan]])
    assert np.array_equal(
        curves.quantile_table(levels),
        np.column_stack([curves.quantile(level) for level in levels[0]]),
    )
    assert np.array_equal(
        curves.cdf_table(hours),
        np.column_stack([curves.cdf_at(column) for column in hours.T]),
        equal_nan=True,
    )
    assert np.isnan(curves.cdf_at(np.nan)).all()
