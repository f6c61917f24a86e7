"""How soon forecasts recover when the simulated network takes twice as long from one day on.

Claim: four days after a lasting slow-down by half the 90 % ranges of new forecasts cover at least
    85 % again, and the drift
is half-way. The model is fitted on the day before, never again, and learns the drift every
midnight; beside it the same model without drift.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.evaluation.backtest import Refit, replay
from eta.forecast.drift.estimate import AGE_CLASSES, Drift
from eta.forecast.hazard.model import HazardModel
from eta.simulation.scenario import DEFAULT

SHIPMENTS = 60_000
#: The first slow day, and how many days around it are judged.
SLOW_FROM, DAYS_BEFORE, DAYS_AFTER = date(2025, 9, 15), 14, 28
SCENARIO = replace(DEFAULT, slow_from=SLOW_FROM, slow_factor=2.0)
#: A network that takes twice as long has half the hazard; half of the way there is three quarters
#: of it.
HALF_WAY = 0.75
COVERED, WITHIN_DAYS = 0.85, 4
#: Stuck parcels were stuck before.
MOVING = AGE_CLASSES[:3]


class RecordingModel(HazardModel):
    """The model, with a note of every drift it was given."""

    drifts: ClassVar[list[Drift]] = []

    def with_drift(self, drift: Drift) -> Self:
        """Notes the drift."""
        self.drifts.append(drift)
        return super().with_drift(drift)


def main() -> int:
    """Runs the experiment and prints its verdict."""
    start = datetime.combine(SLOW_FROM, datetime.min.time(), UTC)
    with tempfile.TemporaryDirectory() as name:
        _, timelines = harness.simulate(Path(name), SHIPMENTS, SCENARIO)
    replayed = replay(
        timelines,
        {"eta": RecordingModel, "without drift": lambda: HazardModel(tracks_drift=False)},
        start=start - timedelta(days=DAYS_BEFORE),
        end=start + timedelta(days=DAYS_AFTER),
        refit=Refit.NEVER,
        warm_up_months=0,
        progress=harness.report_progress,
    )
    # One a midnight.
    factors = [
        float(np.exp(drift.log_rate_ratio[: len(MOVING)].mean())) for drift in RecordingModel.drifts
    ]
    day = (replayed.judged["as_of"].dt.floor("D") - np.datetime64(SLOW_FROM)).dt.days
    arrived = replayed.judged["arrived"]
    covered = {
        name: forecasts["covered_90"][arrived].groupby(day).mean()
        for name, forecasts in replayed.forecasts.items()
    }
    rows = [
        {
            "day": int(number),
            "n": int((arrived & (day == number)).sum()),
            "factor": round(factor, 3),
        }
        | {
            f"coverage_90, {name}": round(float(values[number]), 3)
            for name, values in covered.items()
        }
        for number, factor in zip(range(-DAYS_BEFORE, DAYS_AFTER), factors, strict=True)
    ]
    after = [row for row in rows if row["day"] >= 0]
    figures = {
        "covers_again_after_days": next(
            (row["day"] for row in after if row["coverage_90, eta"] >= COVERED), None
        ),
        "half_way_after_days": next(
            (row["day"] for row in after if row["factor"] <= HALF_WAY), None
        ),
    }
    ok = all(value is not None and value <= WITHIN_DAYS for value in figures.values())
    return harness.print_verdict("slowdown", ok=ok, simulated=True, **figures, days=rows)


if __name__ == "__main__":
    sys.exit(main())
