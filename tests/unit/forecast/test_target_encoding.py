"""Target encoding: the typical time of a category, never a row's own outcome."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eta.calendars.local_time import to_instant
from eta.forecast.target_encoding import FOLDS, HierarchicalTargetEncoder, encode_out_of_fold
from eta.journey.categories import Categorical
from eta.journey.features import CATEGORICAL_COLUMNS, Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.state import AsOfPairs
from eta.journey.timelines import Timelines
from support.journeys import START, parcels

LANE = CATEGORICAL_COLUMNS.index("lane")
SERVICE_LANE = CATEGORICAL_COLUMNS.index("service_lane")
PLACE = CATEGORICAL_COLUMNS.index("place")


def features_with(count: int, **labels: list[str | None]) -> Features:
    shipments, events = parcels(count)
    timelines = Timelines.from_frames(shipments, events)
    plain = features(timelines, AsOfPairs.all_at(timelines, to_instant(START)), PlaceEffects())
    return Features(
        {
            **plain.categoricals,
            **{name: Categorical.from_texts(texts) for name, texts in labels.items()},
        },
        plain.numbers,
        plain.local_as_of,
        plain.calendar,
    )


def test_category_is_shrunk_to_the_overall_mean() -> None:
    features_of_parcels = features_with(4, lane=["a", "a", "b", None])
    encoder = HierarchicalTargetEncoder.fit(
        features_of_parcels.categoricals,
        np.array([1.0, 3.0, 8.0, 4.0]),
        np.full(4, True),
        prior=2.0,
    )
    # The mean of all is 4.
    assert encoder.transform(features_of_parcels.categoricals)[:, LANE] == pytest.approx(
        [(4 + 8) / 4, (4 + 8) / 4, (8 + 8) / 3, 4.0]
    )


def test_unknown_category_has_the_value_of_its_base() -> None:
    encoder = HierarchicalTargetEncoder.fit(
        features_with(3, lane=["a", "a", "b"]).categoricals,
        np.array([1.0, 3.0, 8.0]),
        np.full(3, True),
        prior=2.0,
    )
    assert encoder.transform(features_with(1, lane=["c"]).categoricals)[0, LANE] == pytest.approx(
        4.0
    )


def test_service_on_a_new_lane_adds_both_effects() -> None:
    features_of_parcels = features_with(
        4,
        lane=["a", "b", "a", "b"],
        service=["x", "x", "y", "y"],
        service_lane=["xa", "xb", "ya", None],
    )
    encoder = HierarchicalTargetEncoder.fit(
        features_of_parcels.categoricals,
        np.array([1.0, 2.0, 5.0, 6.0]),
        np.full(4, True),
        prior=1.0,
    )
    values = encoder.transform(features_of_parcels.categoricals)
    mean, lane, service = 3.5, values[3, LANE], values[3, CATEGORICAL_COLUMNS.index("service")]
    assert values[3, SERVICE_LANE] == pytest.approx(lane + service - mean)


def test_places_are_encoded_by_scans_and_routes_by_purchases() -> None:
    features_of_parcels = features_with(
        4,
        lane=["a", "a", "a", "a"],
        place=[None, "hub", "hub", "depot"],
        place_lane=[None, "hub|x", "hub|y", "depot|x"],
    )
    encoder = HierarchicalTargetEncoder.fit(
        features_of_parcels.categoricals,
        np.array([8.0, 4.0, 4.0, 1.0]),
        np.array([True, False, False, False]),
        prior=1.0,
    )
    values = encoder.transform(features_of_parcels.categoricals)
    assert values[0, LANE] == pytest.approx(8.0)
    # The mean over scans is 3.
    hub = (4 + 4 + 3) / 3
    assert values[:, PLACE] == pytest.approx([3.0, hub, hub, (1 + 3) / 2])
    assert values[1, CATEGORICAL_COLUMNS.index("place_lane")] == pytest.approx((4 + hub) / 2)


def folded(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lane's value for ten parcels on one lane, each in the fold of its number."""
    lanes = features_with(10, lane=["a"] * 10).categoricals
    parcel = np.arange(10, dtype=np.uint64)
    return encode_out_of_fold(lanes, parcel, lanes, parcel, times, np.full(10, True), 1.0)[:, LANE]


def test_training_row_does_not_see_its_own_outcome() -> None:
    times = np.arange(10.0)
    changed = times.copy()
    changed[3] += 100.0
    same_fold = np.arange(10) % FOLDS == 3
    assert (folded(times)[same_fold] == folded(changed)[same_fold]).all()
    assert (folded(times)[~same_fold] != folded(changed)[~same_fold]).all()
