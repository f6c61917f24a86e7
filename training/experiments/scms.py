"""How well `eta` forecasts SCMS deliveries 30 days before their scheduled date, year by year.

On 1 January of each year every model learns what was known then; the shipments that are still open
30 days before their scheduled date, if that day falls in the year, are judged by CRPS over 60 days
(with the 95 % interval, over weeks, of the difference from ``gbm``) and by the AUC of being late.
``law`` is the distribution of delivered minus scheduled of the two years before; ``gbm`` is
LightGBM, quantiles for the curve and a classifier for being late. ``eta`` learns at the moments it
always learns at and near the promise, ``eta-ahead`` at the judged one alone; ``eta-firm`` is
``eta`` with ``FIRM`` leaves, which suit shipments whose promise says much and no others: shown, and
not what counts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta import bootstrap
from eta.calendars.local_time import DAY, day_starts, hours_between
from eta.curves import Curves
from eta.datasets.scms import KNOWN_AHEAD_DAYS
from eta.evaluation.confidence_intervals import week_bootstrap
from eta.evaluation.metrics import HORIZON_HOURS, crps_days, error_days, ranking
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features, promise_ends
from eta.journey.place_effects import HabitHistory
from eta.journey.snapshots import PURCHASE, Snapshots, snapshots_to_learn
from eta.journey.state import Moments, fold
from eta.journey.timelines import Timelines

FOLDER = Path(os.environ.get("ETA_DATA") or Path(__file__).parents[3] / "shared" / "data") / "scms"
YEARS = range(2009, 2016)
#: Leaves that follow what they see sooner.
FIRM: Mapping[str, Any] = {"leaf_rate": 0.2, "ridge": 5.0}
#: How far back the law of all shipments looks.
LAW_YEARS = 2
LEVELS = np.array([0.02, 0.05, *np.arange(0.1, 0.95, 0.05), 0.95, 0.98])
BOOSTING: Mapping[str, Any] = {
    "n_estimators": 150,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 20,
    "n_jobs": 1,
    "random_state": 0,
    "verbosity": -1,
}

Floats = NDArray[np.floating]
#: A curve and a P(late) for each judged shipment.
Said = tuple[Curves, Floats]


def main() -> None:
    """Runs the experiment and prints its verdict."""
    imported = bootstrap.SOURCES["scms"](FOLDER)
    timelines = Timelines.from_frames(imported.shipments, imported.events)
    ahead = moments_ahead(timelines)
    end = timelines.received_at.max()
    truth, in_time = (
        examples(ahead, Outcomes.at(timelines, end)),
        hours_between(ahead.moments.as_of, promise_ends(timelines, ahead.moments.row)),
    )
    rows, gaps = [], []
    for year in YEARS:
        start, stop = (np.datetime64(f"{each}-01-01", "us") for each in (year, year + 1))
        # The file ends: who would come later than that is not in it, so that the last weeks hold
        # early deliveries alone.
        judged = np.flatnonzero(
            (ahead.moments.as_of >= start)
            & (ahead.moments.as_of < np.minimum(stop, end - 60 * DAY))
        )
        sys.stderr.write(f"{year}: {len(judged)} to judge\n")
        known = Outcomes.at(timelines, start)
        hours, late = truth.hours[judged], truth.hours[judged] >= in_time[judged]
        scores = {}
        for name, (curves, probability) in forecasts(
            timelines, ahead, known, judged, in_time
        ).items():
            auc, _ = ranking(late, probability)
            crps, error = crps_days(curves, hours), np.abs(error_days(curves, hours))
            scores[name] = crps
            rows.append(
                {
                    "year": year,
                    "model": name,
                    "n": len(judged),
                    "n_late": int(late.sum()),
                    "exact": float((np.abs(hours - in_time[judged] + 12) < 12).mean()),
                }
                | {
                    "crps_days": float(crps.mean()),
                    "mae_days": float(error.mean()),
                    "late_auc": auc,
                }
            )
        gaps.append(
            pd.DataFrame(
                {
                    "week": ahead.moments.as_of[judged].astype("datetime64[W]"),
                    "gap": scores["eta"] - scores["gbm"],
                }
            )
        )
    table, gap = pd.DataFrame(rows), pd.concat(gaps)
    weeks = gap.groupby("week")["gap"].agg(["sum", "count"])
    above = [
        float(gap["gap"].mean()),
        *week_bootstrap(
            weeks["sum"].to_numpy(dtype=np.float64), weeks["count"].to_numpy(dtype=np.float64), 0
        ),
    ]
    overall = {str(name): summary(part) for name, part in table.groupby("model")}
    ok = (
        all(overall["eta"]["crps_days"] <= overall[name]["crps_days"] for name in ("law", "gbm"))
        and overall["eta"]["late_auc"] >= overall["gbm"]["late_auc"]
    )
    figures = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    sys.stdout.write(
        json.dumps(
            {
                "proof": "scms",
                "ok": ok,
                "overall": overall,
                "crps_days_above_gbm": above,
                "rows": figures,
            }
        )
        + "\n"
    )


def summary(part: pd.DataFrame) -> dict[str, float]:
    """CRPS and MAE over all shipments, and the mean of the years' AUC."""
    weighted = {
        name: round(float(np.average(part[name], weights=part["n"])), 4)
        for name in ("crps_days", "mae_days")
    }
    return {
        "n": int(part["n"].sum()),
        **weighted,
        "late_auc": round(float(part["late_auc"].mean()), 4),
    }


