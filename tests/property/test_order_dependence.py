"""The first and the last of several parcels, for any distributions of the parcels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eta.forecast.order_dependence import (
    MAX_CORRELATION,
    ArrivalCorrelation,
    cdf_of_first,
    cdf_of_last,
)

#: Means over the factors are that exact.
ROUNDING = 1e-5
share = st.one_of(st.sampled_from([0.0, 1.0, 1e-12, 1.0 - 1e-12]), st.floats(0.0, 1.0))


@st.composite
def orders(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities by day that do not fall, counts and senders."""
    parcels, days = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    probabilities = [
        sorted(draw(st.lists(share, min_size=days, max_size=days))) for _ in range(parcels)
    ]
    count = draw(st.lists(st.integers(1, 4), min_size=parcels, max_size=parcels))
    sender = draw(st.lists(st.integers(0, 2), min_size=parcels, max_size=parcels))
    return np.array(probabilities), np.array(count), np.array(sender)


@st.composite
def correlations(draw: st.DrawFn) -> ArrivalCorrelation:
    within_sender = draw(
        st.one_of(st.sampled_from([0.0, MAX_CORRELATION, 1.0]), st.floats(0.0, MAX_CORRELATION))
    )
    return ArrivalCorrelation(
        within_sender=within_sender,
        between_senders=within_sender
        * draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))),
    )


@given(orders(), correlations())
def test_cdfs_lie_between_independence_and_full_correlation(
    order: tuple[np.ndarray, np.ndarray, np.ndarray], correlation: ArrivalCorrelation
) -> None:
    probabilities, count, _ = order
    first, last = cdf_of_first(*order, correlation), cdf_of_last(*order, correlation)
    assert (np.diff(first) >= 0.0).all()
    assert (np.diff(last) >= 0.0).all()
    # The first is no later than any parcel and the last no earlier, to the bit: so are dates read
    # from them.
    assert (first >= probabilities.max(axis=0)).all()
    assert (last <= probabilities.min(axis=0)).all()
    assert (last >= np.prod(probabilities ** count[:, None], axis=0) - 1e-12).all()
    assert (first <= 1.0 - np.prod((1.0 - probabilities) ** count[:, None], axis=0) + 1e-12).all()
    assert (last >= 0.0).all()
    assert (first <= 1.0).all()


@given(orders(), correlations(), correlations())
def test_first_and_last_get_closer_with_more_correlation(
    order: tuple[np.ndarray, np.ndarray, np.ndarray],
    one: ArrivalCorrelation,
    another: ArrivalCorrelation,
) -> None:
    less = ArrivalCorrelation(
        within_sender=min(one.within_sender, another.within_sender),
        between_senders=min(one.between_senders, another.between_senders),
    )
    more = ArrivalCorrelation(
        within_sender=max(one.within_sender, another.within_sender),
        between_senders=max(one.between_senders, another.between_senders),
    )
    # Slepian (1962).
    assert (cdf_of_last(*order, more) >= cdf_of_last(*order, less) - ROUNDING).all()
    assert (cdf_of_first(*order, more) <= cdf_of_first(*order, less) + ROUNDING).all()


@given(orders(), correlations(), st.randoms(use_true_random=False))
def test_order_of_the_parcels_does_not_matter(
    order: tuple[np.ndarray, np.ndarray, np.ndarray],
    correlation: ArrivalCorrelation,
    random: object,
) -> None:
    shuffled = np.arange(len(order[0]))
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    probabilities, count, sender = order
    for cdf in (cdf_of_last, cdf_of_first):
        moved = cdf(probabilities[shuffled], count[shuffled], sender[shuffled], correlation)
        np.testing.assert_allclose(moved, cdf(*order, correlation), atol=1e-9)
