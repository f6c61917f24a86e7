"""How close `eta` comes to the best anyone could do on the default scenario, and whether its ranges are right.

Simulates the default scenario, replays the last months but one with a monthly refit, and prints one JSON object: the ratio
of `eta`'s CRPS to the oracle's, that of its average precision on late parcels, and every segment whose coverage leaves the
exact binomial band (family-wise 95 %, Bonferroni). Simulated results.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scipy.stats import binom

from eta import bootstrap
from eta.evaluation.replay import Refit
from eta.evaluation.summary import Row
from eta.journey.timeline import Timelines
from eta.service.backtest_models import backtest_models, oracle_of
from eta.service.simulate_parcels import simulate_parcels
from eta.simulation.scenario import DEFAULT

SHIPMENTS = 60_000
FIRST, LAST = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
LEVELS = {"coverage_80": 0.8, "coverage_90": 0.9}
MOMENTS = ("purchase", "in_flight")
ENOUGH = 500


def main() -> None:
    """Runs the experiment and prints its verdict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_parcels(folder, DEFAULT, shipments=SHIPMENTS, progress=say)
        imported = bootstrap.SOURCES["tabular"](folder)
        timelines = Timelines.from_frames(imported.shipments, imported.events)
        result = backtest_models(
            timelines,
            {"eta": bootstrap.models({})["eta"]},
            source="tabular",
            start=FIRST,
            end=LAST,
            last_day="2025-10-31",
            refit=Refit.MONTH,
            laws=oracle_of(folder, timelines),
            warm_up_months=0,
            progress=say,
        )
    row = {(row["model"], row["moment"]): row for row in result["rows"]}
    segments = [part for part in result["by_segment"] if part["model"] == "eta" and part["moment"] in MOMENTS and part["segment"] != "week"]
    segments = [part for part in segments if part["n"] >= ENOUGH]
    outside = {level: out_of_band(segments, level) for level in LEVELS}
    figures: dict[str, Any] = {
        "simulated": True,
        "crps_ratio": {moment: row["eta", moment]["crps_days"] / row["oracle", moment]["crps_days"] for moment in MOMENTS},
        "late_ap_ratio": {moment: row["eta", moment]["late_ap"] / row["oracle", moment]["late_ap"] for moment in MOMENTS},
        "coverage": {moment: {level: row["eta", moment][level] for level in LEVELS} for moment in MOMENTS},
        "segments": len(segments),
        "outside": outside,
    }
    ok = max(figures["crps_ratio"].values()) <= 1.15 and min(figures["late_ap_ratio"].values()) >= 0.85 and not any(outside.values())
    sys.stdout.write(json.dumps({"proof": "scenario", "ok": ok, **figures}) + "\n")


def out_of_band(segments: list[Row], level: str) -> list[dict[str, Any]]:
    """Segments whose coverage no right range would have, one time in twenty for all of them together."""
    outside = []
    for part in segments:
        low, high = binom.interval(1 - 0.05 / (2 * len(segments)), part["n"], LEVELS[level])
        if not low <= part[level] * part["n"] <= high:
            outside.append({"moment": part["moment"], "segment": part["segment"], "value": part["value"], "n": part["n"], "coverage": round(part[level], 3)})
    return outside


def say(what: str, done: int, total: int) -> None:
    """Progress on standard error."""
    sys.stderr.write(f"\r{done}/{total} {what:60s}")


if __name__ == "__main__":
    main()
