"""A replay in figures: rows, differences with intervals, months, segments, and the ranges that do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.evaluation.backtest import Replay
from eta.evaluation.confidence_intervals import exact_interval, week_bootstrap
from eta.evaluation.coverage import ALL, RANGES, WEEK, Row, SegmentParcels, failing, judge
from eta.evaluation.metrics import (
    PINBALL_LEVELS,
    late_calibration,
    pit_deciles,
    ranking,
    share_within,
)
from eta.journey.snapshots import IN_FLIGHT, MOMENTS, PURCHASE

IN_FLIGHT_UNION = "in_flight"
SEGMENTS = (
    "phase",
    "elapsed_band",
    "carrier",
    "service_level",
    "origin_region",
    "destination_region",
    "weight_band",
    "distance_band",
    "promise_bucket",
    WEEK,
)
#: A month with fewer late orders says nothing about ranking them.
MIN_LATE_ORDERS = 100
#: A segment with fewer delivered parcels is left out.
MIN_SEGMENT_PARCELS = 30
DIFFERENCE_METRICS = ("mae_days", "crps_days", "crps_censored_days")

_PINBALL = tuple(f"pinball_{level * 100:.0f}_days" for level in PINBALL_LEVELS)
#: What scores are made of, and what coverage is made of.
_NUMBERS = (
    *(
        "error_days",
        "crps_days",
        "crps_censored_days",
        "covered_80",
        "covered_90",
        "dates_covered_80",
        *_PINBALL,
        "pit_from",
        "pit_to",
    ),
    *(
        "is_late",
        "is_promise_open",
        "late_probability",
        "is_purchase",
        "promise_days",
        "promised_days",
        "took_days",
    ),
)
_HELD = tuple(f"held_{nominal.name}" for nominal in RANGES)
#: What only a whole row has.
_WHOLE_ROW_ONLY = {
    "late_auc_month_mean": None,
    "late_ece": None,
    "late_slope": None,
    "fit_seconds": None,
    "predict_seconds": None,
}


def summarise(
    replay: Replay, *, reference: str | None = None, is_simulated: bool = False, seed: int = 0
) -> dict[str, list[Row]]:
    """``rows``, ``differences`` of ``reference`` against every other model, ``by_month``, ``by_segment`` and ``failing``.

    Rows judge delivered parcels; what has ``censored`` in its name judges all of them up to the end
    of what is known. ``is_simulated`` says that parcels are independent of each other, so that
    intervals of coverage are exact. A figure that cannot be had is None.
    """
    groups, judged = list(_moments(replay.judged)), _compact(replay.judged)
    rows, by_month, by_segment = [], [], []
    for model, forecasts in replay.forecasts.items():
        table = pd.concat([judged, forecasts], axis=1)
        table = table.assign(**_held(table))[
            [*_NUMBERS, *_HELD, *judged.select_dtypes("category"), "arrived", "parcel"]
        ]
        for moment, wanted in groups:
            part = table[wanted]
            key = {"model": model, "moment": moment}
            months = [
                {"month": month, **key, **_scores(of_month), **_WHOLE_ROW_ONLY}
                for month, of_month in part.groupby("month", sort=True, observed=True)
            ]
            ranked = [
                entry["late_auc"]
                for entry in months
                if entry["n_late"] >= MIN_LATE_ORDERS and entry["late_auc"] is not None
            ]
            whole, *bands = judge(parts := list(_parts(part)), is_simulated=is_simulated, seed=seed)
            row = {
                **key,
                **_scores(part),
                **whole,
                **_pit_band(part, is_simulated, seed),
                **_late_calibration(part),
            }
            row |= {
                "late_auc_month_mean": float(np.mean(ranked)) if ranked else None,
                "fit_seconds": replay.fit_seconds[model],
                "predict_seconds": replay.predict_seconds[model] * len(part) / len(table),
            }
            rows.append(row)
            by_month += months
            by_segment += [
                {
                    "segment": segment_part.segment,
                    "value": segment_part.value,
                    **key,
                    **_scores(segment_part.parcels),
                    **_WHOLE_ROW_ONLY,
                    **band,
                }
                for segment_part, band in zip(parts[1:], bands, strict=True)
            ]
    differences = (
        []
        if reference is None or reference not in replay.forecasts
        else list(_differences(replay, reference, groups, seed))
    )
    return {
        "rows": rows,
        "differences": differences,
        "by_month": by_month,
        "by_segment": by_segment,
        "failing": failing([*rows, *by_segment]),
    }


def _compact(judged: pd.DataFrame) -> pd.DataFrame:
    """The same rows with texts as categories: they are taken apart a thousand times."""
    return judged[["arrived", "is_late", "is_promise_open", "promised_days"]].assign(
        parcel=pd.factorize(judged["shipment_id"])[0],
        is_purchase=judged["moment"].eq(PURCHASE),
        took_days=(judged["arrived_on"] - judged["as_of_on"]).dt.days,
        **{name: judged[name].astype("category") for name in ("month", *SEGMENTS)},
    )


def _held(table: pd.DataFrame) -> dict[str, NDArray[np.floating]]:
    """The share of each parcel that each range covers; see ``coverage.SegmentParcels``."""
    start, end = table["pit_from"].to_numpy(), table["pit_to"].to_numpy()
    held = {
        f"held_{level}": share_within(start, end, 0.5 - level / 200, 0.5 + level / 200)
        for level in (80, 90)
    }
    # Whole days hold a parcel that is not there yet with at least the probability that hours do.
    held["held_dates_80"] = np.where(table["arrived"], table["dates_covered_80"], held["held_80"])
    return held


def _parts(table: pd.DataFrame) -> Iterator[SegmentParcels]:
    """All parcels of a moment, then its segments."""
    yield SegmentParcels(ALL, ALL, table)
    for segment in SEGMENTS:
        for value, parcels in table.groupby(segment, sort=True, observed=True):
            if parcels["arrived"].sum() >= MIN_SEGMENT_PARCELS:
                yield SegmentParcels(segment, str(value), parcels)


def _moments(judged: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for moment in MOMENTS:
        yield moment, judged["moment"].eq(moment).to_numpy()
    yield IN_FLIGHT_UNION, judged["moment"].isin(IN_FLIGHT).to_numpy()


def _scores(part: pd.DataFrame) -> Row:
    arrived = part["arrived"].to_numpy(dtype=bool)
    numbers = {name: part[name].to_numpy(dtype=np.float64) for name in _NUMBERS}
    delivered = {name: values[arrived] for name, values in numbers.items()}
    errors, late = np.abs(delivered["error_days"]), _ranked(delivered)
    is_late = delivered["is_late"][late] == 1.0
    auc, precision = ranking(is_late, delivered["late_probability"][late])
    return {
        "n": int(arrived.sum()),
        "n_censored": int((~arrived).sum()),
        "n_late": int(is_late.sum()),
        "mae_days": _mean(errors),
        "median_ae_days": None if np.isnan(errors).all() else float(np.nanmedian(errors)),
        "bias_days": _mean(delivered["error_days"]),
        "crps_days": _mean(delivered["crps_days"]),
        "crps_censored_days": _mean(numbers["crps_censored_days"]),
        "coverage_80": _mean(delivered["covered_80"]),
        "coverage_90": _mean(delivered["covered_90"]),
        "coverage_dates_80": _mean(delivered["dates_covered_80"]),
        **{name: _mean(delivered[name]) for name in _PINBALL},
        "pit_deciles": _pit_deciles(numbers["pit_from"], numbers["pit_to"]),
        "late_auc": auc,
        "late_ap": precision,
        **_promise_scores(delivered),
    }


def _ranked(delivered: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Those of which it is asked whether they come late: the promised day is not over yet."""
    return (
        ~np.isnan(delivered["is_late"])
        & (delivered["is_promise_open"] == 1.0)
        & ~np.isnan(delivered["late_probability"])
    )


