"""What each part of the model is worth on real orders: replays with one part left out.

August to December 2017, on which it was built, monthly refit. A difference is `eta` less the
variant, of the same delivered parcels, with its 95 % interval over weeks: below 0 the part earns
its keep.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.calendars.local_time import midnight
from eta.curves import Curves
from eta.domain.vocabulary import EventCode, Phase
from eta.evaluation.backtest import Refit, replay
from eta.evaluation.summary import HEADLINE_METRIC, summarise
from eta.forecast.drift.estimate import DailyExpectation
from eta.forecast.hazard.model import HazardModel
from eta.journey.categories import MISSING, Categorical
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.place_effects import PLACE_EFFECTS
from eta.journey.snapshots import PURCHASE, Snapshots
from eta.journey.state import PHASES
from eta.journey.timelines import EVENT_CODES

SOURCE = "olist"
FIRST, LAST = "2017-08-01", "2017-12-31"
MOMENTS = ("purchase", "handover", "in_flight")
METRICS = ("mae_days", "crps_days", "crps_censored_days", "coverage_80", "coverage_90", "late_auc")
GEOGRAPHY = (
    "distance_km",
    "origin_latitude",
    "origin_longitude",
    "destination_latitude",
    "destination_longitude",
    *PLACE_EFFECTS,
)
PLACES = ("origin", "destination", "lane", "service_lane", "place", "place_lane")
WEIGHT = ("weight_kg", "volume_l")


class Blinded(HazardModel):
    """Does not see some columns."""

    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def fit(self, examples: Examples) -> Self:
        """Learns without the columns."""
        return super().fit(replace(examples, features=self.masked(examples.features)))

    def predict_curves(self, features: Features) -> Curves:
        """Answers without the columns."""
        return super().predict_curves(self.masked(features))

    def expected_arrivals(self, snapshots: Snapshots, end: np.datetime64) -> DailyExpectation:
        """Expects without the columns."""
        return super().expected_arrivals(
            replace(snapshots, features=self.masked(snapshots.features)), end
        )

    def masked(self, features: Features) -> Features:
        """The features with the columns missing."""
        nothing = Categorical(np.full(len(features), MISSING, dtype=np.int32), ())
        numbers = {
            name: np.full(len(features), np.nan) if name in self.numbers else values
            for name, values in features.numbers.items()
        }
        return replace(
            features,
            numbers=numbers,
            categoricals={
                name: nothing if name in self.texts else categoricals
                for name, categoricals in features.categoricals.items()
            },
        )


class WithoutGeography(Blinded):
    """Does not know where from and where to, but for the calendar of the destination."""

    numbers, texts = GEOGRAPHY, PLACES


class WithoutWeight(Blinded):
    """Does not know weight or volume."""

    numbers = WEIGHT


class WithoutPlaceEffects(Blinded):
    """Does not know what other parcels tell of the places."""

    numbers = tuple(PLACE_EFFECTS)


class WithoutAges(HazardModel):
    """Its drift does not tell what is stuck from what moves."""

    def _elapsed_and_expected(
        self, features: Features, labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # No parcel has been open for any part of its typical duration.
        hours, expected = super()._elapsed_and_expected(features, labels)
        return np.zeros_like(hours), np.full_like(expected, np.inf)


class WithoutLandmarks(HazardModel):
    """Trained at purchases only; later it conditions that forecast on survival. No drift."""

    def __init__(self) -> None:
        super().__init__(tracks_drift=False)

    def fit(self, examples: Examples) -> Self:
        """Learns from purchases."""
        return super().fit(examples.take(np.flatnonzero(examples.moment == PURCHASE)))

    def predict_curves(self, features: Features) -> Curves:
        """The curve at the purchase, given that the parcel is still open."""
        hours = features.numbers["order_elapsed_days"] * 24.0
        return super().predict_curves(at_purchase(features)).remaining_after(hours)


def at_purchase(features: Features) -> Features:
    """What was known when the order was placed, as far as later features tell."""
    elapsed = features.numbers["order_elapsed_days"]
    local = features.local_as_of - (elapsed * 86_400_000_000).astype("timedelta64[us]")
    count = len(features)
    week = (
        24.0 * (features.numbers["local_weekday"] - elapsed) + features.numbers["local_hour"]
    ) % 168.0
    at_origin = (features.numbers["origin_week_hour"] - 24.0 * elapsed) % 168.0
    then = {
        "phase": np.full(count, float(PHASES.index(Phase.ORDER_HANDLING))),
        "last_code": np.full(count, float(EVENT_CODES.index(EventCode.ORDER_CREATED))),
        "order_elapsed_days": np.zeros(count),
        "silence_days": np.zeros(count),
        "scan_count": np.ones(count),
        "exception_count": np.zeros(count),
        "local_weekday": week // 24.0,
        "local_hour": week % 24.0,
        "origin_week_hour": at_origin,
        "origin_hour": at_origin % 24.0,
        **{
            name: np.full(count, np.nan)
            for name in ("handover_elapsed_days", "approval_days", "handling_days")
        },
        "promise_left_days": features.numbers["promise_left_days"] + elapsed,
    }
    return replace(features, numbers={**features.numbers, **then}, local_as_of=local)


VARIANTS = {
    "eta": HazardModel,
    "without geography": WithoutGeography,
    "without weight": WithoutWeight,
    "without place effects": WithoutPlaceEffects,
    "without drift": lambda: HazardModel(tracks_drift=False),
    "without ages in the drift": WithoutAges,
    "without landmarks and drift": WithoutLandmarks,
    "without censored parcels": lambda: HazardModel(includes_censored=False),
}


def main() -> None:
    """Runs the replay and prints the table and one JSON object."""
    dataset, timelines = harness.load_data(SOURCE, harness.require_real_data(SOURCE))
    zone = dataset.zone
    first, last = (date.fromisoformat(day) for day in (FIRST, LAST))
    replayed = replay(
        timelines,
        VARIANTS,
        start=midnight(first, zone),
        end=midnight(last + timedelta(days=1), zone),
        zone=zone,
        refit=Refit.MONTH,
        warm_up_months=0,
        progress=harness.report_progress,
    )
    result = summarise(replayed, reference="eta")
    rows = [
        {name: row[name] for name in ("model", "moment", "n", *METRICS)}
        for row in result["rows"]
        if row["moment"] in MOMENTS
    ]
    gaps = [gap for gap in result["differences"] if gap["moment"] in MOMENTS]
    print_table(rows, gaps)
    harness.print_figures(
        **{"proof": "ablation", "source": SOURCE, "from": FIRST, "to": LAST},
        rows=rows,
        differences=gaps,
    )


def print_table(rows: list[dict[str, Any]], gaps: list[Mapping[str, Any]]) -> None:
    """A table in Markdown, a line a variant and moment."""
    by_key = {(gap["against"], gap["moment"], gap["metric"]): gap for gap in gaps}
    harness.print_line(
        "| model | moment | MAE | CRPS | CRPS, all | 80 % | 90 % | late AUC"
        " | CRPS of eta minus it | CRPS, all, of eta minus it |"
    )
    harness.print_line("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        found = [
            by_key.get((row["model"], row["moment"], metric))
            for metric in ("crps_days", HEADLINE_METRIC)
        ]
        difference = " | ".join(
            f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]" if gap else ""
            for gap in found
        )
        figures = " | ".join("" if row[name] is None else f"{row[name]:.3f}" for name in METRICS)
        harness.print_line(f"| {row['model']} | {row['moment']} | {figures} | {difference} |")


if __name__ == "__main__":
    main()
