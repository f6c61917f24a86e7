"""Dates read off a curve: local days at the destination."""

import numpy as np
import pytest

from eta.calendars.local import day_ends
from eta.curves import Curves
from eta.journey.columns import Labels
from eta.promise import date_at, dates_at, probability_by, probability_by_day, windows

VIENNA = Labels.of(["Europe/Vienna"])
#: 22:00 of a Friday in Vienna, two days before its clocks go forward.
AS_OF = np.array(["2018-03-23T21:00"], dtype="datetime64[us]")


def dates(*texts: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array(texts, dtype="datetime64[D]")


def test_a_date_is_the_local_day_by_whose_end_the_parcel_has_arrived() -> None:
    curves = Curves.on_grid([0, 10, 30, 60], [[0.0, 0.5, 0.9, 0.95]])
    read = dates_at(curves, (0.05, 0.5, 0.9, 0.96), AS_OF, VIENNA)
    # After 1 hour, 10 hours and 30 hours; the last level is never reached.
    assert np.array_equal(read[0], dates("2018-03-23", "2018-03-24", "2018-03-25", "NaT"), equal_nan=True)
    assert date_at(curves, 0.5, AS_OF, VIENNA) == dates("2018-03-24")
    shown = windows(curves, AS_OF, VIENNA, coverage=0.8)
    assert [str(day[0]) for day in (shown.earliest_on, shown.median_on, shown.latest_on)] == ["2018-03-24", "2018-03-24", "2018-03-25"]


@pytest.mark.parametrize(("day", "hours"), [("2018-03-23", 2), ("2018-03-24", 26), ("2018-03-25", 49), ("2018-03-22", 0)])
def test_the_chance_of_a_day_is_that_of_the_hours_until_it_ends(day: str, hours: float) -> None:
    curves = Curves.on_grid([0, 60], [[0.0, 0.9]])
    assert probability_by_day(curves, AS_OF, dates(day)[:, None], VIENNA) == pytest.approx(np.array([[0.9 * hours / 60]]))
    assert probability_by(curves, AS_OF, day_ends(dates(day), VIENNA.codes, VIENNA.names)) == pytest.approx([0.9 * hours / 60])


def test_without_a_date_there_is_no_chance() -> None:
    curves = Curves.on_grid([0, 60], [[0.0, 0.9]])
    assert np.isnan(probability_by_day(curves, AS_OF, dates("NaT")[:, None], VIENNA)).all()
    assert np.isnan(probability_by(curves, AS_OF, np.array(["NaT"], dtype="datetime64[us]"))).all()


def test_each_parcel_reads_its_own_curve_in_its_own_zone() -> None:
    zone = Labels.of(["Asia/Tokyo", "Europe/Vienna", "Asia/Tokyo"])
    at = np.repeat(AS_OF, 3)
    curves = Curves.at_once([1.0, 1.0, 30.0])
    assert np.array_equal(date_at(curves, 0.5, at, zone), dates("2018-03-24", "2018-03-23", "2018-03-25"))
    days = np.array([["2018-03-23", "2018-03-24"]] * 3, dtype="datetime64[D]")
    assert probability_by_day(curves, at, days, zone).tolist() == [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
