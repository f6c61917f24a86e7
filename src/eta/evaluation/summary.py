"""The figures of a replay: rows, differences, months, segments, and ranges that do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

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
#: A month with fewer late orders is too small to judge their ranking.
MIN_LATE_ORDERS = 100
#: A segment with fewer delivered parcels is left out.
MIN_SEGMENT_PARCELS = 30
#: Decides which model is better. It counts all parcels: a model that ignores those that never
#: arrive looks better than it is over the delivered ones alone.
HEADLINE_METRIC = "crps_censored_days"
DIFFERENCE_METRICS = ("mae_days", "crps_days", HEADLINE_METRIC)

_PINBALL = tuple(f"pinball_{level * 100:.0f}_days" for level in PINBALL_LEVELS)
#: Columns that scores are computed from, and those of coverage.
_NUMBERS = (
    "error_days",
    "crps_days",
    "crps_censored_days",
    "covered_80",
    "covered_90",
    "dates_covered_80",
    *_PINBALL,
    "pit_from",
    "pit_to",
    "is_late",
    "is_promise_open",
    "late_probability",
    "is_purchase",
    "promise_days",
    "promised_days",
    "took_days",
)
_HELD = tuple(f"held_{nominal.name}" for nominal in RANGES)
#: Figures of whole rows only.
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
    """The figures of a replay.

    ``rows``: each model at each moment. ``differences``: ``reference`` against every other model.
    ``by_month`` and ``by_segment``: the rows in parts. ``failing``: the ranges that do not hold.

    Rows judge delivered parcels; figures with ``censored`` in their name judge all parcels up to
    the end of the data. ``is_simulated`` means that parcels are independent of each other, so that
    intervals of coverage are exact. A figure that cannot be computed is None.
    """
    intervals = _Intervals(is_simulated, seed)
    judged = _compact(replay.judged)
    moment = replay.judged["moment"]
    moments = [(name, moment.eq(name).to_numpy()) for name in MOMENTS]
    moments.append((IN_FLIGHT_UNION, moment.isin(IN_FLIGHT).to_numpy()))
    parts = ("rows", "differences", "by_month", "by_segment")
    figures: dict[str, list[Row]] = {part: [] for part in parts}
    for model in replay.forecasts:
        table = _score_table(judged, replay.forecasts[model])
        for name, is_at_moment in moments:
            part = table[is_at_moment]
            key = {"model": model, "moment": name}
            by_month: list[Row] = []
            for month, parcels in part.groupby("month", sort=True, observed=True):
                by_month.append({"month": month, **key, **_scores(parcels), **_WHOLE_ROW_ONLY})
            row, by_segment = _rows_of_moment(part, key, intervals)
            row["late_auc_month_mean"] = _mean_monthly_auc(by_month)
            row["fit_seconds"] = replay.fit_seconds[model]
            row["predict_seconds"] = replay.predict_seconds[model] * len(part) / len(table)
            figures["rows"].append(row)
            figures["by_month"] += by_month
            figures["by_segment"] += by_segment
    if reference is not None and reference in replay.forecasts:
        figures["differences"] += _differences(replay, reference, moments, seed)
    figures["failing"] = failing([*figures["rows"], *figures["by_segment"]])
    return figures


class _Intervals(NamedTuple):
    """How intervals are computed: exactly for simulated parcels, else by weeks with a seed."""

    is_simulated: bool
    seed: int


def _score_table(judged: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    """The columns that rows are computed from: scores, ranges and segments."""
    table = pd.concat([judged, forecasts], axis=1)
    # The share of each parcel that each range covers; see ``coverage.SegmentParcels``.
    start, end = table["pit_from"].to_numpy(), table["pit_to"].to_numpy()
    held = {}
    for level in (80, 90):
        half_width = level / 200
        held[f"held_{level}"] = share_within(start, end, 0.5 - half_width, 0.5 + half_width)
    # Whole days cover an open parcel with at least the probability of the range in hours.
    held["held_dates_80"] = np.where(table["arrived"], table["dates_covered_80"], held["held_80"])
    table = table.assign(**held)
    segments = judged.select_dtypes("category")
    return table[[*_NUMBERS, *_HELD, *segments, "arrived", "parcel"]]


def _mean_monthly_auc(by_month: list[Row]) -> float | None:
    """The mean over the months with enough late orders."""
    values = [
        row["late_auc"]
        for row in by_month
        if row["n_late"] >= MIN_LATE_ORDERS and row["late_auc"] is not None
    ]
    return float(np.mean(values)) if values else None


def _rows_of_moment(part: pd.DataFrame, key: Row, intervals: _Intervals) -> tuple[Row, list[Row]]:
    """The row of a model at a moment, and those of its segments."""
    parts = list(_parts(part))
    whole, *bands = judge(parts, is_simulated=intervals.is_simulated, seed=intervals.seed)
    row = key | _scores(part)
    row |= whole
    row |= _pit_band(part, intervals)
    row |= _late_calibration(part)
    by_segment = []
    for segment, band in zip(parts[1:], bands, strict=True):
        segment_row: Row = {"segment": segment.segment, "value": segment.value}
        segment_row |= key
        segment_row |= _scores(segment.parcels)
        segment_row |= _WHOLE_ROW_ONLY
        segment_row |= band
        by_segment.append(segment_row)
    return row, by_segment


def _compact(judged: pd.DataFrame) -> pd.DataFrame:
    """The same rows with texts as categories, since they are grouped about a thousand times."""
    columns = judged[["arrived", "is_late", "is_promise_open", "promised_days"]]
    parcel, _ = pd.factorize(judged["shipment_id"])
    is_purchase = judged["moment"].eq(PURCHASE)
    took = judged["arrived_on"] - judged["as_of_on"]
    segments = {name: judged[name].astype("category") for name in ("month", *SEGMENTS)}
    return columns.assign(
        parcel=parcel, is_purchase=is_purchase, took_days=took.dt.days, **segments
    )


def _parts(table: pd.DataFrame) -> Iterator[SegmentParcels]:
    """All parcels of a moment, then its segments."""
    yield SegmentParcels(ALL, ALL, table)
    for segment in SEGMENTS:
        for value, parcels in table.groupby(segment, sort=True, observed=True):
            if parcels["arrived"].sum() >= MIN_SEGMENT_PARCELS:
                yield SegmentParcels(segment, str(value), parcels)


#: Means over delivered parcels, by the names of their columns.
_MEANS = {
    "coverage_80": "covered_80",
    "coverage_90": "covered_90",
    "coverage_dates_80": "dates_covered_80",
    **{name: name for name in _PINBALL},
}


def _scores(part: pd.DataFrame) -> Row:
    arrived = part["arrived"].to_numpy(dtype=bool)
    numbers = {name: part[name].to_numpy(dtype=np.float64) for name in _NUMBERS}
    delivered = {name: values[arrived] for name, values in numbers.items()}
    # How well P(late) ranks orders whose promised day is not over, and how many are late.
    ranked = _is_ranked(delivered)
    is_late = delivered["is_late"][ranked] == 1.0
    auc, precision = ranking(is_late, delivered["late_probability"][ranked])
    row: Row = {"n": int(arrived.sum()), "n_censored": int((~arrived).sum())}
    row["n_late"] = int(is_late.sum())
    # Mean and median absolute error, and bias.
    error_days = delivered["error_days"]
    errors = np.abs(error_days)
    row["mae_days"] = _mean(errors)
    row["median_ae_days"] = None if np.isnan(errors).all() else float(np.nanmedian(errors))
    row["bias_days"] = _mean(error_days)
    row["crps_days"] = _mean(delivered["crps_days"])
    row["crps_censored_days"] = _mean(numbers["crps_censored_days"])
    for name, column in _MEANS.items():
        row[name] = _mean(delivered[column])
    start, end = numbers["pit_from"], numbers["pit_to"]
    present = ~np.isnan(start)
    deciles = pit_deciles(start[present], end[present]).tolist() if present.any() else None
    row["pit_deciles"] = deciles
    row["late_auc"] = auc
    row["late_ap"] = precision
    row |= _promise_scores(delivered)
    return row


def _is_ranked(delivered: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Whether P(late) of each order is judged: its promised day is not over yet."""
    return (
        ~np.isnan(delivered["is_late"])
        & (delivered["is_promise_open"] == 1.0)
        & ~np.isnan(delivered["late_probability"])
    )


