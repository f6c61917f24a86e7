"""How well `eta` forecasts SCMS deliveries 30 days before their scheduled date, year by year.

On 1 January of each year every model learns what was known then; the shipments that are still open
30 days before their scheduled date, if that day falls in the year, are judged by CRPS over 60 days
(with the 95 % interval, over weeks, of the difference from ``gbm``) and by the AUC of being late.
``rolling`` is the distribution of delivered minus scheduled of the two years before; ``gbm`` is
LightGBM, quantiles for the curve and a classifier for being late. ``eta`` learns at the moments it
always learns at and near the promise, ``eta-ahead`` at the judged one alone; ``eta-firm`` is
``eta`` with ``FIRM`` leaves, which suit shipments whose promise says much and no others: shown, and
not what counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.calendars.local_time import DAY, day_starts, hours_between
from eta.curves import Curves
from eta.datasets.scms import ASSUMED_LEAD_DAYS
from eta.evaluation.confidence_intervals import week_bootstrap
from eta.evaluation.metrics import HORIZON_HOURS, crps_days, error_days, ranking
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.snapshots import PURCHASE, Snapshots, training_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines, promise_ends

YEARS = range(2009, 2016)
#: Leaves that follow what they see sooner.
FIRM: Mapping[str, Any] = {"leaf_rate": 0.2, "ridge": 5.0}
#: How far back the distribution of all shipments looks.
WINDOW_YEARS = 2
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
Prediction = tuple[Curves, Floats]


def main() -> int:
    """Runs the experiment and prints its verdict."""
    folder = harness.require_real_data("scms")
    _, timelines = harness.load_data("scms", folder)
    ahead = moments_ahead(timelines)
    end = timelines.received_at.max()
    truth, in_time = (
        examples(ahead, Outcomes.at(timelines, end)),
        hours_between(ahead.pairs.as_of, promise_ends(timelines, ahead.pairs.row)),
    )
    rows, gaps = [], []
    for year in YEARS:
        start, stop = (
            np.datetime64(f"{first_year}-01-01", "us") for first_year in (year, year + 1)
        )
        # The file ends: who would come later than that is not in it, so that the last weeks hold
        # early deliveries alone.
        judged = np.flatnonzero(
            (ahead.pairs.as_of >= start) & (ahead.pairs.as_of < np.minimum(stop, end - 60 * DAY))
        )
        harness.report_progress(f"{year}: {len(judged)} to judge")
        outcomes = Outcomes.at(timelines, start)
        hours, late = truth.duration_hours[judged], truth.duration_hours[judged] >= in_time[judged]
        scores = {}
        for name, (curves, probability) in forecasts(
            timelines, ahead, outcomes, judged, in_time
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
                    "week": ahead.pairs.as_of[judged].astype("datetime64[W]"),
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
        all(
            overall["eta"]["crps_days"] <= overall[name]["crps_days"] for name in ("rolling", "gbm")
        )
        and overall["eta"]["late_auc"] >= overall["gbm"]["late_auc"]
    )
    figures = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    return harness.print_verdict(
        "scms", ok=ok, overall=overall, crps_days_above_gbm=above, rows=figures
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
    """Every shipment that is open at the start of the 30th day before its scheduled date."""
    row = np.flatnonzero(~np.isnat(timelines.promised_on))
    as_of = day_starts(
        timelines.promised_on[row] - ASSUMED_LEAD_DAYS * DAY,
        timelines.zone.codes[row],
        timelines.zone.names,
    )
    moments = AsOfPairs(row, as_of)
    # Most were ordered more than 60 days before: `eta score` would list them as expired.
    states = fold(timelines, moments)
    is_open = np.flatnonzero(states.is_open)
    open_moments, states = moments.take(is_open), states.take(is_open)
    place_effects = PlaceEffectHistory.from_timelines(timelines)
    return Snapshots(
        open_moments,
        timelines.parcel[open_moments.row],
        np.full(len(open_moments), PURCHASE, dtype=object),
        states,
        features(timelines, open_moments, place_effects, states),
    )


def forecasts(
    timelines: Timelines,
    ahead: Snapshots,
    outcomes: Outcomes,
    judged: NDArray[np.int64],
    in_time: Floats,
) -> dict[str, Prediction]:
    """What each model says of the judged, from what was known."""
    judged_features, limit = ahead.features.take(judged), in_time[judged]
    ahead_examples = examples(ahead, outcomes)
    training_examples = examples(
        training_snapshots(timelines, outcomes.known_through, near_promise=True), outcomes
    )
    predictions = dict(
        peers(
            ahead_examples,
            judged_features,
            limit,
            in_time[np.flatnonzero(ahead.pairs.as_of < outcomes.known_through)],
        )
    )
    settings: Mapping[str, tuple[Examples, Mapping[str, Any]]] = {
        "eta": (training_examples, {}),
        "eta-firm": (training_examples, FIRM),
        "eta-ahead": (ahead_examples, {}),
    }
    for name, (fitting_examples, parameters) in settings.items():
        curves = (
            HazardModel(uses_promise=True, **parameters)
            .fit(fitting_examples)
            .predict_curves(judged_features)
        )
        predictions[name] = curves, 1.0 - curves.cdf_at(limit)
    return predictions


def peers(
    ahead_examples: Examples, judged_features: Features, limit: Floats, in_time: Floats
) -> Iterator[tuple[str, Prediction]]:
    """The rolling distribution and gradient boosting, both from shipments that had arrived."""
    arrived = np.flatnonzero(ahead_examples.event_observed)
    hours, late = (
        ahead_examples.duration_hours[arrived],
        ahead_examples.duration_hours[arrived] >= in_time[arrived],
    )
    recent = hours[
        ahead_examples.as_of[arrived] >= ahead_examples.known_through - WINDOW_YEARS * 365 * DAY
    ]
    at, counts = np.unique(np.minimum(recent, 10 * HORIZON_HOURS), return_counts=True)
    reached = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    steps = np.repeat(reached, 2)[1:-1]
    rolling_curves = Curves.from_grid(
        np.repeat(at, 2), np.tile(np.minimum(steps, 1.0), (len(judged_features), 1))
    )
    yield "rolling", (rolling_curves, 1.0 - rolling_curves.cdf_at(limit - 1e-6))
    rows, wanted = columns(ahead_examples.features.take(arrived)), columns(judged_features)
    quantiles = np.column_stack(
        [
            lightgbm.LGBMRegressor(objective="quantile", alpha=level, **BOOSTING)
            .fit(rows, hours)
            .predict(wanted)
            for level in LEVELS
        ]
    )
    curves = Curves.from_quantiles(LEVELS, np.sort(quantiles, axis=1), max_hours=float(hours.max()))
    late_probability = (
        np.asarray(lightgbm.LGBMClassifier(**BOOSTING).fit(rows, late).predict_proba(wanted))[:, 1]
        if late.any()
        else np.zeros(len(judged_features))
    )
    yield "gbm", (curves, late_probability)


def columns(table: Features) -> pd.DataFrame:
    """What `eta` sees; labels as categories."""
    return pd.DataFrame(
        {
            **table.numbers,
            **{
                name: pd.Categorical(label.texts(), categories=list(label.names))
                for name, label in table.categoricals.items()
            },
        }
    )


if __name__ == "__main__":
    sys.exit(main())
