from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.journey.last_normal_day import LastNormalDay, last_normal_day

START = np.datetime64("2026-03-02T12:00", "us")  # a Monday
DAY = np.timedelta64(1, "D")


def receipts(counts: Sequence[int]) -> NDArray[np.datetime64]:
    """So many receipts at noon (UTC) of each day from ``START`` on, out of order."""
    days = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(START + days * DAY)


def last_day(counts: Sequence[int]) -> int:
    """The number of the last normal day."""
    found = last_normal_day(receipts(counts), "UTC").day
    return (found - START.astype("datetime64[D]").astype(date)).days


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([7], 0, id="a single day"),
        pytest.param([10] * 60, 59, id="all days alike"),
        pytest.param([10] * 60 + [5, 1], 60, id="a day of a half, then one of a tenth"),
        pytest.param([8] * 60 + [2], 60, id="a quarter reaches"),
        pytest.param([8] * 60 + [1], 59, id="an eighth does not"),
        pytest.param([8] * 60 + [1, 0, 0, 8], 63, id="an outage before the last day"),
        pytest.param([10] * 60 + [0] * 300 + [1], 59, id="one mistyped year"),
        pytest.param([10] * 60 + [0] * 300 + [1, 0, 2, 1], 59, id="several, near each other"),
        pytest.param([1] + [0] * 3000 + [10] * 60, 3060, id="one mistyped year long before"),
        pytest.param([10, 10, 10, 1], 2, id="fewer than 28 days"),
        pytest.param([10, 0, 0, 0, 9], 4, id="fewer than 28 days, most of them empty"),
        pytest.param([3, 100], 1, id="the first day is a part of a day"),
        pytest.param([100, 100, 100, 100, 100, 20, 10] * 9, 60, id="Sunday is below a quarter"),
        pytest.param([100, 100, 100, 100, 100, 30, 26] * 9, 62, id="Sunday is above a quarter"),
        pytest.param([50, 0, 0, 0, 0, 0, 0] * 9, 56, id="one delivery of data a week"),
        pytest.param([1, 0, 0, 2, 0, 0, 0] * 9 + [0] * 200 + [1], 59, id="few rows, then a typo"),
        pytest.param([100] * 60 + [30] * 60, 119, id="less business is no end"),
        pytest.param([100] * 60 + [1000] * 60, 119, id="more business is no end"),
    ],
)
def test_day_of_few_rows_is_not_the_last_normal_one(counts: list[int], expected: int) -> None:
    assert last_day(counts) == expected


@pytest.mark.parametrize("half_life", [2.0, 5.0, 10.0, 20.0])
def test_tail_that_fades_slowly_is_not_followed_to_its_end(half_life: float) -> None:
    days = np.arange(300)
    tail = np.floor(5000 * 0.5 ** (days / half_life)).astype(int)
    # At its end a tail is near the median of the days before it, day after day.
    assert last_day([5000] * 300 + tail.tolist()) < 310 + 4.0 * half_life


def test_last_normal_day_is_one_of_the_zone_of_the_source() -> None:
    # 22:30 in São Paulo, which is the next day in UTC.
    late = np.arange(40) * DAY + np.datetime64("2018-05-01T01:30", "us")
    found = last_normal_day(late, "America/Sao_Paulo")
    assert found.day == date(2018, 6, 8)
    assert found.ends_at.isoformat() == "2018-06-09T03:00:00+00:00"
    assert found.last_received_at.isoformat() == "2018-06-09T01:30:00+00:00"


def test_rows_after_the_last_normal_day_are_counted() -> None:
    assert last_normal_day(receipts([10] * 60 + [1, 2, 0, 0, 1]), "UTC").rows_after == 4


def test_day_that_is_not_over_is_known_through_its_last_receipt() -> None:
    found = last_normal_day(receipts([10] * 30), "UTC")
    assert found.known_through(found.ends_at) == found.ends_at
    before = found.ends_at - timedelta(hours=1)
    assert found.known_through(before) == datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_a_year_nine_thousand_years_ahead_takes_no_memory_for_the_days_between() -> None:
    far = np.datetime64("9999-12-31T23:00", "us")
    found = last_normal_day(np.append(receipts([10] * 60), far), "UTC")
    assert (found.day, found.rows_after) == (date(2026, 4, 30), 1)


def test_no_rows_have_no_last_day() -> None:
    with pytest.raises(ValueError, match="no last day"):
        last_normal_day(np.array([], dtype="datetime64[us]"), "UTC")


def test_order_of_rows_does_not_matter() -> None:
    rows = receipts([10] * 60 + [1])
    assert last_normal_day(rows, "UTC") == last_normal_day(np.sort(rows), "UTC")
    assert isinstance(last_normal_day(rows, "UTC"), LastNormalDay)
