"""Properties of any curve."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eta.curves import Curves, kaplan_meier

KNOTS = st.integers(2, 6)
LEVELS = st.floats(0.0, 1.0)
WAITS = st.floats(0.0, 120.0)
modest = settings(max_examples=150, deadline=None)


@st.composite
def curves(draw: st.DrawFn) -> Curves:
    """Up to four rows; whole hours, so jumps and flat parts are common; often some never arrive."""
    count, knots = draw(st.integers(1, 4)), draw(KNOTS)
    hours = draw(
        st.lists(
            st.lists(st.integers(0, 100), min_size=knots, max_size=knots),
            min_size=count,
            max_size=count,
        )
    )
    cdf = draw(
        st.lists(
            st.lists(st.integers(0, 16), min_size=knots, max_size=knots),
            min_size=count,
            max_size=count,
        )
    )
    return Curves.from_knots(
        np.sort(np.array(hours, dtype=np.float64), axis=1), np.sort(np.array(cdf), axis=1) / 16.0
    )


@modest
@given(curves(), WAITS, LEVELS, LEVELS)
def test_a_later_level_is_never_an_earlier_date(
    curve: Curves, waited: float, one: float, other: float
) -> None:
    later = curve.remaining_after(waited)
    assert (later.quantile(max(one, other)) >= later.quantile(min(one, other))).all()


@modest
@given(curves(), WAITS, st.floats(0, 200), st.floats(0, 200))
def test_a_probability_lies_within_0_and_1_and_never_falls(
    curve: Curves, waited: float, one: float, other: float
) -> None:
    later = curve.remaining_after(waited)
    early, late = later.cdf_at(min(one, other)), later.cdf_at(max(one, other))
    assert ((early >= 0) & (early <= late + 1e-12) & (late <= 1 + 1e-12)).all()


@modest
@given(curves(), WAITS, LEVELS)
def test_the_cdf_reaches_the_level_at_the_quantile_and_not_before(
    curve: Curves, waited: float, level: float
) -> None:
    later = curve.remaining_after(waited)
    hours = later.quantile(level)
    is_finite = np.isfinite(hours)
    assert (later.cdf_at(np.where(is_finite, hours + 1e-6, 0.0))[is_finite] >= level - 1e-9).all()
    assert (
        later.cdf_at(np.where(is_finite, hours - 1e-6, 0.0))[is_finite & (hours > 1e-6)]
        <= level + 1e-9
    ).all()
    assert (1.0 - later.tail_mass[~is_finite] <= level + 1e-9).all()


@modest
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.lists(st.integers(1, 50), min_size=5, max_size=5),
    LEVELS,
)
def test_cdf_and_quantile_are_inverse_on_rising_curves(
    steps: list[int], rises: list[int], level: float
) -> None:
    hours = np.concatenate([[0.0], np.cumsum(steps)])
    cdf = np.concatenate([[0.0], np.cumsum(rises[: len(steps)])]) / sum(rises[: len(steps)])
    curve = Curves.from_grid(hours, cdf[None])
    assert curve.cdf_at(curve.quantile(level)) == pytest.approx([level], abs=1e-9)


@modest
@given(curves(), LEVELS, st.floats(0, 200))
def test_waiting_no_time_changes_nothing(curve: Curves, level: float, hours: float) -> None:
    same = curve.remaining_after(np.zeros(len(curve)))
    assert np.array_equal(same.quantile(level), curve.quantile(level))
    assert np.array_equal(same.cdf_at(hours), curve.cdf_at(hours))


@modest
@given(curves(), st.integers(0, 120), st.integers(0, 120), LEVELS, st.floats(0, 200))
def test_waiting_twice_is_waiting_for_the_sum(
    curve: Curves, first: int, second: int, level: float, hours: float
) -> None:
    twice, once = (
        curve.remaining_after(first).remaining_after(second),
        curve.remaining_after(first + second),
    )
    assert np.array_equal(twice.quantile(level), once.quantile(level))
    assert np.array_equal(twice.cdf_at(hours), once.cdf_at(hours))


@modest
@given(curves(), WAITS, st.floats(0, 200))
def test_remaining_time_follows_bayes_rule(curve: Curves, waited: float, hours: float) -> None:
    # Who has not waited has not ruled out what may happen at once.
    start = curve.cdf_at(waited) if waited > 0 else np.zeros(len(curve))
    assume((start < 1).all())
    expected = (curve.cdf_at(waited + hours) - start) / (1 - start)
    assert curve.remaining_after(waited).cdf_at(hours) == pytest.approx(expected, abs=1e-9)


@modest
@given(curves(), WAITS, st.floats(0, 200))
def test_knots_from_now_describe_the_same_distribution(
    curve: Curves, waited: float, hours: float
) -> None:
    later = curve.remaining_after(waited)
    assume((curve.cdf_at(waited) < 1).all())
    knots, cdf = later.knots()
    # A knot just ahead makes a steep step, at which the last digits of the hours decide.
    assume((np.abs(knots - hours) > 1e-6).all())
    assert Curves.from_knots(knots, cdf).cdf_at(hours) == pytest.approx(
        later.cdf_at(hours), abs=1e-9
    )


@modest
@given(curves(), WAITS)
def test_tail_mass_is_one_minus_the_last_knot(curve: Curves, waited: float) -> None:
    later = curve.remaining_after(waited)
    assert later.tail_mass == pytest.approx(1 - later.cdf_at(1e6), abs=1e-12)
    assert np.array_equal(np.isinf(later.quantile(1.0)), later.tail_mass > 0)


@modest
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 2)), max_size=20))
def test_kaplan_meier_is_a_cdf_and_counts_uncensored_arrivals(
    parcels: list[tuple[int, bool, int]],
) -> None:
    grid = np.arange(0.0, 11.0)
    hours = np.array([h for h, _, _ in parcels], dtype=np.float64)
    arrived, groups = (
        np.array([a for _, a, _ in parcels], dtype=bool),
        np.array([g for _, _, g in parcels], dtype=np.int64),
    )
    result = kaplan_meier(hours, arrived, groups, 3, grid)
    Curves.from_grid(grid, result)
    for group in range(3):
        group_hours = hours[groups == group]
        if len(group_hours) and arrived[groups == group].all():
            shares = [0.0, *((group_hours <= time).mean() for time in grid[1:])]
            assert result[group] == pytest.approx(np.array(shares))
