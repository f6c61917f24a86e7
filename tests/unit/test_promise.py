"""Dates read off a curve: local days at the destination."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.calendars.local_time import day_ends, day_starts
from eta.curves import Curves
from eta.journey.categories import Categorical
from eta.local_dates import (
    cdf_at_instant,
    curves_from_daily_cdf,
    daily_cdf,
    dates_at,
    probability_by_day,
    windows,
)
from eta.promise import CANDIDATE_DAYS, PromiseCosts, PromisePolicy, costs_for_on_time_rate

VIENNA = Categorical.from_texts(["Europe/Vienna"])
#: 22:00 of a Friday in Vienna, two days before its clocks go forward.
AS_OF = np.array(["2018-03-23T21:00"], dtype="datetime64[us]")


def dates(*texts: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array(texts, dtype="datetime64[D]")


def test_a_date_is_the_local_day_by_whose_end_the_parcel_has_arrived() -> None:
    curves = Curves.from_grid([0, 10, 30, 60], [[0.0, 0.5, 0.9, 0.95]])
    read = dates_at(curves, (0.05, 0.5, 0.9, 0.96), AS_OF, VIENNA)
    # After 1 hour, 10 hours and 30 hours; the last level is never reached.
    assert np.array_equal(
        read[0], dates("2018-03-23", "2018-03-24", "2018-03-25", "NaT"), equal_nan=True
    )
    assert dates_at(curves, (0.5,), AS_OF, VIENNA)[:, 0] == dates("2018-03-24")
    ranges = windows(curves, AS_OF, VIENNA, coverage=0.8)
    assert [str(day[0]) for day in (ranges.earliest_on, ranges.median_on, ranges.latest_on)] == [
        "2018-03-24",
        "2018-03-24",
        "2018-03-25",
    ]


@pytest.mark.parametrize(
    ("day", "hours"), [("2018-03-23", 2), ("2018-03-24", 26), ("2018-03-25", 49), ("2018-03-22", 0)]
)
def test_the_probability_of_a_day_is_that_of_the_hours_until_its_end(
    day: str, hours: float
) -> None:
    curves = Curves.from_grid([0, 60], [[0.0, 0.9]])
    assert probability_by_day(curves, AS_OF, dates(day)[:, None], VIENNA) == pytest.approx(
        np.array([[0.9 * hours / 60]])
    )
    assert cdf_at_instant(
        curves, AS_OF, day_ends(dates(day), VIENNA.codes, VIENNA.names)
    ) == pytest.approx([0.9 * hours / 60])


def test_an_arrival_at_midnight_belongs_to_the_day_that_begins() -> None:
    # Midnight is two hours away.
    curves = Curves.point_mass([2.0])
    assert dates_at(curves, (0.5,), AS_OF, VIENNA)[0, 0] == dates("2018-03-24")[0]
    days = np.array([["2018-03-23", "2018-03-24"]], dtype="datetime64[D]")
    assert probability_by_day(curves, AS_OF, days, VIENNA).tolist() == [[0.0, 1.0]]


def test_without_a_date_there_is_no_probability() -> None:
    curves = Curves.from_grid([0, 60], [[0.0, 0.9]])
    assert np.isnan(probability_by_day(curves, AS_OF, dates("NaT")[:, None], VIENNA)).all()
    assert np.isnan(cdf_at_instant(curves, AS_OF, np.array(["NaT"], dtype="datetime64[us]"))).all()


def test_each_parcel_is_read_from_its_curve_in_its_zone() -> None:
    zone = Categorical.from_texts(["Asia/Tokyo", "Europe/Vienna", "Asia/Tokyo"])
    at = np.repeat(AS_OF, 3)
    curves = Curves.point_mass([1.0, 1.0, 30.0])
    assert np.array_equal(
        dates_at(curves, (0.5,), at, zone)[:, 0], dates("2018-03-24", "2018-03-23", "2018-03-25")
    )
    days = np.array([["2018-03-23", "2018-03-24"]] * 3, dtype="datetime64[D]")
    assert probability_by_day(curves, at, days, zone).tolist() == [
        [0.0, 1.0],
        [1.0, 1.0],
        [0.0, 0.0],
    ]


@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=12),
    st.integers(0, 24 * 60 - 1),
    st.sampled_from(["Europe/Vienna", "America/Sao_Paulo", "Pacific/Apia", "UTC"]),
)
def test_curves_of_daily_cdfs_return_the_daily_cdfs(
    probabilities: list[float], minute: int, zone: str
) -> None:
    cdf = np.array([sorted(probabilities)])
    where, first_on = Categorical.from_texts([zone]), dates("2018-03-24")
    as_of = day_starts(first_on, where.codes, where.names) + np.timedelta64(minute, "m")
    curves = curves_from_daily_cdf(cdf, as_of, first_on, where)
    assert daily_cdf(curves, as_of, first_on, cdf.shape[1], where) == pytest.approx(cdf, abs=1e-12)
    for probability in cdf[0][cdf[0] > 0]:
        # Of days with the same chance the first.
        date = dates_at(curves, (probability,), as_of, where)[0, 0]
        assert date == first_on[0] + int(np.searchsorted(cdf[0], probability))


CURVES = Curves.from_grid([0, 24 * 2, 24 * 4, 24 * 10], [[0.0, 0.5, 0.9, 0.98]])
#: Midnight of a Monday.
MONDAY = np.array(["2018-03-18T23:00"], dtype="datetime64[us]")


def promised(**policy: Any) -> int | None:
    day = PromisePolicy(**policy).dates(CURVES, MONDAY, VIENNA)[0]
    return None if np.isnat(day) else int((day - np.datetime64("2018-03-19")).astype(int))


def test_a_target_rate_gives_the_earliest_day_that_reaches_it() -> None:
    assert [promised(on_time_rate=rate) for rate in (0.51, 0.6, 0.89, 0.95, 0.99)] == [
        2,
        2,
        3,
        7,
        None,
    ]


def steps(*probabilities: tuple[int, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Chances of the days that may be promised: from each day on, so much."""
    table = np.zeros(CANDIDATE_DAYS)
    for day, probability in probabilities:
        table[day:] = probability
    return table


