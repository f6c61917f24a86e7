"""Properties of the simulation: clocks, draws and curves of weighted futures."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from eta.simulation.clocks import ALWAYS, DAYS_AFTER, KINDS, Clocks
from eta.simulation.network import CITIES
from eta.simulation.scenario import DEFAULT
from eta.simulation.stages import STAGES
from eta.simulation.travel import MomentDraws, moment_keys
from eta.simulation.truth import weighted_curves

CLOCKS = Clocks.build(DEFAULT.first_day, DEFAULT.days)
# Compiled before hypothesis looks at its watch.
CLOCKS.between(
    np.array([0]), np.zeros((1, 1)), CLOCKS.after(np.array([0]), np.zeros((1, 1)), np.zeros((1, 1)))
)
clocks = st.integers(ALWAYS, len(CITIES) * len(KINDS) - 1).map(lambda number: np.array([number]))
begun = st.floats(0.0, DEFAULT.days * 24.0).map(lambda hours: np.array([[hours]]))


@given(clocks, begun, st.floats(0.01, 200.0))
def test_a_clock_runs_for_the_hours_given(
    clock: np.ndarray, start: np.ndarray, hours: float
) -> None:
    end = CLOCKS.after(clock, start, np.array([[hours]]))
    assert end[0, 0] >= start[0, 0] + hours - 1e-9
    np.testing.assert_allclose(CLOCKS.between(clock, start, end), hours, atol=1e-6)


@given(clocks, begun, st.floats(0.0, 500.0), st.floats(0.0, 500.0))
def test_time_on_a_clock_adds_up_and_never_exceeds_the_time_of_day(
    clock: np.ndarray, start: np.ndarray, first: float, second: float
) -> None:
    middle, end = start + first, start + first + second
    parts = CLOCKS.between(clock, start, middle) + CLOCKS.between(clock, middle, end)
    np.testing.assert_allclose(parts, CLOCKS.between(clock, start, end), atol=1e-6)
    assert parts[0, 0] <= first + second + 1e-6


@given(clocks, begun, st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_more_hours_on_a_clock_never_end_earlier(
    clock: np.ndarray, start: np.ndarray, first: float, second: float
) -> None:
    near, far = (
        CLOCKS.after(clock, start, np.array([[hours]]))[0, 0] for hours in sorted((first, second))
    )
    assert near <= far


def test_beyond_its_tables_a_clock_never_ends() -> None:
    shop = np.array([KINDS.index("shop")])
    assert np.isinf(
        CLOCKS.after(shop, np.array([[0.0]]), np.array([[24.0 * (DEFAULT.days + 2 * DAYS_AFTER)]]))
    ).all()


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=5, unique=True),
    st.integers(0, len(STAGES) - 1),
    st.integers(0, 9),
)
def test_draws_fill_the_unit_interval_in_any_batch(rows: list[int], stage: int, what: int) -> None:
    key = moment_keys(np.array(rows), np.full(len(rows), np.datetime64("2025-06-01", "us")))
    draws = MomentDraws(key, 50)
    together = draws.uniform(stage, what, np.arange(len(rows)))
    np.testing.assert_array_equal(
        together[1:2], MomentDraws(key[1:2], 50).uniform(stage, what, np.array([0]))
    )
    assert ((together > 0) & (together < 1)).all()
    # One number in every fiftieth, but for where the circle was cut.
    gaps = np.diff(np.sort(together, axis=1), axis=1)
    np.testing.assert_allclose(gaps, 1 / 50, atol=1e-9)


@given(
    arrays.arrays(
        np.float64,
        (2, 6),
        elements=st.one_of(st.just(0.0), st.floats(0.0, 9000.0), st.just(np.inf)),
    ),
    arrays.arrays(np.float64, (2, 6), elements=st.floats(0.01, 1.0)),
)
def test_futures_and_their_curve_agree_on_what_never_arrives(
    hours: np.ndarray, weights: np.ndarray
) -> None:
    share = (weights * np.isinf(hours)).sum(axis=1) / weights.sum(axis=1)
    curves = weighted_curves(hours, weights)
    # Half of the last future's weight is spread beyond its knot.
    assert (curves.tail_mass >= share - 1e-9).all()
    assert (
        curves.tail_mass <= share + 0.5 * (weights.max(axis=1) / weights.sum(axis=1)) + 1e-9
    ).all()
