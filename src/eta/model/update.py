"""Updates the drift and the place effects of a model version, without fitting it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np

from eta.calendars.holidays import HolidayCalendar
from eta.calendars.local_time import to_instant
from eta.domain.errors import InvalidValue
from eta.evaluation.backtest import Progress
from eta.forecast.drift.estimate import Drift
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache, is_feed_silent
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Outcomes
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle, daily_files
from eta.model.registry import Registry, Version


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
    """Writes a version like ``name`` with drift and place effects as of ``as_of`` (aware).

    Returns the new version's name. If ``name`` is active, the new version becomes active: it is the
    same model with the data of the last days.

    Raises:
        InvalidValue: if the version was trained beyond ``as_of``, on another source or without
            drift tracking, or nothing was received in the days before ``as_of``.
        ModelNotFound: if there is no such version.
        ModelCorrupted: if it does not match its manifest.
    """
    version = registry.load(name)
    _check_data(version, as_of, source)
    model = ModelBundle.from_version(version, make, holidays).model
    instant = to_instant(as_of)
    drift = _estimate_drift(model, name, timelines, instant, progress)
    model = model.with_drift(drift)
    place_effects = PlaceEffectHistory.from_timelines(timelines).at(instant)
    files = {**version.files, **daily_files(model, place_effects)}
    # The manifest's entries, with the version that was fitted and a digest of the newest data.
    manifest = version.manifest
    metadata = {part: value for part, value in manifest.items() if part not in ("format", "files")}
    fitted = {"fitted": version.name, "fitted_through": manifest["data"]["through"]}
    sha256 = timelines.digest(instant)
    metadata["updated"] = {**manifest.get("updated", fitted), "sha256": sha256}
    updated = registry.save(metadata, files, as_of)
    if registry.promoted() == name:
        registry.promote(updated)
    return updated


def _check_data(version: Version, as_of: datetime, source: str) -> None:
    """Checks that the version's training data end before ``as_of`` and are of this source."""
    if version.data_through > as_of:
        raise InvalidValue(
            "as_of",
            f"version {version.name} has learned through {version.data_through.isoformat()}",
            "give a later moment, or an earlier version",
        )
    trained_on = version.manifest["data"].get("source")
    if trained_on != source:
        raise InvalidValue(
            "source",
            f"version {version.name} was trained on {trained_on}",
            f"give --source {trained_on}, or another version",
        )


def _estimate_drift(
    model: HazardModel,
    name: str,
    timelines: Timelines,
    instant: np.datetime64,
    progress: Progress,
) -> Drift:
    """The drift at a moment, relative to the same baseline as in training."""
    if not model.tracks_drift:
        raise InvalidValue(
            "model",
            f"version {name} was trained not to follow drift",
            "train one with tracks_drift = true",
        )
    if is_feed_silent(timelines, instant):
        raise InvalidValue(
            "as_of",
            "nothing was received in the days before it",
            "bring newer data, or give a moment that they reach",
        )
    baseline_ratio = model.drift.baseline_ratio
    tracker = DriftTracker(model, OpenParcelCache(timelines), baseline_ratio=baseline_ratio)

    def report(done: int, total: int) -> None:
        progress("estimating the drift of the last days", done, total)

    return tracker.drift(Outcomes.at(timelines, instant), report)