def days_at(
    costs: PromiseCosts, probabilities: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The days of least expected cost, by trying all of them."""
    return np.array(
        [
            min(
                range(CANDIDATE_DAYS),
                key=lambda day: costs.day * day + costs.late * (1.0 - order_cdf[day]),
            )
            for order_cdf in probabilities
        ]
    )


def test_no_day_is_added_where_it_adds_little_probability() -> None:
    """Days go to the orders whose probability they raise most.

    One kind of order gains 0.06 from ten days, the other 0.18 from one. Together they meet 0.94
    with a day and a half, each alone with six.
    """
    probabilities = np.array([steps((1, 0.90), (11, 0.96)), steps((1, 0.80), (2, 0.98))] * 5)
    once = np.ones(len(probabilities))
    costs = costs_for_on_time_rate(probabilities, once, 0.93)
    assert days_at(costs, probabilities).tolist() == [1, 2] * 5
    # Ten days for 0.06 are worth it only where a late parcel counts for 167 days.
    assert costs_for_on_time_rate(probabilities, once, 0.95).late == pytest.approx(
        10 / 0.06, rel=1e-3
    )
    assert (
        days_at(costs_for_on_time_rate(probabilities, once, 0.95), probabilities).tolist()
        == [11, 2] * 5
    )


def test_lost_orders_miss_the_promise_and_weights_count() -> None:
    """One in ten never arrives; of the others 8 in 9 arrive on the first day, all by the second."""
    probabilities = np.array([steps((1, 0.8), (2, 0.9)), steps((1, 0.9))])
    alone = np.array([1.0, 0.0])
    assert days_at(costs_for_on_time_rate(probabilities, alone, 0.79), probabilities)[0] == 1
    assert days_at(costs_for_on_time_rate(probabilities, alone, 0.81), probabilities)[0] == 2
    # No more is aimed for than arrive at all: no order gets the last day for it.
    assert days_at(costs_for_on_time_rate(probabilities, alone, 0.95), probabilities)[0] == 2
    # Nine of the other kind, all there on the first day, make up for it.
    assert (
        days_at(costs_for_on_time_rate(probabilities, np.array([1.0, 9.0]), 0.88), probabilities)[0]
        == 1
    )


@given(
    st.lists(
        st.lists(st.floats(0.0, 1.0), min_size=CANDIDATE_DAYS, max_size=CANDIDATE_DAYS),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.5, 0.99),
)
def test_orders_together_meet_the_rate_and_lower_costs_do_not(
    drawn: list[list[float]], rate: float
) -> None:
    probabilities = np.sort(np.array(drawn), axis=1)
    costs = costs_for_on_time_rate(probabilities, np.ones(len(probabilities)), rate)

    def on_time_share(late: float) -> float:
        return float(
            np.take_along_axis(
                probabilities, days_at(PromiseCosts(late=late), probabilities)[:, None], axis=1
            ).mean()
        )

    wanted = min(rate, 0.99 * probabilities[:, -1].mean())
    # If no cost in the range is high enough, the highest is returned.
    assert on_time_share(costs.late) >= wanted - 1e-12 or costs.late == pytest.approx(1e4)
    assert on_time_share(costs.late * 0.999) <= wanted + 1e-12 or costs.late == pytest.approx(
        1.0, rel=1e-3
    )


def test_bounds_hold_for_any_distribution() -> None:
    assert promised(on_time_rate=0.5, earliest_days=4) == 4
    assert promised(on_time_rate=0.95, latest_days=5) == 5
    assert promised(on_time_rate=0.99, latest_days=20) == 20
    assert promised(on_time_rate=None, costs=PromiseCosts(late=1000.0), latest_days=6) == 6


@pytest.mark.parametrize(
    "costs",
    [
        PromiseCosts(late=10.0),
        PromiseCosts(late_day=3.0),
        PromiseCosts(late=2.0, late_day=1.0, day=0.2),
        PromiseCosts(late=0.1),
    ],
)
def test_costs_choose_the_day_of_least_expected_loss(costs: PromiseCosts) -> None:
    # Days of arrival drawn from the curve; an order that never arrives is as late as the horizon.
    level = (np.arange(20_000) + 0.5) / 20_000
    hours = np.where(
        level < 0.98, CURVES.quantile_table(np.minimum(level, 0.98)[None, :])[0], 61 * 24.0
    )
    took = np.ceil(hours / 24.0) - 1
    lost = [
        costs.day * day
        + (costs.late * (took > day) + costs.late_day * np.maximum(took - day, 0)).mean()
        for day in range(61)
    ]
    assert promised(on_time_rate=None, costs=costs) == int(np.argmin(lost))


def test_a_higher_cost_of_lateness_never_promises_an_earlier_day() -> None:
    days = [
        promised(on_time_rate=None, costs=PromiseCosts(late=late)) or 0
        for late in (0.1, 1, 3, 10, 30, 100, 1000)
    ]
    assert days == sorted(days)
    assert days[0] < days[-1]


def test_in_flight_bounds_count_from_the_order_and_never_promise_the_past() -> None:
    week_before = np.array(["2018-03-11T23:00"], dtype="datetime64[us]")

    def later(**policy: Any) -> int:
        day = PromisePolicy(**policy).dates(CURVES, MONDAY, VIENNA, ordered_at=week_before)[0]
        return int((day - np.datetime64("2018-03-19")).astype(int))

    assert later(on_time_rate=0.6, earliest_days=11) == 4
    assert later(on_time_rate=0.95, latest_days=12) == 5
    assert later(on_time_rate=0.6, latest_days=3) == 0
