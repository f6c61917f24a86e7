"""The parts of a fitted hazard model as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
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


def forest_arrays(forest: Forest) -> NamedArrays:
    """The arrays of a forest."""
    return {f"{_FOREST}{name}": values for name, values in forest._asdict().items()}


def forest_from_arrays(arrays: Arrays) -> Forest:
    """The forest that ``forest_arrays`` stored."""
    parts = {
        name.removeprefix(_FOREST): values
        for name, values in arrays.items()
        if name.startswith(_FOREST)
    }
    return Forest(**parts)


def activity_arrays(activity: ActivityProfile) -> NamedArrays:
    """The arrays of an activity profile; its holidays are not stored."""
    return {
        "activity.carriers": np.array(activity.carriers, dtype=np.str_),
        "activity.profile": activity.profile,
        "activity.holiday_factor": np.array(activity.holiday_factor),
    }


def activity_from_arrays(arrays: Arrays, holidays: HolidayCalendar) -> ActivityProfile:
    """The activity profile that ``activity_arrays`` stored, with these holidays."""
    carriers = tuple(str(name) for name in arrays["activity.carriers"])
    holiday_factor = float(arrays["activity.holiday_factor"])
    return ActivityProfile(carriers, arrays["activity.profile"], holiday_factor, holidays)


def design_arrays(design: Design) -> NamedArrays:
    """The arrays of a design's target encoders."""
    arrays = _encoder_arrays(_LABELS, design.labels)
    if design.against_promise is not None:
        arrays |= _encoder_arrays(_AGAINST_PROMISE, design.against_promise)
    return arrays


def design_from_arrays(arrays: Arrays, parameters: HazardParameters) -> Design:
    """The design that ``design_arrays`` stored, of a model with these parameters."""
    prior = parameters.label_prior
    against_promise = (
        _encoder_from_arrays(_AGAINST_PROMISE, arrays, prior) if parameters.uses_promise else None
    )
    labels = _encoder_from_arrays(_LABELS, arrays, prior)
    return Design(labels, parameters.columns, against_promise)


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
    sums = _values_by_name(prefix, "sums", arrays)
    counts = _values_by_name(prefix, "counts", arrays)
    means = arrays[f"{prefix}_means"].tolist()
    mean_by_column = dict(zip(CATEGORICAL_COLUMNS, means, strict=True))
    return HierarchicalTargetEncoder(sums, counts, mean_by_column, prior)


def _values_by_name(prefix: str, part: str, arrays: Arrays) -> Mapping[str, Mapping[str, float]]:
    """The values of one part of an encoder by column and name."""
    values_by_name = {}
    for column in CATEGORICAL_COLUMNS:
        names = [str(name) for name in arrays[f"{prefix}.{column}.names"]]
        values = arrays[f"{prefix}.{column}.{part}"].tolist()
        values_by_name[column] = dict(zip(names, values, strict=True))
    return values_by_name
