"""All that answers a question about a parcel, as one value: packed into a version and unpacked from it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eta.calendars.holidays import Holidays
from eta.delays import StageLaws
from eta.domain.errors import ModelCorrupted
from eta.forecast.drift import Drift
from eta.forecast.handling import Handling
from eta.forecast.hazard import HazardModel
from eta.forecast.support import Support
from eta.journey.features import LABEL_COLUMNS, NUMBER_COLUMNS
from eta.registry import Version

ARRAYS, DRIFT, HANDLING, STAGES, SUPPORT = "arrays.npz", "drift.json", "handling.json", "stages.json", "support.json"


@dataclass(frozen=True)
class ServedModel:
    """A fitted model with what is usual at each stage, how long shops handle an order, and the support of its answers."""

    version: str
    model: HazardModel
    laws: StageLaws
    support: Support
    handling: Handling

    @classmethod
    def unpack(cls, version: Version, make: Callable[..., HazardModel], holidays: Holidays) -> ServedModel:
        """The model of a checked version, which keeps these holidays.

        Raises:
            ModelCorrupted: if the version was learned from other columns than ours.
        """
        if version.manifest["columns"] != columns():
            raise ModelCorrupted(f"model version {version.name} was learned from other columns; train it again")
        with np.load(io.BytesIO(version.files[ARRAYS]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model = make(**version.manifest["parameters"]).observing(holidays).restore(arrays)
        model.drift_ = Drift.from_json(json.loads(version.files[DRIFT]))
        return cls(
            version.name,
            model,
            StageLaws.from_json(json.loads(version.files[STAGES])),
            Support(json.loads(version.files[SUPPORT])),
            Handling.from_json(json.loads(version.files[HANDLING])),
        )


def pack(model: HazardModel, laws: StageLaws, support: Support, handling: Handling) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts for the manifest and data files; the same model gives the same bytes."""
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **dict(sorted(model.to_arrays().items())))
    files = {ARRAYS: arrays.getvalue(), HANDLING: _json(handling.to_json()), STAGES: _json(laws.to_json()), SUPPORT: _json(support.counts), **pack_drift(model)}
    return {"kind": "hazard", "parameters": model.get_params(), "columns": columns()}, files


def pack_drift(model: HazardModel) -> dict[str, bytes]:
    """The data file that changes from day to day."""
    return {DRIFT: _json(model.drift_.to_json())}


def columns() -> dict[str, list[str]]:
    """The columns a model of ours is learned from."""
    return {"labels": list(LABEL_COLUMNS), "numbers": list(NUMBER_COLUMNS)}


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"
