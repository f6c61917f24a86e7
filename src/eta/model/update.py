"""Refreshes what a version knows of the network's drift and of the habits of places, without learning it anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from eta.calendars.holidays import HolidayCalendar
from eta.calendars.local_time import to_instant
from eta.domain.errors import InvalidValue
from eta.evaluation.backtest import Progress
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache, is_feed_silent
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Outcomes
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle, daily_files
from eta.model.registry import Registry


def update_model(
    timelines: Timelines,
    registry: Registry,
    name: str,
    *,
    as_of: datetime,
    source: str,
    make: Callable[..., HazardModel],
    holidays: HolidayCalendar,
    progress: Progress = lambda *_: None,
) -> str:
    """A version like ``name`` with drift and habits as of ``as_of`` (aware); returns the new version's name.

    If ``name`` serves, the new version serves in its place: it is the same model, told of the last
    days.

    Raises:
        InvalidValue: if the version had learned beyond ``as_of``, was trained on another source or
            not to follow drift, or nothing was received in the days before.
        ModelNotFound: if there is no such version.
        ModelCorrupted: if it does not match its manifest.
    """
    version = registry.load(name)
    if version.data_through > as_of:
        raise InvalidValue(
            "as_of",
            f"version {name} has learned through {version.data_through.isoformat()}",
            "give a later moment, or an earlier version",
        )
    fitted = version.manifest["data"]
    if fitted["source"] != source:
        raise InvalidValue(
            "source",
            f"version {name} was trained on {fitted['source']}",
            f"give --source {fitted['source']}, or another version",
        )
    model = ModelBundle.from_version(version, make, holidays).model
    if not model.tracks_drift:
        raise InvalidValue(
            "model",
            f"version {name} was trained not to follow drift",
            "train one with tracks_drift = true",
        )
    tracker = DriftTracker(
        model, OpenParcelCache(timelines), baseline_ratio=model.drift.baseline_ratio
    )
    instant = to_instant(as_of)
    if is_feed_silent(timelines, instant):
        raise InvalidValue(
            "as_of",
            "nothing was received in the days before it",
            "bring newer data, or give a moment that they reach",
        )
    drift = tracker.drift(
        Outcomes.at(timelines, instant),
        lambda done, total: progress("watching the last days", done, total),
    )
    model = model.with_drift(drift)
    metadata: dict[str, Any] = {
        part: value for part, value in version.manifest.items() if part not in ("format", "files")
    }
    first = version.manifest.get("updated", {"fitted": name, "fitted_through": fitted["through"]})
    metadata["updated"] = {**first, "sha256": timelines.digest(instant)}
    updated = registry.save(
        metadata,
        {
            **version.files,
            **daily_files(model, PlaceEffectHistory.from_timelines(timelines).at(instant)),
        },
        as_of,
    )
    if registry.promoted() == name:
        registry.promote(updated)
    return updated
