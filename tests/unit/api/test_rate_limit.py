"""Rate limits of keys, which count by a clock that is never set."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eta.api.problem_details import ProblemError
from eta.api.rate_limit import RateLimiter, TokenBuckets
from eta.domain.access import Principal


class SteadyClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> SteadyClock:
    return SteadyClock()


def _take(buckets: TokenBuckets, count: int, key: str = "one") -> list[float]:
    return [buckets.take(key) for _ in range(count)]


def test_a_bucket_is_full_at_first(clock: SteadyClock) -> None:
    buckets = TokenBuckets("3/hour", clock)
    assert _take(buckets, 5) == [0, 0, 0, 1_200, 1_200]


@pytest.mark.parametrize(
    ("rate", "seconds"), [("2/second", 0.5), ("6/minute", 10), ("1/day", 86_400)]
)
def test_a_token_comes_back_after_its_part_of_the_period(
    rate: str, seconds: float, clock: SteadyClock
) -> None:
    buckets = TokenBuckets(rate, clock)
    while not buckets.take("one"):
        pass
    clock.seconds += seconds * 0.9
    assert buckets.take("one") == pytest.approx(seconds * 0.1)
    clock.seconds += seconds * 0.1
    assert _take(buckets, 2) == [0, pytest.approx(seconds)]


def test_a_full_bucket_holds_no_more_however_long_it_waited(clock: SteadyClock) -> None:
    buckets = TokenBuckets("3/second", clock)
    _take(buckets, 3)
    clock.seconds += 1e9
    assert [wait > 0 for wait in _take(buckets, 4)] == [False, False, False, True]


def test_no_token_is_lost_to_rounding(clock: SteadyClock) -> None:
    clock.seconds = 1e8 / 3
    assert not any(_take(TokenBuckets("100000/day", clock), 100_000))


def test_keys_have_buckets_of_their_own(clock: SteadyClock) -> None:
    buckets = TokenBuckets("1/hour", clock)
    assert _take(buckets, 2, "one") == [0, 3_600]
    assert _take(buckets, 2, "two") == [0, 3_600]


@pytest.fixture(params=[-3_600.0, 3_600.0, -1e9, 1e9])
def set_wall_clock(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Sets the wall clock at each reading, ever further."""
    readings = iter(range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: 1.8e9 + request.param * next(readings))
    yield


@pytest.mark.usefixtures("set_wall_clock")
def test_a_wall_clock_that_is_set_changes_no_limit() -> None:
    limiter = RateLimiter("2/minute")
    principal = Principal(name="one")
    for _ in range(2):
        limiter.count(principal)
    with pytest.raises(ProblemError) as refusal:
        limiter.count(principal)
    assert (refusal.value.status_code, refusal.value.headers) == (429, {"Retry-After": "30"})
