"""First and last of several parcels: exact limits, simulated orders, and learned correlations."""

from statistics import NormalDist

import numpy as np
import pytest

from eta.forecast.order_dependence import (
    MAX_CORRELATION,
    PRIOR,
    PRIOR_PAIRS,
    ArrivalCorrelation,
    cdf_of_first,
    cdf_of_last,
    normal_scores,
)

#: Three parcels by local day; the first two have one sender, and the last two may never arrive.
PROBABILITIES = np.array(
    [
        [0.0, 0.1, 0.3, 0.5, 0.8, 0.97, 1.0, 1.0],
        [0.0, 0.0, 0.2, 0.6, 0.7, 0.9, 0.95, 0.96],
        [0.05, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96],
    ]
)
ONE, SENDER = np.ones(3, dtype=np.int64), np.array([7, 7, 3])
#: Correlations within a sender and across.
KINDS = [(0.3, 0.3), (0.6, 0.0), (0.6, 0.2), (0.95, 0.95), (0.95, 0.1)]


def both(
    probabilities: np.ndarray,
    count: np.ndarray,
    sender: np.ndarray,
    within_sender: float,
    between_senders: float,
) -> tuple[np.ndarray, np.ndarray]:
    correlation = ArrivalCorrelation(within_sender=within_sender, between_senders=between_senders)
    return cdf_of_first(probabilities, count, sender, correlation), cdf_of_last(
        probabilities, count, sender, correlation
    )


def test_independent_parcels_multiply() -> None:
    first, last = both(PROBABILITIES, ONE, SENDER, 0.0, 0.0)
    np.testing.assert_allclose(last, PROBABILITIES.prod(axis=0), rtol=1e-12)
    np.testing.assert_allclose(first, 1.0 - (1.0 - PROBABILITIES).prod(axis=0), rtol=1e-12)


def test_fully_correlated_parcels_follow_the_slowest_and_fastest() -> None:
    first, last = both(PROBABILITIES, ONE, SENDER, 1.0, 1.0)
    np.testing.assert_array_equal(last, PROBABILITIES.min(axis=0))
    np.testing.assert_array_equal(first, PROBABILITIES.max(axis=0))


