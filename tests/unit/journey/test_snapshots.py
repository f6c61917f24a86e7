"""Moments of training: purchases alone, and up to an earlier moment."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from eta.calendars.local_time import to_instant
from eta.journey.examples import Outcomes, examples
from eta.journey.snapshots import PURCHASE, Snapshots, purchase_snapshots, training_snapshots
from eta.journey.timelines import Timelines
from support.journeys import START, parcels

UNTIL = to_instant(START + timedelta(days=40))


@pytest.fixture(scope="module")
def timelines() -> Timelines:
    return Timelines.from_frames(*parcels(300, days=60))


@pytest.fixture(scope="module")
def without_orders() -> Timelines:
    shipments, events = parcels(300, days=60)
    return Timelines.from_frames(shipments, events[events["event_code"] != "order_created"])


def is_same(one: Snapshots, other: Snapshots) -> bool:
    """Whether the moments, and everything that a model sees of them, are the same."""
    numbers = zip(one.features.numbers.values(), other.features.numbers.values(), strict=True)
    texts = one.features.categoricals
    return (
        (one.pairs.row == other.pairs.row).all()
        and (one.pairs.as_of == other.pairs.as_of).all()
        and (one.moment == other.moment).all()
        and all(np.array_equal(a, b, equal_nan=True) for a, b in numbers)
        and all(
            (texts[name].texts() == other.features.categoricals[name].texts()).all()
            for name in texts
        )
    )


@pytest.mark.parametrize("data", ["timelines", "without_orders"])
def test_purchases_are_those_of_the_training(data: str, request: pytest.FixtureRequest) -> None:
    lines = request.getfixturevalue(data)
    training = training_snapshots(lines, UNTIL)
    purchases = training.take(np.flatnonzero(training.moment == PURCHASE))
    assert len(purchases)
    assert is_same(purchase_snapshots(lines, UNTIL), purchases)


def test_order_received_twice_is_one_purchase() -> None:
    shipments, events = parcels(50, days=20)
    is_order = events["event_code"] == "order_created"
    again = events[is_order].assign(raw_code="again")
    lines = Timelines.from_frames(shipments, pd.concat([events, again], ignore_index=True))
    purchases = purchase_snapshots(lines, UNTIL)
    assert len(np.unique(purchases.pairs.row)) == len(purchases)


def test_training_until_an_earlier_moment_is_the_training_before_it(timelines: Timelines) -> None:
    earlier = to_instant(START + timedelta(days=25))
    outcomes = Outcomes.at(timelines, earlier)
    longer = examples(training_snapshots(timelines, UNTIL), outcomes)
    shorter = examples(training_snapshots(timelines, earlier), outcomes)
    assert len(shorter)
    assert (longer.row == shorter.row).all()
    assert (longer.as_of == shorter.as_of).all()
    assert (longer.duration_hours == shorter.duration_hours).all()
    assert (longer.event_observed == shorter.event_observed).all()


def test_examples_of_past_snapshots_share_their_memory(timelines: Timelines) -> None:
    snapshots = training_snapshots(timelines, UNTIL)
    taken = examples(snapshots, Outcomes.at(timelines, UNTIL))
    assert taken.features is snapshots.features
