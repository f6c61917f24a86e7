"""Noise in the share that never arrives is taken away, what is known of it stays, and the law of those that arrive keeps its shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.non_arrival import NeverShare
from eta.forecast.hazard.recalibration import STAGES, Passed

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

COUNT = 40_000
#: The mean days of those that arrive.
DAYS = 4.0


def learned(told: Floats, true: Floats, *, open_for: float = 60.0, stage: int = 0) -> NeverShare:
    """From parcels of which ``told`` (N,) were said to never arrive, and ``true`` do; all were seen for ``open_for`` days."""
    random = np.random.default_rng(1)
    days = np.where(random.random(len(told)) < true, np.inf, random.exponential(DAYS, len(told)))
    came = days <= open_for
    until = -np.log(told + (1.0 - told) * np.exp(-np.minimum(days, open_for) / DAYS))
    return NeverShare.learn(-np.log(told), Passed(until, until, came, np.full(len(told), stage)))


def shares(of: NeverShare, told: Floats) -> Floats:
    """What laws that said ``told`` say now."""
    return np.exp(-of.of(-np.log(told)[:, None], np.zeros(len(told), dtype=np.int64))[:, 0])


def around(share: float, spread: float) -> Floats:
    """Shares whose logits are spread about that of one."""
    logit = np.log(share / (1.0 - share)) + spread * np.random.default_rng(2).standard_normal(COUNT)
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def test_a_share_that_is_noise_becomes_that_of_all() -> None:
    told = around(0.02, 0.7)
    now = shares(learned(told, np.full(COUNT, 0.02)), told)
    assert now.mean() == pytest.approx(0.02, abs=0.002)
    assert np.log(now).std() < np.log(told).std() / 4.0


def test_what_is_known_of_a_share_stays() -> None:
    told = around(0.2, 1.5)
    assert shares(learned(told, told), told) == pytest.approx(told, rel=0.1)


def test_shares_are_never_told_further_apart_than_the_laws_do() -> None:
    told, true = around(0.05, 0.4), around(0.05, 1.2)
    assert (learned(told, true).lines == NeverShare.as_told().lines).all()


def test_parcels_that_are_open_for_a_little_while_are_not_taken_for_lost() -> None:
    told = around(0.02, 0.7)
    # A tenth is still open.
    assert shares(learned(told, np.full(COUNT, 0.02), open_for=9.0), told).mean() == pytest.approx(
        0.02, abs=0.004
    )


def test_a_stage_says_nothing_about_the_other_and_few_parcels_say_little() -> None:
    told = around(0.02, 0.7)
    lines = learned(told, np.full(COUNT, 0.02), stage=1).lines
    assert lines[1, 1] < 0.3
    assert (np.delete(lines, 1, axis=0) == [0.0, 1.0]).all()
    assert learned(told[:50], np.full(50, 0.02)).lines[0, 1] > 0.9


@given(
    intercept=st.floats(-10.0, 5.0),
    slope=st.floats(0.0, 1.0),
    steps=st.lists(st.floats(0.0, 20.0), min_size=2, max_size=20),
)
def test_a_law_never_turns_back_and_keeps_the_shape_of_those_that_arrive(
    intercept: float, slope: float, steps: list[float]
) -> None:
    hazards = np.cumsum([1e-3, *steps])[None, :]
    now = NeverShare(np.tile([intercept, slope], (len(STAGES), 1))).of(
        hazards, np.zeros(1, dtype=np.int64)
    )
    assert np.isfinite(now).all()
    assert (now >= -1e-9).all()
    assert (np.diff(now) >= -1e-9).all()
    before, after = (-np.expm1(-each) / -np.expm1(-each[:, -1:]) for each in (hazards, now))
    assert after == pytest.approx(before, abs=1e-6)


def test_laws_as_told_stay_as_they_are() -> None:
    hazards = np.array([[0.0, 0.5, 3.0, 12.0], [0.0, 0.0, 1e-4, 0.02]])
    assert (NeverShare.as_told().of(hazards, np.array([0, 3])) == hazards).all()
    nearly = NeverShare(NeverShare.as_told().lines + np.array([1e-12, 0.0]))
    assert nearly.of(hazards, np.array([0, 3])) == pytest.approx(hazards, rel=1e-6, abs=1e-12)


def test_lines_of_other_stages_are_refused() -> None:
    with pytest.raises(ModelCorrupted, match="train the model again"):
        NeverShare.of_lines(np.ones((2, 2)))
