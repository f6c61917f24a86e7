"""The parts of a fitted hazard model as named arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import HolidayCalendar
from eta.forecast.base import Arrays
from eta.forecast.design_matrix import Design
from eta.forecast.hazard.active_hours import ActivityProfile
from eta.forecast.hazard.parameters import HazardParameters
from eta.forecast.hazard.trees import Forest
from eta.forecast.target_encoding import HierarchicalTargetEncoder
from eta.journey.features import CATEGORICAL_COLUMNS

NamedArrays = dict[str, NDArray[Any]]
_LABELS, _AGAINST_PROMISE, _FOREST = "label", "against_promise", "forest."


def part_arrays(forest: Forest, activity: ActivityProfile, design: Design) -> NamedArrays:
    """The arrays of the parts of a model; the holidays of the activity profile are not stored."""
    arrays: NamedArrays = {f"{_FOREST}{name}": values for name, values in forest._asdict().items()}
    arrays["activity.carriers"] = np.array(activity.carriers, dtype=np.str_)
    arrays["activity.profile"] = activity.profile
    arrays["activity.holiday_factor"] = np.array(activity.holiday_factor)
    arrays |= _encoder_arrays(_LABELS, design.labels)
    if design.against_promise is not None:
        arrays |= _encoder_arrays(_AGAINST_PROMISE, design.against_promise)
    return arrays


def parts_from_arrays(
    arrays: Arrays, parameters: HazardParameters, holidays: HolidayCalendar
) -> tuple[Forest, ActivityProfile, Design]:
    """The parts that ``part_arrays`` stored, of a model with these parameters and holidays."""
    forest = {
        name.removeprefix(_FOREST): values
        for name, values in arrays.items()
        if name.startswith(_FOREST)
    }
    carriers = tuple(str(name) for name in arrays["activity.carriers"])
    holiday_factor = float(arrays["activity.holiday_factor"])
    activity = ActivityProfile(carriers, arrays["activity.profile"], holiday_factor, holidays)
    prior = parameters.label_prior
    against_promise = None
    if parameters.uses_promise:
        against_promise = _encoder_from_arrays(_AGAINST_PROMISE, arrays, prior)
    labels = _encoder_from_arrays(_LABELS, arrays, prior)
    design = Design(labels, parameters.columns, against_promise)
    return Forest(**forest), activity, design


def _encoder_arrays(prefix: str, encoder: HierarchicalTargetEncoder) -> NamedArrays:
    means = [encoder.means[column] for column in CATEGORICAL_COLUMNS]
    arrays: NamedArrays = {f"{prefix}_means": np.array(means)}
    for column in CATEGORICAL_COLUMNS:
        names = list(encoder.counts[column])
        sums = list(encoder.sums[column].values())
        counts = list(encoder.counts[column].values())
        stem = f"{prefix}.{column}"
        arrays[f"{stem}.names"] = np.array(names, dtype=np.str_)
        arrays[f"{stem}.sums"] = np.array(sums, dtype=np.float64)
        arrays[f"{stem}.counts"] = np.array(counts, dtype=np.float64)
    return arrays


def _encoder_from_arrays(prefix: str, arrays: Arrays, prior: float) -> HierarchicalTargetEncoder:
    sums, counts = {}, {}
    for column in CATEGORICAL_COLUMNS:
        stem = f"{prefix}.{column}"
        names = [str(name) for name in arrays[f"{stem}.names"]]
        column_sums = arrays[f"{stem}.sums"].tolist()
        column_counts = arrays[f"{stem}.counts"].tolist()
        sums[column] = dict(zip(names, column_sums, strict=True))
        counts[column] = dict(zip(names, column_counts, strict=True))
    means = arrays[f"{prefix}_means"].tolist()
    mean_by_column = dict(zip(CATEGORICAL_COLUMNS, means, strict=True))
    return HierarchicalTargetEncoder(sums, counts, mean_by_column, prior)