@pytest.mark.parametrize("correlation", [0.999, 1.0 - 1e-9, np.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_correlation_near_one_is_close_to_one(correlation: float, share: float) -> None:
    for kind in zip(
        both(PROBABILITIES, ONE, SENDER, correlation, share * correlation),
        both(PROBABILITIES, ONE, SENDER, 1.0, share),
        strict=True,
    ):
        np.testing.assert_allclose(*kind, atol=0.02)


def test_nearly_flat_probabilities_do_not_fall() -> None:
    starts = np.random.default_rng(2).random((2, 300))
    for first in starts.T:
        probabilities = [first]
        for _ in range(5):
            probabilities.append(np.nextafter(probabilities[-1], 1.0))
        for cdf in both(np.array(probabilities).T, ONE[:2], SENDER[:2], 0.3, 0.3):
            assert (np.diff(cdf) >= 0.0).all()


def test_fully_correlated_senders_count_once_each() -> None:
    first, last = both(PROBABILITIES, ONE, SENDER, 1.0, 0.0)
    np.testing.assert_allclose(last, PROBABILITIES[:2].min(axis=0) * PROBABILITIES[2], atol=1e-12)
    np.testing.assert_allclose(
        first, 1.0 - (1.0 - PROBABILITIES[:2].max(axis=0)) * (1.0 - PROBABILITIES[2]), atol=1e-12
    )


@pytest.mark.parametrize(("within_sender", "between_senders"), KINDS)
def test_probabilities_match_simulated_orders(within_sender: float, between_senders: float) -> None:
    random = np.random.default_rng(5)
    draws = 400_000
    shared, within, residual = (random.standard_normal((draws, columns)) for columns in (1, 2, 3))
    scores = (
        np.sqrt(between_senders) * shared
        + np.sqrt(within_sender - between_senders) * within[:, [0, 0, 1]]
        + np.sqrt(1.0 - within_sender) * residual
    )
    arrived = scores[:, :, None] <= normal_scores(PROBABILITIES)
    first, last = both(PROBABILITIES, ONE, SENDER, within_sender, between_senders)
    # Four standard errors.
    np.testing.assert_allclose(
        last, arrived.all(axis=1).mean(axis=0), atol=4 * 0.5 / np.sqrt(draws)
    )
    np.testing.assert_allclose(
        first, arrived.any(axis=1).mean(axis=0), atol=4 * 0.5 / np.sqrt(draws)
    )


def test_two_parcels_at_their_medians_match_sheppards_formula() -> None:
    # Sheppard (1899): 1/4 + arcsin(r) / (2 pi).
    half, sender = np.full((2, 1), 0.5), np.zeros(2, dtype=np.int64)
    for correlation in (0.1, 0.5, 0.8, 0.95):
        _, last = both(half, np.ones(2, dtype=np.int64), sender, correlation, 0.0)
        assert last[0] == pytest.approx(0.25 + np.arcsin(correlation) / (2.0 * np.pi), abs=1e-7)


@pytest.mark.parametrize(("within_sender", "between_senders"), [(0.0, 0.0), *KINDS])
def test_single_parcel_is_unchanged_to_the_bit(
    within_sender: float, between_senders: float
) -> None:
    for parcel_cdf in PROBABILITIES[:, None]:
        for order_cdf in both(
            parcel_cdf,
            np.ones(1, dtype=np.int64),
            np.zeros(1, dtype=np.int64),
            within_sender,
            between_senders,
        ):
            np.testing.assert_array_equal(order_cdf, parcel_cdf[0])


@pytest.mark.parametrize(("within_sender", "between_senders"), KINDS)
def test_identical_parcels_may_be_given_as_a_count(
    within_sender: float, between_senders: float
) -> None:
    separate = both(
        PROBABILITIES[[0, 0, 0, 2]],
        np.ones(4, dtype=np.int64),
        SENDER[[0, 0, 0, 2]],
        within_sender,
        between_senders,
    )
    counted = both(
        PROBABILITIES[[0, 2]], np.array([3, 1]), SENDER[[0, 2]], within_sender, between_senders
    )
    np.testing.assert_allclose(counted, separate, atol=1e-12)


def test_high_correlation_and_many_parcels_stay_exact() -> None:
    # Twenty alike at 0.95: the factor's step is steep, where fixed nodes go wrong. Given z, the
    # last is a power of one Phi.
    single = np.linspace(0.01, 0.99, 50)[None]
    _, last = both(single, np.array([20]), np.zeros(1, dtype=np.int64), 0.95, 0.95)
    z = np.linspace(-8.0, 8.0, 8001)
    weights = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    given = np.vectorize(_phi)((normal_scores(single).T - np.sqrt(0.95) * z) / np.sqrt(0.05)) ** 20
    np.testing.assert_allclose(last, given @ weights, atol=5e-6)


def _phi(score: float) -> float:
    return NormalDist().cdf(score)


def drawn(
    places: int, within_sender: float, between_senders: float, *, seed: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PIT, place and sender of four parcels a place, two of each of its two senders."""
    random = np.random.default_rng(seed)
    shared, within, residual = (random.standard_normal((places, columns)) for columns in (1, 2, 4))
    scores = (
        np.sqrt(between_senders) * shared
        + np.sqrt(within_sender - between_senders) * within[:, [0, 0, 1, 1]]
        + np.sqrt(1.0 - within_sender) * residual
    )
    pit = np.vectorize(_phi)(scores)
    return pit.ravel(), np.repeat(np.arange(places), 4), np.tile([5, 5, 2, 2], places)


def test_fit_recovers_the_correlation() -> None:
    fitted = ArrivalCorrelation.fit(*drawn(6_000, 0.5, 0.1))
    assert (fitted.within_sender, fitted.between_senders) == pytest.approx((0.5, 0.1), abs=0.025)
    assert (fitted.within_sender_pairs, fitted.between_senders_pairs) == (12_000, 12_000)


def test_fit_of_independent_parcels_is_near_zero() -> None:
    fitted = ArrivalCorrelation.fit(*drawn(20_000, 0.0, 0.0))
    assert (fitted.within_sender, fitted.between_senders) == pytest.approx((0.0, 0.0), abs=0.02)


def test_common_error_of_all_curves_is_no_correlation() -> None:
    pit, place, sender = drawn(20_000, 0.3, 0.1)
    # All later than forecast, with curves that are too wide.
    wrong = np.vectorize(_phi)(0.5 * normal_scores(pit) + 1.0)
    right, fitted = (
        ArrivalCorrelation.fit(pit, place, sender),
        ArrivalCorrelation.fit(wrong, place, sender),
    )
    assert (fitted.within_sender, fitted.between_senders) == pytest.approx(
        (right.within_sender, right.between_senders), abs=0.01
    )


def test_few_pairs_are_shrunk_to_the_prior() -> None:
    pit, place, sender = drawn(1, 0.5, 0.1)
    scores = normal_scores(pit) - normal_scores(pit).mean()
    products = (scores[0] * scores[1] + scores[2] * scores[3]) / (scores**2).mean()
    fitted = ArrivalCorrelation.fit(pit, place, sender)
    assert fitted.within_sender == pytest.approx(
        (products + PRIOR * PRIOR_PAIRS) / (2 + PRIOR_PAIRS)
    )
    assert (fitted.within_sender_pairs, fitted.between_senders_pairs) == (2, 2)


@pytest.mark.parametrize("pit", [[], [np.nan, np.nan], [0.4]])
def test_without_pairs_the_prior_stays(pit: list[float]) -> None:
    count = len(pit)
    assert (
        ArrivalCorrelation.fit(
            np.array(pit), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        )
        == ArrivalCorrelation()
    )


def test_fitted_correlation_stays_within_bounds() -> None:
    one = np.zeros(4_000, dtype=np.int64)
    twins = np.repeat(np.random.default_rng(1).random(40_000), 2)
    assert (
        ArrivalCorrelation.fit(
            twins, np.arange(80_000) // 2, np.zeros(80_000, dtype=np.int64)
        ).within_sender
        == MAX_CORRELATION
    )
    opposed = np.tile([0.01, 0.99], 2_000)
    assert 0.0 <= ArrivalCorrelation.fit(opposed, np.arange(4_000) // 2, one).within_sender < 0.05


def test_correlation_between_senders_is_at_most_that_within() -> None:
    twins = np.repeat(np.random.default_rng(1).random(300), 2)
    fitted = ArrivalCorrelation.fit(twins, np.arange(600) // 2, np.tile([0, 1], 300))
    # 300 pairs at 1 and the two assumptions.
    assert (
        fitted.between_senders
        == fitted.within_sender
        == pytest.approx((300 + 2 * PRIOR * PRIOR_PAIRS) / (300 + 2 * PRIOR_PAIRS), abs=0.01)
    )
    assert (fitted.within_sender_pairs, fitted.between_senders_pairs) == (0, 300)


def test_correlation_of_an_order_is_the_mean_of_its_pairs() -> None:
    correlation = ArrivalCorrelation(
        within_sender=0.5, between_senders=0.1, within_sender_pairs=30, between_senders_pairs=70
    )
    assert correlation.mean_correlation(np.array([4]), np.array([1])) is None
    assert correlation.mean_correlation(np.array([4]), np.array([3])) == (0.5, 30)
    assert correlation.mean_correlation(np.array([4, 9]), np.array([1, 1])) == (0.1, 70)
    # One pair within, two across.
    assert correlation.mean_correlation(np.array([4, 9, 4]), np.array([1, 1, 1])) == pytest.approx(
        ((0.5 + 0.1 + 0.1) / 3, 100)
    )


def test_correlation_json_round_trip() -> None:
    correlation = ArrivalCorrelation(
        within_sender=0.5, between_senders=0.1, within_sender_pairs=30, between_senders_pairs=70
    )
    assert ArrivalCorrelation.from_json(correlation.to_json()) == correlation
    assert ArrivalCorrelation.from_json({}) == ArrivalCorrelation()
