"""All that answers a question about a parcel, as one value: a version of a model, or the lane medians where none can."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import Holidays
from eta.curves import Curves
from eta.domain.errors import ModelCorrupted
from eta.forecast.drift.estimate import Drift
from eta.forecast.handling_time import Handling
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import Dependence
from eta.forecast.support import Support
from eta.journey.features import LABEL_COLUMNS, NUMBER_COLUMNS, Features
from eta.journey.place_effects import Habits
from eta.model.registry import Version
from eta.stage_durations import StageLaws

ARRAYS, DRIFT, HABITS, HANDLING, PIECES, STAGES, SUPPORT = (
    *("arrays.npz", "drift.json", "habits.json", "handling.json"),
    *("pieces.json", "stages.json", "support.json"),
)


class Forecasting(Protocol):
    """What says when parcels come."""

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,)."""
        ...


class Supporting(Protocol):
    """What says how much stands behind that."""

    def of(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The rung of support and the parcels on it, (N,) each."""
        ...


class Answering(Protocol):
    """What questions about parcels are answered with; ``version`` is None where that is no model."""

    @property
    def version(self) -> str | None:
        """The version of the model."""
        ...

    @property
    def model(self) -> Forecasting:
        """When parcels come."""
        ...

    @property
    def habits(self) -> Habits:
        """What is known of the places that parcels leave and come to."""
        ...

    @property
    def laws(self) -> StageLaws:
        """What is usual at each stage."""
        ...

    @property
    def support(self) -> Supporting:
        """How much stands behind an answer."""
        ...


def is_model(answering: Answering | None) -> bool:
    """Whether a model answers, and not the lane medians or nothing."""
    return answering is not None and answering.version is not None


@dataclass(frozen=True)
class ServedModel:
    """A fitted model with the habits of places, what is usual at each stage and of shops, how parcels go together, and the support of its answers."""

    version: str
    model: HazardModel
    habits: Habits
    laws: StageLaws
    support: Support
    handling: Handling
    pieces: Dependence = field(default_factory=Dependence)

    @classmethod
    def unpack(
        cls, version: Version, make: Callable[..., HazardModel], holidays: Holidays
    ) -> ServedModel:
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
            return cls._of_parts(version, make, holidays)
        except KeyError as error:
            raise ModelCorrupted(
                f"model version {version.name} lacks {error}; train it again"
            ) from None

    @classmethod
    def _of_parts(
        cls, version: Version, make: Callable[..., HazardModel], holidays: Holidays
    ) -> ServedModel:
        with np.load(io.BytesIO(version.files[ARRAYS]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model = make(**version.manifest["parameters"]).observing(holidays).restore(arrays)
        model.drift_ = Drift.from_json(json.loads(version.files[DRIFT]))
        return cls(
            version.name,
            model,
            Habits.from_json(json.loads(version.files[HABITS])),
            StageLaws.from_json(json.loads(version.files[STAGES])),
            Support(json.loads(version.files[SUPPORT])),
            Handling.from_json(json.loads(version.files[HANDLING])),
            Dependence.from_json(json.loads(version.files[PIECES])),
        )


def pack(
    model: HazardModel,
    habits: Habits,
    laws: StageLaws,
    support: Support,
    handling: Handling,
    pieces: Dependence,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts for the manifest and data files; the same model gives the same bytes."""
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **dict(sorted(model.to_arrays().items())))
    files = {
        ARRAYS: arrays.getvalue(),
        HANDLING: _json(handling.to_json()),
        PIECES: _json(pieces.to_json()),
        STAGES: _json(laws.to_json()),
        SUPPORT: _json(support.counts),
        **pack_daily(model, habits),
    }
    return {"kind": "hazard", "parameters": model.get_params(), "columns": columns()}, files


def pack_daily(model: HazardModel, habits: Habits) -> dict[str, bytes]:
    """The data files that change from day to day."""
    return {DRIFT: _json(model.drift_.to_json()), HABITS: _json(habits.to_json())}


def columns() -> dict[str, list[str]]:
    """The columns a model of ours is learned from."""
    return {"labels": list(LABEL_COLUMNS), "numbers": list(NUMBER_COLUMNS)}


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"
