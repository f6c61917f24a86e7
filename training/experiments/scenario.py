"""How close `eta` comes to the oracle on the default scenario, and whether its ranges hold.

Simulates the default scenario, replays the last months but one with a monthly refit, and prints one
JSON object: the ratio of `eta`'s CRPS to the oracle's, that of its average precision on late
parcels, and every range that does not hold in some segment (`failing` of the backtest: exact
binomial, family-wise 95 %). Simulated results.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta import bootstrap
from eta.evaluation.backtest import Refit
from eta.service.analysis.backtest import backtest_models, oracle_sources, scan_conditional_source

SHIPMENTS = 60_000
FIRST, LAST = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
COVERAGE = ("coverage_80", "coverage_90", "coverage_censored_80", "coverage_censored_90")
MOMENTS = ("purchase", "in_flight")
REPORTED_FIELDS = ("moment", "segment", "value", "n", "range", "coverage")


def main() -> int:
    """Runs the experiment and prints its verdict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, timelines = harness.simulate(folder, SHIPMENTS)
        result = backtest_models(
            timelines,
            {"eta": bootstrap.models({})["eta"]},
            source="tabular",
            start=FIRST,
            end=LAST,
            refit=Refit.MONTH,
            curve_sources={
                **oracle_sources(folder, timelines),
                "scan_conditional": scan_conditional_source(folder, timelines),
            },
            # The forecasts of the month before recalibrate the curves.
            warm_up_months=1,
            progress=harness.report_progress,
        )
    row = {(row["model"], row["moment"]): row for row in result["rows"]}
    judged = [
        row
        for part in ("rows", "by_segment")
        for row in result[part]
        if row["model"] == "eta" and row["moment"] in MOMENTS
    ]
    outside = [
        entry
        for entry in result["failing"]
        if entry["model"] == "eta" and entry["moment"] in MOMENTS
    ]
    figures: dict[str, Any] = {
        "crps_ratio": {
            moment: row["eta", moment]["crps_days"] / row["oracle", moment]["crps_days"]
            for moment in MOMENTS
        },
        # The least that is possible for who sees scans alone.
        "crps_ratio_of_scan_conditional": {
            moment: row["scan_conditional", moment]["crps_days"]
            / row["oracle", moment]["crps_days"]
            for moment in MOMENTS
        },
        # Over all parcels, also those without a received arrival: the curves of the
        # network expect them to be there.
        "crps_ratio_of_all_parcels_to_scan_conditional": {
            moment: row["eta", moment]["crps_censored_days"]
            / row["scan_conditional", moment]["crps_censored_days"]
            for moment in MOMENTS
        },
        "late_ap_ratio_of_scan_conditional": {
            moment: row["scan_conditional", moment]["late_ap"] / row["oracle", moment]["late_ap"]
            for moment in MOMENTS
        },
        "late_ap_ratio": {
            moment: row["eta", moment]["late_ap"] / row["oracle", moment]["late_ap"]
            for moment in MOMENTS
        },
        "coverage": {
            moment: {name: row["eta", moment][name] for name in COVERAGE} for moment in MOMENTS
        },
        "judged": sum(row["holds_80"] is not None for row in judged),
        "outside": [{name: entry[name] for name in REPORTED_FIELDS} for entry in outside],
    }
    ok = (
        max(figures["crps_ratio"].values()) <= 1.15
        and min(figures["late_ap_ratio"].values()) >= 0.85
        and not outside
    )
    return harness.print_verdict("scenario", ok=ok, simulated=True, **figures)


if __name__ == "__main__":
    sys.exit(main())
