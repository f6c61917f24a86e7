"""All that answers a question about a parcel, as one value: a version of a model, or the lane medians where none can."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import HolidayCalendar
from eta.curves import Curves
from eta.domain.errors import ModelCorrupted
from eta.forecast.drift.estimate import Drift
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import Support
from eta.journey.features import CATEGORICAL_COLUMNS, NUMBER_COLUMNS, Features
from eta.journey.place_effects import PlaceEffects
from eta.model.registry import Version
from eta.stage_durations import StageDurations

ARRAYS, DRIFT, PLACE_EFFECTS, HANDLING_TIMES, ARRIVAL_CORRELATION, STAGE_DURATIONS, SUPPORT = (
    *("arrays.npz", "drift.json", "place_effects.json", "handling_times.json"),
    *("arrival_correlation.json", "stage_durations.json", "support.json"),
)


class CurvePredictor(Protocol):
    """What says when parcels come."""

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,)."""
        ...


class SupportLookup(Protocol):
    """What says how much stands behind that."""

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The rung of support and the parcels on it, (N,) each."""
        ...


class Predictor(Protocol):
    """What questions about parcels are answered with; ``version`` is None where that is no model."""

    @property
    def version(self) -> str | None:
        """The version of the model."""
        ...

    @property
    def model(self) -> CurvePredictor:
        """When parcels come."""
        ...

    @property
    def place_effects(self) -> PlaceEffects:
        """What is known of the places that parcels leave and come to."""
        ...

    @property
    def stage_durations(self) -> StageDurations:
        """What is usual at each stage."""
        ...

    @property
    def support(self) -> SupportLookup:
        """How much stands behind an answer."""
        ...


def is_model(predictor: Predictor | None) -> bool:
    """Whether a model answers, and not the lane medians or nothing."""
    return predictor is not None and predictor.version is not None


@dataclass(frozen=True)
class ModelBundle:
    """A fitted model with the habits of places, what is usual at each stage and of shops, how parcels go together, and the support of its answers."""

    version: str
    model: HazardModel
    place_effects: PlaceEffects
    stage_durations: StageDurations
    support: Support
    handling: HandlingTimes
    arrival_correlation: ArrivalCorrelation = field(default_factory=ArrivalCorrelation)

    @classmethod
    def from_version(
        cls, version: Version, make: Callable[..., HazardModel], holidays: HolidayCalendar
    ) -> ModelBundle:
        """The model of a checked version, which keeps these holidays.

        Raises:
            ModelCorrupted: if the version was learned from other columns than ours, or lacks a
                part.
        """
        if version.manifest["columns"] != columns():
            raise ModelCorrupted(
                f"model version {version.name} was learned from other columns; train it again"
            )
        try:
            return cls._from_files(version, make, holidays)
        except KeyError as error:
            raise ModelCorrupted(
                f"model version {version.name} lacks {error}; train it again"
            ) from None

    @classmethod
    def _from_files(
        cls, version: Version, make: Callable[..., HazardModel], holidays: HolidayCalendar
    ) -> ModelBundle:
        with np.load(io.BytesIO(version.files[ARRAYS]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model = make(**version.manifest["parameters"]).with_holidays(holidays).restore(arrays)
        model = model.with_drift(Drift.from_json(json.loads(version.files[DRIFT])))
        return cls(
            version.name,
            model,
            PlaceEffects.from_json(json.loads(version.files[PLACE_EFFECTS])),
            StageDurations.from_json(json.loads(version.files[STAGE_DURATIONS])),
            Support(json.loads(version.files[SUPPORT])),
            HandlingTimes.from_json(json.loads(version.files[HANDLING_TIMES])),
            ArrivalCorrelation.from_json(json.loads(version.files[ARRIVAL_CORRELATION])),
        )


def to_files(
    model: HazardModel,
    place_effects: PlaceEffects,
    stage_durations: StageDurations,
    support: Support,
    handling: HandlingTimes,
    arrival_correlation: ArrivalCorrelation,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts for the manifest and data files; the same model gives the same bytes."""
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **dict(sorted(model.to_arrays().items())))
    files = {
        ARRAYS: arrays.getvalue(),
        HANDLING_TIMES: _json(handling.to_json()),
        ARRIVAL_CORRELATION: _json(arrival_correlation.to_json()),
        STAGE_DURATIONS: _json(stage_durations.to_json()),
        SUPPORT: _json(support.counts),
        **daily_files(model, place_effects),
    }
    return {"kind": "hazard", "parameters": model.get_params(), "columns": columns()}, files


def daily_files(model: HazardModel, place_effects: PlaceEffects) -> dict[str, bytes]:
    """The data files that change from day to day."""
    return {DRIFT: _json(model.drift.to_json()), PLACE_EFFECTS: _json(place_effects.to_json())}


def columns() -> dict[str, list[str]]:
    """The columns a model of ours is learned from."""
    return {"labels": list(CATEGORICAL_COLUMNS), "numbers": list(NUMBER_COLUMNS)}


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"