def moments_ahead(timelines: Timelines) -> Snapshots:
    """Every shipment that is known and open when the day begins that is 30 days before its scheduled one."""
    row = np.flatnonzero(~np.isnat(timelines.promised_on))
    as_of = day_starts(
        timelines.promised_on[row] - KNOWN_AHEAD_DAYS * DAY,
        timelines.zone.codes[row],
        timelines.zone.names,
    )
    moments = Moments(row, as_of)
    # Most were ordered more than 60 days before: `eta score` would list them as expired.
    kept = moments.take(fold(timelines, moments).is_open)
    return Snapshots(
        kept,
        timelines.parcel[kept.row],
        np.full(len(kept), PURCHASE, dtype=object),
        features(timelines, kept, HabitHistory.of_all(timelines)),
    )


def forecasts(
    timelines: Timelines,
    ahead: Snapshots,
    known: Outcomes,
    judged: NDArray[np.int64],
    in_time: Floats,
) -> dict[str, Said]:
    """What each model says of the judged, from what was known."""
    asked, limit = ahead.features.take(judged), in_time[judged]
    learned = examples(ahead, known)
    lessons = examples(snapshots_to_learn(timelines, known.known_through, near_promise=True), known)
    said = dict(
        peers(
            learned,
            asked,
            limit,
            in_time[np.flatnonzero(ahead.moments.as_of < known.known_through)],
        )
    )
    settings: Mapping[str, tuple[Examples, Mapping[str, Any]]] = {
        "eta": (lessons, {}),
        "eta-firm": (lessons, FIRM),
        "eta-ahead": (learned, {}),
    }
    for name, (lesson, parameters) in settings.items():
        curves = HazardModel(uses_promise=True, **parameters).fit(lesson).predict_curves(asked)
        said[name] = curves, 1.0 - curves.cdf_at(limit)
    return said


def peers(
    learned: Examples, asked: Features, limit: Floats, in_time: Floats
) -> Iterator[tuple[str, Said]]:
    """The rolling law and gradient boosting, both from shipments that had arrived."""
    arrived = np.flatnonzero(learned.arrived)
    hours, late = learned.hours[arrived], learned.hours[arrived] >= in_time[arrived]
    recent = hours[learned.as_of[arrived] >= learned.known_through - LAW_YEARS * 365 * DAY]
    at, counts = np.unique(np.minimum(recent, 10 * HORIZON_HOURS), return_counts=True)
    reached = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    steps = np.repeat(reached, 2)[1:-1]
    law = Curves.on_grid(np.repeat(at, 2), np.tile(np.minimum(steps, 1.0), (len(asked), 1)))
    yield "law", (law, 1.0 - law.cdf_at(limit - 1e-6))
    rows, wanted = columns(learned.features.take(arrived)), columns(asked)
    quantiles = np.column_stack(
        [
            lightgbm.LGBMRegressor(objective="quantile", alpha=level, **BOOSTING)
            .fit(rows, hours)
            .predict(wanted)
            for level in LEVELS
        ]
    )
    curves = Curves.from_quantiles(
        LEVELS, np.sort(quantiles, axis=1), longest_hours=float(hours.max())
    )
    chance = (
        np.asarray(lightgbm.LGBMClassifier(**BOOSTING).fit(rows, late).predict_proba(wanted))[:, 1]
        if late.any()
        else np.zeros(len(asked))
    )
    yield "gbm", (curves, chance)


def columns(known: Features) -> pd.DataFrame:
    """What `eta` sees; labels as categories."""
    return pd.DataFrame(
        {
            **known.numbers,
            **{
                name: pd.Categorical(label.texts(), categories=list(label.names))
                for name, label in known.labels.items()
            },
        }
    )


if __name__ == "__main__":
    main()
