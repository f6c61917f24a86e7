"""The parts of a fitted hazard model as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, create_model

from eta.calendars.holidays import HolidayCalendar
from eta.domain.errors import InvalidValue, ModelCorrupted
from eta.forecast.base import Arrays
from eta.forecast.design_matrix import Design
from eta.forecast.hazard.active_hours import (
    HOURS_PER_WEEK,
    MIN_ACTIVITY,
    NEAR_PROMISE,
    ActivityProfile,
)
from eta.forecast.hazard.exposure import TIMED_BINS
from eta.forecast.hazard.parameters import HazardParameters
from eta.forecast.hazard.recalibration import KNOT_HAZARDS, STAGES
from eta.forecast.hazard.trees import Forest, forest_problem, largest_scores
from eta.forecast.target_encoding import HierarchicalTargetEncoder
from eta.journey.features import CATEGORICAL_COLUMNS, PLACE_COLUMNS, ROUTE_COLUMNS
from eta.stored_values import (
    MAX_COUNT,
    TRAIN_AGAIN,
    ArraySchema,
    StoredModel,
    check_arrays,
    check_values,
)

NamedArrays = dict[str, NDArray[Any]]
_LABELS, _AGAINST_PROMISE, _FOREST = "label", "against_promise", "forest."

#: The file of the arrays, for messages.
_PART = "arrays.npz"

#: The largest log time of a category, either way: far more than any number of days.
_MAX_LOG_TIME = 50.0

#: The largest log-hazard of the base, either way, and with all leaves: beyond it float32 overflows.
_MAX_BASE, _MAX_SCORE = 60.0, 80.0

_NOTHING = np.empty(0)

#: The array of each part but the encoders.
_SCHEMAS: Mapping[str, ArraySchema] = {
    "forest.root": ArraySchema("uint32", ("trees",), below="nodes"),
    "forest.depth": ArraySchema("uint32", ("trees",), below="nodes"),
    "forest.feature": ArraySchema("uint32", ("nodes",), below="features"),
    "forest.threshold": ArraySchema("float32", ("nodes",), may_be_infinite=True),
    "forest.nan_goes_left": ArraySchema("bool", ("nodes",)),
    "forest.child": ArraySchema("uint32", ("nodes",), below="nodes"),
    "forest.leaf": ArraySchema("int32", ("nodes",), low=-1, below="leaves"),
    "base": ArraySchema("float32", ("bins",), low=-_MAX_BASE, high=_MAX_BASE),
    "values": ArraySchema("float32", ("leaves", "bins")),
    "activity.carriers": ArraySchema("str", ("carriers",)),
    "activity.profile": ArraySchema(
        "float64", ("carriers+1", HOURS_PER_WEEK), low=MIN_ACTIVITY, high=HOURS_PER_WEEK
    ),
    "activity.holiday_factor": ArraySchema("float64", (), low=0.0, high=1e6),
    "non_arrival": ArraySchema("float64", (len(STAGES), 2), low=-100.0, high=100.0),
    "in_sample": ArraySchema("float64", (len(STAGES), len(KNOT_HAZARDS)), low=1e-9, high=1e6),
    "recalibration": ArraySchema("float64", (len(STAGES), len(KNOT_HAZARDS)), low=1e-9, high=1e6),
}


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
    carriers = tuple(str(name) for name in arrays["activity.carriers"])
    holiday_factor = float(arrays["activity.holiday_factor"])
    activity = ActivityProfile(carriers, arrays["activity.profile"], holiday_factor, holidays)
    prior = parameters.label_prior
    against_promise = None
    if parameters.uses_promise:
        against_promise = _encoder_from_arrays(_AGAINST_PROMISE, arrays, prior)
    labels = _encoder_from_arrays(_LABELS, arrays, prior)
    design = Design(labels, parameters.columns, against_promise)
    return _forest(arrays), activity, design


#: The fields of ``HazardParameters``, with their types and defaults.
_PARAMETER_FIELDS: dict[str, Any] = {
    name: (kind, getattr(HazardParameters, name))
    for name, kind in get_type_hints(HazardParameters).items()
}
_STORED_PARAMETERS = TypeAdapter(
    create_model("_StoredParameters", __base__=StoredModel, **_PARAMETER_FIELDS)
)


def check_parameters(values: object) -> dict[str, Any]:
    """Stored parameters by name.

    Raises:
        ModelCorrupted: if a parameter is unknown, of another type or out of range.
    """
    parameters = check_values("the parameters", _STORED_PARAMETERS, values).model_dump()
    try:
        HazardParameters(**parameters).validate()
    except InvalidValue as error:
        raise ModelCorrupted(f"the parameters: {error}; {TRAIN_AGAIN}") from None
    return parameters


def check_model_arrays(arrays: Arrays, parameters: HazardParameters) -> None:
    """Checks that arrays are those of a model with these parameters.

    Compiled code follows their indices without a look, so every index is checked here.

    Raises:
        ModelCorrupted: if an array is missing, unknown, or not what it must be.
    """
    encoders = (_LABELS, _AGAINST_PROMISE) if parameters.uses_promise else (_LABELS,)
    schemas = dict(_SCHEMAS)
    for prefix in encoders:
        schemas |= _encoder_schemas(prefix)
    check_arrays(_PART, arrays, schemas, **_dimensions(arrays, parameters, len(encoders)))
    problem = (
        forest_problem(_forest(arrays), parameters)
        or _leaf_problem(arrays, parameters)
        or next(filter(None, (_encoder_problem(prefix, arrays) for prefix in encoders)), None)
    )
    if problem:
        raise ModelCorrupted(f"{_PART}: {problem}; {TRAIN_AGAIN}")


def _dimensions(arrays: Arrays, parameters: HazardParameters, encoders: int) -> dict[str, int]:
    """The number of bins, and of the columns of the design matrix."""
    near_bins = len(NEAR_PROMISE) if parameters.uses_promise else 0
    has_places = bool(arrays.get(f"{_LABELS}.{PLACE_COLUMNS[0]}.names", _NOTHING).size)
    labels = len(CATEGORICAL_COLUMNS) if has_places else len(ROUTE_COLUMNS)
    features = len(parameters.columns) + labels * encoders
    return {"bins": TIMED_BINS + near_bins, "features": features}


def _leaf_problem(arrays: Arrays, parameters: HazardParameters) -> str | None:
    """What is wrong with the log-hazards of the leaves."""
    values, base = arrays["values"], arrays["base"]
    if len(values) != (arrays["forest.leaf"] >= 0).sum():
        return "the array 'values' has more rows than the forest has leaves"
    if (np.abs(values) > np.float32(parameters.cap)).any():
        return f"the array 'values' holds numbers beyond the cap of {parameters.cap}"
    if (base + largest_scores(_forest(arrays), values) > _MAX_SCORE).any():
        return "the arrays 'base' and 'values' add up to hazards that are too large"
    if (arrays["non_arrival"][:, 1] < 0.0).any() or (arrays["non_arrival"][:, 1] > 1.0).any():
        return "the array 'non_arrival' holds slopes outside 0 to 1"
    return None


def _encoder_schemas(prefix: str) -> dict[str, ArraySchema]:
    """The arrays of an encoder."""
    means = ArraySchema(
        "float64", (len(CATEGORICAL_COLUMNS),), low=-_MAX_LOG_TIME, high=_MAX_LOG_TIME
    )
    schemas = {f"{prefix}_means": means}
    for column in CATEGORICAL_COLUMNS:
        stem = f"{prefix}.{column}"
        schemas[f"{stem}.names"] = ArraySchema("str", (stem,))
        schemas[f"{stem}.sums"] = ArraySchema("float64", (stem,))
        schemas[f"{stem}.counts"] = ArraySchema("float64", (stem,), low=1.0, high=MAX_COUNT)
    return schemas


def _encoder_problem(prefix: str, arrays: Arrays) -> str | None:
    """What is wrong with the sums of an encoder, whose means are log times."""
    for column in CATEGORICAL_COLUMNS:
        name = f"{prefix}.{column}.sums"
        if (np.abs(arrays[name]) > _MAX_LOG_TIME * arrays[f"{prefix}.{column}.counts"]).any():
            return f"the array {name!r} holds sums that are too large for their counts"
    return None


def _forest(arrays: Arrays) -> Forest:
    """The forest among the arrays of a model."""
    return Forest(**{name: arrays[f"{_FOREST}{name}"] for name in Forest._fields})


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
