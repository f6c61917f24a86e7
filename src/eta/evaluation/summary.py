"""A replay in figures: rows, differences with intervals, months and segments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.evaluation.replay import Replay
from eta.evaluation.scores import ranking
from eta.journey.snapshots import IN_FLIGHT, MOMENTS, PURCHASE

IN_FLIGHT_UNION = "in_flight"
SEGMENTS = (
    "carrier",
    "service_level",
    "origin_region",
    "destination_region",
    "weight_band",
    "distance_band",
    "promise_bucket",
    "week",
)
#: A month with fewer late orders says nothing about ranking them.
LATE_ENOUGH = 100
#: A segment with fewer delivered parcels is left out.
SEGMENT_ENOUGH = 30
DIFFERENCE_METRICS = ("mae_days", "crps_days", "crps_censored_days")
RESAMPLES = 2000

#: What only a whole row has.
_OF_WHOLE = {"late_auc_month_mean": None, "fit_seconds": None, "predict_seconds": None}

Row = dict[str, Any]


def summarise(replay: Replay, *, reference: str | None = None, seed: int = 0) -> dict[str, list[Row]]:
    """``rows``, ``differences`` of ``reference`` against every other model, ``by_month`` and ``by_segment``.

    Rows judge delivered parcels; ``crps_censored_days`` judges all of them up to the end of what is known. A figure
    that cannot be had is None.
    """
    groups = list(_moments(replay.judged))
    rows, by_month, by_segment = [], [], []
    for model, forecasts in replay.forecasts.items():
        table = pd.concat([replay.judged, forecasts], axis=1)
        for moment, wanted in groups:
            part = table[wanted]
            months = [
                {"month": month, "model": model, "moment": moment, **_scores(of_month), **_OF_WHOLE} for month, of_month in part.groupby("month", sort=True)
            ]
            row = {"model": model, "moment": moment, **_scores(part)}
            ranked = [entry["late_auc"] for entry in months if entry["n_late"] >= LATE_ENOUGH and entry["late_auc"] is not None]
            row |= {
                "late_auc_month_mean": float(np.mean(ranked)) if ranked else None,
                "fit_seconds": replay.fit_seconds[model],
                "predict_seconds": replay.predict_seconds[model] * len(part) / len(table),
            }
            rows.append(row)
            by_month += months
            for segment in SEGMENTS:
                for value, of_segment in part.groupby(segment, sort=True):
                    if of_segment["arrived"].sum() >= SEGMENT_ENOUGH:
                        low, high = _coverage_band(of_segment, seed)
                        by_segment.append(
                            {
                                "segment": segment,
                                "value": str(value),
                                "model": model,
                                "moment": moment,
                                **_scores(of_segment),
                                **_OF_WHOLE,
                                "low_80": low,
                                "high_80": high,
                            }
                        )
    differences = [] if reference is None or reference not in replay.forecasts else list(_differences(replay, reference, groups, seed))
    return {"rows": rows, "differences": differences, "by_month": by_month, "by_segment": by_segment}


def week_bootstrap(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> tuple[float | None, float | None]:
    """The 95 % interval of ``sum(sums) / sum(counts)`` when whole weeks, (W,), are drawn with replacement.

    Orders of one week share the state of the network, so weeks and not orders are the sample (block bootstrap, Kunsch 1989).
    """
    if len(sums) < 2:
        return None, None
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1.0 / len(sums)), size=RESAMPLES)
    totals = drawn @ counts
    means = (drawn @ sums)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _moments(judged: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for moment in MOMENTS:
        yield moment, judged["moment"].eq(moment).to_numpy()
    yield IN_FLIGHT_UNION, judged["moment"].isin(IN_FLIGHT).to_numpy()


def _scores(part: pd.DataFrame) -> Row:
    delivered = part[part["arrived"]]
    late = delivered[delivered["is_late"].notna() & delivered["is_promise_open"] & delivered["late_probability"].notna()]
    is_late = late["is_late"].to_numpy() == 1.0
    auc, precision = ranking(is_late, late["late_probability"].to_numpy())
    return {
        "n": len(delivered),
        "n_censored": len(part) - len(delivered),
        "n_late": int(is_late.sum()),
        "mae_days": _mean(delivered["error_days"].abs()),
        "median_ae_days": None if delivered.empty else float(delivered["error_days"].abs().median()),
        "bias_days": _mean(delivered["error_days"]),
        "crps_days": _mean(delivered["crps_days"]),
        "crps_censored_days": _mean(part["crps_censored_days"]),
        "coverage_80": _mean(delivered["covered_80"]),
        "coverage_90": _mean(delivered["covered_90"]),
        "coverage_dates_80": _mean(delivered["dates_covered_80"]),
        "late_auc": auc,
        "late_ap": precision,
        **_promise_scores(delivered),
    }


def _promise_scores(delivered: pd.DataFrame) -> Row:
    """The promise the model would have made at purchase, at a level chosen on the past, beside the shop's own."""
    made = delivered[delivered["moment"].eq(PURCHASE) & delivered["promise_days"].notna() & delivered["promised_days"].notna()]
    if made.empty:
        return {"on_time_share": None, "promised_days_mean": None, "days_saved_equal_on_time": None}
    took = (made["arrived_on"] - made["as_of_on"]).dt.days
    return {
        "on_time_share": float((took <= made["promise_days"]).mean()),
        "promised_days_mean": float(made["promise_days"].mean()),
        "days_saved_equal_on_time": float((made["promised_days"] - made["promise_days"]).mean()),
    }


def _mean(values: pd.Series) -> float | None:
    return None if values.isna().all() else float(values.mean())


def _coverage_band(part: pd.DataFrame, seed: int) -> tuple[float | None, float | None]:
    weeks = part[part["arrived"]].groupby("week")["covered_80"].agg(["sum", "count"])
    return week_bootstrap(weeks["sum"].to_numpy(), weeks["count"].to_numpy(dtype=np.float64), seed)


def _differences(replay: Replay, model: str, groups: list[tuple[str, NDArray[np.bool_]]], seed: int) -> Iterator[Row]:
    """Mean of the model's score less the other's on the same parcels: below 0 is better."""
    for other, against in replay.forecasts.items():
        if other == model:
            continue
        own = replay.forecasts[model]
        for moment, wanted in groups:
            for metric in DIFFERENCE_METRICS:
                rows = wanted if metric == "crps_censored_days" else wanted & replay.judged["arrived"].to_numpy()
                column = "error_days" if metric == "mae_days" else metric
                gap = (own[column].abs() - against[column].abs())[rows]
                weeks = gap.groupby(replay.judged["week"][rows]).agg(["sum", "count"])
                low, high = week_bootstrap(weeks["sum"].to_numpy(), weeks["count"].to_numpy(dtype=np.float64), seed)
                yield {"model": model, "against": other, "moment": moment, "metric": metric, "mean": _mean(gap), "low": low, "high": high}
