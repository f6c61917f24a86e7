"""Small models in a registry and an application with them, for tests of the HTTP API."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
from fastapi import FastAPI

from eta.api.app import create_app
from eta.calendars.local_time import to_instant
from eta.curves import Curves
from eta.domain.access import Principal
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import SUPPORT_LEVELS, Support
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features
from eta.journey.place_effects import PlaceEffectHistory, PlaceEffects
from eta.journey.snapshots import training_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle, to_files
from eta.model.fallback import save_fallback
from eta.model.hot_swap import ActiveModel
from eta.model.registry import Registry
from eta.settings import Settings
from eta.stage_durations import DurationQuantiles, StageDurations
from support.journeys import START, parcels

#: The fixed model has support between any two of these.
COUNTRIES = ("AT", "BR", "DE", "US")
CARRIERS = ("other", "post")
KEY = "a key for tests"
#: The time of the application's clock.
NOW = datetime(2026, 5, 20, 8, tzinfo=UTC)
DAYS = 70


def save_model(folder: Path, *, count: int = 600, days: int = DAYS) -> str:
    """Saves a model of ``count`` simulated parcels, ``days`` after their start; its version."""
    as_of = START + timedelta(days=days)
    instant = to_instant(as_of)
    timelines, training_examples = training_data(count, days)
    model = HazardModel(trees=10, leaves=6, leaf_rows=20).fit(training_examples)
    durations = StageDurations.fit(
        timelines, fold(timelines, AsOfPairs.all_at(timelines, instant)), instant, level=0.95
    )
    facts, files = to_files(
        model,
        PlaceEffectHistory.from_timelines(timelines).at(instant),
        durations,
        Support.fit(training_examples),
        HandlingTimes(),
        ArrivalCorrelation(),
    )
    facts |= {
        "data": {
            "source": "test",
            "sha256": timelines.digest(instant),
            "examples": len(training_examples),
        },
        "check": None,
    }
    return Registry(folder).save(facts, files, as_of)


def training_data(count: int, days: int) -> tuple[Timelines, Examples]:
    """Simulated parcels, and the training examples ``days`` after their start."""
    timelines = Timelines.from_frames(*parcels(count, days=90, known_through_days=days))
    instant = to_instant(START + timedelta(days=days))
    return timelines, examples(
        training_snapshots(timelines, instant), Outcomes.at(timelines, instant)
    )


def save_medians(folder: Path, *, count: int = 600, days: int = DAYS) -> LaneQuantiles:
    """Saves the fallback of ``count`` simulated parcels, beside the versions."""
    medians = LaneQuantiles.fit(training_data(count, days)[1])
    save_fallback(Registry(folder), medians)
    return medians


class FixedModel:
    """One distribution for all: half arrive within four days of ``as_of``, 95 % within 16."""

    def predict_curves(self, features: Features) -> Curves:
        return Curves.from_grid(
            np.array([0.0, 48.0, 96.0, 240.0, 384.0]),
            np.tile([0.0, 0.2, 0.5, 0.85, 0.95], (len(features), 1)),
        )


def fixed(parcels_seen: int) -> ActiveModel:
    """An active model whose figures do not change with the forecast.

    Every lane has the same distribution, typical durations, and ``parcels_seen`` parcels. Both
    carriers are known, each by one parcel a lane.
    """
    typical = DurationQuantiles(30.0, 150.0)
    lanes = [f"{origin}>{destination}" for origin in COUNTRIES for destination in COUNTRIES]
    one_each = {f"{carrier}|?|{lane}": 1 for carrier in CARRIERS for lane in lanes}
    counts: dict[str, dict[str, int]] = {support_level: {} for support_level in SUPPORT_LEVELS}
    counts["service+lane"] = one_each
    counts["calendar_only"] = dict.fromkeys(lanes, parcels_seen)
    support = Support(counts)
    served = ModelBundle(
        "2026.05.10-0123456789ab",
        cast("HazardModel", FixedModel()),
        PlaceEffects(),
        StageDurations({"": typical}, typical, {"": typical}),
        support,
        HandlingTimes(),
    )
    return ActiveModel(served, datetime(2026, 5, 10, tzinfo=UTC), promoted=served.version)


def application(folder: Path) -> FastAPI:
    """The application with a registry, one key and a clock that stands still."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return create_app(Settings(models=folder, api_keys={digest: Principal()}), clock=lambda: NOW)
