"""What predictions about a parcel need, as one value: a model version, or the fallback."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import HolidayCalendar
from eta.curves import Curves
from eta.domain.errors import ModelCorrupted
from eta.forecast.drift.estimate import Drift
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.serialization import check_parameters
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.seen_services import SeenServices
from eta.forecast.support import Support
from eta.journey.features import CATEGORICAL_COLUMNS, NUMBER_COLUMNS, Features
from eta.journey.place_effects import PlaceEffects
from eta.model.registry import Version
from eta.stage_durations import StageDurations
from eta.stored_values import TRAIN_AGAIN, load_arrays, load_json

#: The kind of model that versions hold.
KIND = "hazard"

ARRAYS = "arrays.npz"
DRIFT = "drift.json"
PLACE_EFFECTS = "place_effects.json"
HANDLING_TIMES = "handling_times.json"
ARRIVAL_CORRELATION = "arrival_correlation.json"
STAGE_DURATIONS = "stage_durations.json"
SUPPORT = "support.json"
_LEARNED_FILES = (
    DRIFT,
    PLACE_EFFECTS,
    STAGE_DURATIONS,
    SUPPORT,
    HANDLING_TIMES,
    ARRIVAL_CORRELATION,
)


class CurvePredictor(Protocol):
    """Predicts when parcels arrive."""

    def predict_curves(self, features: Features) -> Curves:
        """Returns the distributions of the remaining time, (N,)."""
        ...


class SupportLookup(Protocol):
    """Looks up how much data a prediction rests on."""

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Returns the support level and its number of parcels, (N,) each."""
        ...


class Predictor(Protocol):
    """A model version, or the fallback, whose ``version`` is None."""

    @property
    def version(self) -> str | None:
        """The name of the model version."""
        ...

    @property
    def model(self) -> CurvePredictor:
        """Predicts when parcels arrive."""
        ...

    @property
    def place_effects(self) -> PlaceEffects:
        """The effects of origins and destinations."""
        ...

    @property
    def stage_durations(self) -> StageDurations:
        """The typical durations of each stage."""
        ...

    @property
    def support(self) -> SupportLookup:
        """Looks up how much data a prediction rests on."""
        ...

    @property
    def handling(self) -> HandlingTimes:
        """The handling times of origins."""
        ...


def is_model(predictor: Predictor | None) -> bool:
    """Whether this is a model version, not the fallback or nothing."""
    return predictor is not None and predictor.version is not None


@dataclass(frozen=True)
class ModelBundle:
    """A fitted model version with everything learned beside it."""

    version: str
    model: HazardModel
    place_effects: PlaceEffects
    stage_durations: StageDurations
    support: Support
    handling: HandlingTimes
    arrival_correlation: ArrivalCorrelation = field(default_factory=ArrivalCorrelation)

    @cached_property
    def seen_services(self) -> SeenServices:
        """The carriers, services and lanes that it has learned from."""
        return SeenServices.from_support(self.support)

    @classmethod
    def from_version(
        cls, version: Version, make: Callable[..., HazardModel], holidays: HolidayCalendar
    ) -> ModelBundle:
        """Builds the model of a checked version, with these holidays.

        Raises:
            ModelCorrupted: if the version was trained on other columns than ours, or a part of it
                is missing or not what it must be.
        """
        name = f"model version {version.name}"
        if version.manifest.get("kind") != KIND:
            raise ModelCorrupted(f"{name} is not of the kind {KIND!r}; {TRAIN_AGAIN}")
        if version.manifest.get("columns") != columns():
            raise ModelCorrupted(f"{name} was trained on other columns; {TRAIN_AGAIN}")
        try:
            _check_files(version.files)
            return cls._from_files(version, make, holidays)
        except ModelCorrupted as error:
            raise ModelCorrupted(f"{name}: {error}") from None

    @classmethod
    def _from_files(
        cls, version: Version, make: Callable[..., HazardModel], holidays: HolidayCalendar
    ) -> ModelBundle:
        parameters = check_parameters(version.manifest.get("parameters"))
        model = make(**parameters).with_holidays(holidays)
        model = model.restore(load_arrays(ARRAYS, version.files[ARRAYS]))
        stored = {file: load_json(file, version.files[file]) for file in _LEARNED_FILES}
        return cls(
            version=version.name,
            model=model.with_drift(Drift.from_json(stored[DRIFT])),
            place_effects=PlaceEffects.from_json(stored[PLACE_EFFECTS]),
            stage_durations=StageDurations.from_json(stored[STAGE_DURATIONS]),
            support=Support.from_json(stored[SUPPORT]),
            handling=HandlingTimes.from_json(stored[HANDLING_TIMES]),
            arrival_correlation=ArrivalCorrelation.from_json(stored[ARRIVAL_CORRELATION]),
        )


def _check_files(files: Mapping[str, bytes]) -> None:
    """Refuses a version that lacks a file, or has one that is unknown."""
    if different := files.keys() ^ {ARRAYS, *_LEARNED_FILES}:
        lacking = different - files.keys()
        problem = "lacks" if lacking else "has the unknown file"
        raise ModelCorrupted(f"it {problem} {min(lacking or different)!r}; {TRAIN_AGAIN}")


def to_files(
    model: HazardModel,
    place_effects: PlaceEffects,
    stage_durations: StageDurations,
    support: Support,
    handling: HandlingTimes,
    arrival_correlation: ArrivalCorrelation,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns entries of the manifest, and data files; the same model gives the same bytes."""
    content = io.BytesIO()
    arrays = dict(sorted(model.to_arrays().items()))
    np.savez(content, allow_pickle=False, **arrays)
    files: dict[str, bytes] = {}
    files[ARRAYS] = content.getvalue()
    files[HANDLING_TIMES] = _json(handling.to_json())
    files[ARRIVAL_CORRELATION] = _json(arrival_correlation.to_json())
    files[STAGE_DURATIONS] = _json(stage_durations.to_json())
    files[SUPPORT] = _json(support.counts)
    files |= daily_files(model, place_effects)
    return {"kind": KIND, "parameters": model.get_params(), "columns": columns()}, files


def daily_files(model: HazardModel, place_effects: PlaceEffects) -> dict[str, bytes]:
    """Returns the data files that `eta update` replaces."""
    return {DRIFT: _json(model.drift.to_json()), PLACE_EFFECTS: _json(place_effects.to_json())}


def columns() -> dict[str, list[str]]:
    """Returns the columns that our models are trained on."""
    return {"labels": list(CATEGORICAL_COLUMNS), "numbers": list(NUMBER_COLUMNS)}


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"