def _promise_scores(delivered: Mapping[str, NDArray[np.float64]]) -> Row:
    """The promises that the model would have made at purchase, beside the shop's own."""
    has_promise = (
        (delivered["is_purchase"] == 1.0)
        & ~np.isnan(delivered["promise_days"])
        & ~np.isnan(delivered["promised_days"])
    )
    if not has_promise.any():
        return {"on_time_share": None, "promised_days_mean": None, "days_saved_equal_on_time": None}
    promise = delivered["promise_days"][has_promise]
    return {
        "on_time_share": float((delivered["took_days"][has_promise] <= promise).mean()),
        "promised_days_mean": float(promise.mean()),
        "days_saved_equal_on_time": float(
            (delivered["promised_days"][has_promise] - promise).mean()
        ),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else None


def _pit_deciles(start: NDArray[np.float64], end: NDArray[np.float64]) -> list[float] | None:
    present = ~np.isnan(start)
    return pit_deciles(start[present], end[present]).tolist() if present.any() else None


def _pit_band(part: pd.DataFrame, is_simulated: bool, seed: int) -> Row:
    """The 95 % interval of each of ``pit_deciles``."""
    present = part[part["pit_from"].notna()]
    if present.empty:
        return {"pit_deciles_low": None, "pit_deciles_high": None}
    count = np.asarray(present.groupby("week", observed=True).size(), dtype=np.float64)
    weeks = [
        pit_deciles(week["pit_from"].to_numpy(), week["pit_to"].to_numpy())
        for _, week in present.groupby("week", observed=True)
    ]
    inside = count[:, None] * np.array(weeks)
    if is_simulated:
        intervals = [
            exact_interval(float(total), float(count.sum())) for total in inside.sum(axis=0)
        ]
    else:
        intervals = [week_bootstrap(column, count, seed) for column in inside.T]
    low, high = ([interval[end] for interval in intervals] for end in (0, 1))
    return {
        "pit_deciles_low": None if None in low else low,
        "pit_deciles_high": None if None in high else high,
    }


def _late_calibration(part: pd.DataFrame) -> Row:
    delivered = {
        name: part.loc[part["arrived"], name].to_numpy(dtype=np.float64)
        for name in ("is_late", "is_promise_open", "late_probability")
    }
    late = _ranked(delivered)
    error, slope = late_calibration(
        delivered["is_late"][late] == 1.0, delivered["late_probability"][late]
    )
    return {"late_ece": error, "late_slope": slope}


def _differences(
    replay: Replay, model: str, groups: list[tuple[str, NDArray[np.bool_]]], seed: int
) -> Iterator[Row]:
    """Mean of the model's score less the other's on the same parcels: below 0 is better."""
    for other, against in replay.forecasts.items():
        if other == model:
            continue
        forecasts = replay.forecasts[model]
        for moment, wanted in groups:
            for metric in DIFFERENCE_METRICS:
                rows = (
                    wanted
                    if metric == "crps_censored_days"
                    else wanted & replay.judged["arrived"].to_numpy()
                )
                column = "error_days" if metric == "mae_days" else metric
                gap = (forecasts[column].abs() - against[column].abs())[rows]
                weeks = gap.groupby(replay.judged["week"][rows]).agg(["sum", "count"])
                low, high = week_bootstrap(
                    weeks["sum"].to_numpy(dtype=np.float64),
                    weeks["count"].to_numpy(dtype=np.float64),
                    seed,
                )
                yield {
                    "model": model,
                    "against": other,
                    "moment": moment,
                    "metric": metric,
                    "mean": _mean(gap.to_numpy(dtype=np.float64)),
                    "low": low,
                    "high": high,
                }