def _promise_scores(delivered: Mapping[str, NDArray[np.float64]]) -> Row:
    """The promises that the model would have made at purchase, beside the shop's."""
    has_promise = (
        (delivered["is_purchase"] == 1.0)
        & ~np.isnan(delivered["promise_days"])
        & ~np.isnan(delivered["promised_days"])
    )
    if not has_promise.any():
        return {"on_time_share": None, "promised_days_mean": None, "days_saved_equal_on_time": None}
    promise = delivered["promise_days"][has_promise]
    is_on_time = delivered["took_days"][has_promise] <= promise
    days_saved = delivered["promised_days"][has_promise] - promise
    return {
        "on_time_share": float(is_on_time.mean()),
        "promised_days_mean": float(promise.mean()),
        "days_saved_equal_on_time": float(days_saved.mean()),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else None


def _pit_band(part: pd.DataFrame, intervals: _Intervals) -> Row:
    """The 95 % interval of each of ``pit_deciles``."""
    present = part[part["pit_from"].notna()]
    if present.empty:
        return {"pit_deciles_low": None, "pit_deciles_high": None}
    weeks = present.groupby("week", observed=True)
    count = np.asarray(weeks.size(), dtype=np.float64)
    shares = []
    for _, week in weeks:
        start, end = week["pit_from"].to_numpy(), week["pit_to"].to_numpy()
        shares.append(pit_deciles(start, end))
    inside = count[:, None] * np.array(shares)
    if intervals.is_simulated:
        total = float(count.sum())
        bounds = [exact_interval(float(hits), total) for hits in inside.sum(axis=0)]
    else:
        bounds = [week_bootstrap(column, count, intervals.seed) for column in inside.T]
    low, high = [low for low, _ in bounds], [high for _, high in bounds]
    return {
        "pit_deciles_low": None if None in low else low,
        "pit_deciles_high": None if None in high else high,
    }


def _late_calibration(part: pd.DataFrame) -> Row:
    delivered = part[part["arrived"]]
    numbers = {
        name: delivered[name].to_numpy(dtype=np.float64)
        for name in ("is_late", "is_promise_open", "late_probability")
    }
    ranked = _is_ranked(numbers)
    is_late = numbers["is_late"][ranked] == 1.0
    error, slope = late_calibration(is_late, numbers["late_probability"][ranked])
    return {"late_ece": error, "late_slope": slope}


def _differences(
    replay: Replay, model: str, moments: list[tuple[str, NDArray[np.bool_]]], seed: int
) -> Iterator[Row]:
    """Mean of the model's score minus the other's on the same parcels: below 0 is better.

    Each has its interval over weeks.
    """
    has_arrived = replay.judged["arrived"].to_numpy()
    for other in replay.forecasts:
        if other == model:
            continue
        for moment, is_at_moment in moments:
            for metric in DIFFERENCE_METRICS:
                is_censored_too = metric == HEADLINE_METRIC
                rows = is_at_moment if is_censored_too else is_at_moment & has_arrived
                column = "error_days" if metric == "mae_days" else metric
                scores = replay.forecasts[model][column].abs()
                other_scores = replay.forecasts[other][column].abs()
                gap = (scores - other_scores)[rows]
                weeks = gap.groupby(replay.judged["week"][rows]).agg(["sum", "count"])
                sums = weeks["sum"].to_numpy(dtype=np.float64)
                counts = weeks["count"].to_numpy(dtype=np.float64)
                row: Row = {"model": model, "against": other, "moment": moment}
                row["metric"] = metric
                row["mean"] = _mean(gap.to_numpy(dtype=np.float64))
                row["low"], row["high"] = week_bootstrap(sums, counts, seed)
                yield row
