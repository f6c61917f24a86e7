"""Non-arrival: removes noise from the share, and preserves the distribution of arrivals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eta.domain.errors import ModelCorrupted
from eta.forecast.hazard.non_arrival import NonArrival
from eta.forecast.hazard.recalibration import STAGES, CumulativeHazardInterval

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

COUNT = 40_000
#: The mean days of those that arrive.
DAYS = 4.0


def fitted(
    predicted: Floats, true: Floats, *, open_for: float = 60.0, stage: int = 0
) -> NonArrival:
    """Fitted to shares ``predicted`` and ``true``, (N,), of parcels observed for some days."""
    random = np.random.default_rng(1)
    days = np.where(
        random.random(len(predicted)) < true, np.inf, random.exponential(DAYS, len(predicted))
    )
    arrived = days <= open_for
    upper = -np.log(predicted + (1.0 - predicted) * np.exp(-np.minimum(days, open_for) / DAYS))
    return NonArrival.fit(
        -np.log(predicted),
        CumulativeHazardInterval(upper, upper, arrived, np.full(len(predicted), stage)),
    )


def shares(non_arrival: NonArrival, predicted: Floats) -> Floats:
    """The corrected shares of curves with the shares ``predicted``."""
    return np.exp(
        -non_arrival.apply(-np.log(predicted)[:, None], np.zeros(len(predicted), dtype=np.int64))[
            :, 0
        ]
    )


def around(share: float, spread: float) -> Floats:
    """Shares whose logits are spread around that of one."""
    logit = np.log(share / (1.0 - share)) + spread * np.random.default_rng(2).standard_normal(COUNT)
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def test_noisy_share_is_shrunk_to_the_overall_share() -> None:
    predicted = around(0.02, 0.7)
    now = shares(fitted(predicted, np.full(COUNT, 0.02)), predicted)
    assert now.mean() == pytest.approx(0.02, abs=0.002)
    assert np.log(now).std() < np.log(predicted).std() / 4.0


def test_real_differences_between_shares_stay() -> None:
    predicted = around(0.2, 1.5)
    assert shares(fitted(predicted, predicted), predicted) == pytest.approx(predicted, rel=0.1)


def test_shares_never_differ_more_than_the_curves_say() -> None:
    predicted, true = around(0.05, 0.4), around(0.05, 1.2)
    assert (fitted(predicted, true).coefficients == NonArrival.identity().coefficients).all()


def test_recently_opened_parcels_are_not_counted_as_lost() -> None:
    predicted = around(0.02, 0.7)
    # A tenth is still open.
    assert shares(
        fitted(predicted, np.full(COUNT, 0.02), open_for=9.0), predicted
    ).mean() == pytest.approx(0.02, abs=0.004)


def test_stages_are_fitted_apart_and_few_parcels_change_little() -> None:
    predicted = around(0.02, 0.7)
    coefficients = fitted(predicted, np.full(COUNT, 0.02), stage=1).coefficients
    assert coefficients[1, 1] < 0.3
    assert (np.delete(coefficients, 1, axis=0) == [0.0, 1.0]).all()
    assert fitted(predicted[:50], np.full(50, 0.02)).coefficients[0, 1] > 0.9


@given(
    intercept=st.floats(-10.0, 5.0),
    slope=st.floats(0.0, 1.0),
    steps=st.lists(st.floats(0.0, 20.0), min_size=2, max_size=20),
)
def test_correction_rises_and_preserves_the_shape_of_arrivals(
    intercept: float, slope: float, steps: list[float]
) -> None:
    hazards = np.cumsum([1e-3, *steps])[None, :]
    now = NonArrival(np.tile([intercept, slope], (len(STAGES), 1))).apply(
        hazards, np.zeros(1, dtype=np.int64)
    )
    assert np.isfinite(now).all()
    assert (now >= -1e-9).all()
    assert (np.diff(now) >= -1e-9).all()
    before, after = (-np.expm1(-hazard) / -np.expm1(-hazard[:, -1:]) for hazard in (hazards, now))
    assert after == pytest.approx(before, abs=1e-6)


def test_identity_correction_changes_nothing() -> None:
    hazards = np.array([[0.0, 0.5, 3.0, 12.0], [0.0, 0.0, 1e-4, 0.02]])
    assert (NonArrival.identity().apply(hazards, np.array([0, 3])) == hazards).all()
    nearly = NonArrival(NonArrival.identity().coefficients + np.array([1e-12, 0.0]))
    assert nearly.apply(hazards, np.array([0, 3])) == pytest.approx(hazards, rel=1e-6, abs=1e-12)


def test_coefficients_of_other_stages_are_rejected() -> None:
    with pytest.raises(ModelCorrupted, match="train the model again"):
        NonArrival.from_coefficients(np.ones((2, 2)))
