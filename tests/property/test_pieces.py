"""The laws of the first and the last of several parcels, whatever the laws of the parcels are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eta.forecast.order_dependence import MOST, Dependence, all_by, any_by

#: Means over the factors are that exact.
ROUNDING = 1e-5
share = st.one_of(st.sampled_from([0.0, 1.0, 1e-12, 1.0 - 1e-12]), st.floats(0.0, 1.0))


@st.composite
def orders(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chances by day that do not fall, counts and senders."""
    pieces, days = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    laws = [sorted(draw(st.lists(share, min_size=days, max_size=days))) for _ in range(pieces)]
    count = draw(st.lists(st.integers(1, 4), min_size=pieces, max_size=pieces))
    sender = draw(st.lists(st.integers(0, 2), min_size=pieces, max_size=pieces))
    return np.array(laws), np.array(count), np.array(sender)


@st.composite
def dependences(draw: st.DrawFn) -> Dependence:
    same = draw(st.one_of(st.sampled_from([0.0, MOST, 1.0]), st.floats(0.0, MOST)))
    return Dependence(
        same=same, other=same * draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)))
    )


@given(orders(), dependences())
def test_they_are_laws_between_independence_and_moving_as_one(
    order: tuple[np.ndarray, np.ndarray, np.ndarray], dependence: Dependence
) -> None:
    chances, count, _ = order
    first, last = any_by(*order, dependence), all_by(*order, dependence)
    assert (np.diff(first) >= 0.0).all()
    assert (np.diff(last) >= 0.0).all()
    # The first is no later than any parcel and the last no earlier, to the bit: so are dates read
    # from them.
    assert (first >= chances.max(axis=0)).all()
    assert (last <= chances.min(axis=0)).all()
    assert (last >= np.prod(chances ** count[:, None], axis=0) - 1e-12).all()
    assert (first <= 1.0 - np.prod((1.0 - chances) ** count[:, None], axis=0) + 1e-12).all()
    assert (last >= 0.0).all()
    assert (first <= 1.0).all()


@given(orders(), dependences(), dependences())
def test_the_more_they_share_the_nearer_first_and_last_are(
    order: tuple[np.ndarray, np.ndarray, np.ndarray], one: Dependence, another: Dependence
) -> None:
    less = Dependence(same=min(one.same, another.same), other=min(one.other, another.other))
    more = Dependence(same=max(one.same, another.same), other=max(one.other, another.other))
    # Slepian (1962).
    assert (all_by(*order, more) >= all_by(*order, less) - ROUNDING).all()
    assert (any_by(*order, more) <= any_by(*order, less) + ROUNDING).all()


@given(orders(), dependences(), st.randoms(use_true_random=False))
def test_the_order_of_the_pieces_does_not_matter(
    order: tuple[np.ndarray, np.ndarray, np.ndarray], dependence: Dependence, random: object
) -> None:
    shuffled = np.arange(len(order[0]))
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    chances, count, sender = order
    for made in (all_by, any_by):
        moved = made(chances[shuffled], count[shuffled], sender[shuffled], dependence)
        np.testing.assert_allclose(moved, made(*order, dependence), atol=1e-9)
