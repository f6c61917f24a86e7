"""Compares forecasts with the true distributions of simulated parcels, free of sampling noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from eta.curves import Curves
from eta.evaluation.backtest import Replay
from eta.evaluation.coverage import ALL, Row
from eta.evaluation.metrics import HORIZON_HOURS, Floats
from eta.evaluation.model_run import CurveSource
from eta.journey.state import PHASES, AsOfPairs
from eta.journey.timelines import Timelines

#: Curves compared at a time.
_BATCH_SIZE = 64

#: The two points of an interval at which the integral of any square of a straight line is exact
#: (Gauss and Legendre).
_NODES = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)


def crps_regret_days(forecast: Curves, truth: Curves) -> Floats:
    """The CRPS that forecast F loses on average if G is true, in days, (N,).

    It is the integral over 0 to 60 days of (F(u) - G(u))^2: E CRPS(F, T) - E CRPS(G, T) =
    integral (F - G)^2 for T drawn from G, so 0 is the best and only G reaches it. It is exact: both
    are linear between the knots of the two, and a jump has no width.

    Reference:
        Cramer's distance; Gneiting and Raftery (2007), section 4.2.
    """
    batches = np.array_split(np.arange(len(truth)), len(truth) // _BATCH_SIZE + 1)
    regret_hours = []
    for rows in batches:
        forecast_batch, truth_batch = forecast.take(rows), truth.take(rows)
        forecast_hours, _ = forecast_batch.knots()
        truth_hours, _ = truth_batch.knots()
        knots = np.concatenate([forecast_hours, truth_hours], axis=1)
        edges = np.sort(np.minimum(knots, HORIZON_HOURS), axis=1)
        ends = ((0.0, 0.0), (0.0, HORIZON_HOURS))
        edges = np.pad(edges, ((0, 0), (1, 1)), constant_values=ends)
        width = np.diff(edges, axis=1)
        squares = []
        for node in _NODES:
            at = edges[:, :-1] + node * width
            gap = forecast_batch.cdf_table(at) - truth_batch.cdf_table(at)
            squares.append(np.square(gap))
        mean_square = (squares[0] + squares[1]) / 2.0
        regret_hours.append((mean_square * width).sum(axis=1))
    return np.concatenate(regret_hours) / 24.0


def compare(forecast: Curves, truth: Curves, promise_hours: Floats) -> pd.DataFrame:
    """CRPS regret, bias of the median and P(late) of both, for each of N moments.

    A median beyond 60 days counts as 60 days. ``promise_hours`` leads to the end of the promised
    day; P(late) is NaN if there is none or it is past.
    """
    forecast_median = np.minimum(forecast.quantile(0.5), HORIZON_HOURS)
    true_median = np.minimum(truth.quantile(0.5), HORIZON_HOURS)
    is_judged = promise_hours > 0
    hours = np.where(is_judged, promise_hours, 0.0)
    table: dict[str, Floats] = {}
    table["crps_regret_days"] = crps_regret_days(forecast, truth)
    table["median_bias_days"] = (forecast_median - true_median) / 24.0
    table["late_predicted"] = np.where(is_judged, 1.0 - forecast.cdf_at(hours), np.nan)
    table["late_true"] = np.where(is_judged, 1.0 - truth.cdf_at(hours), np.nan)
    return pd.DataFrame(table)


def compare_with_oracle(
    replay: Replay, timelines: Timelines, sources: Mapping[str, CurveSource]
) -> list[Row]:
    """Every model against each of ``sources``, over the moments whose curves the replay stored.

    A row for all moments and one a phase. Means are weighted by the number of moments that each
    moment of the sample represents. ``late_brier_regret`` is the mean squared difference of the two
    P(late): what the forecast loses in Brier score on average.
    """
    # How many moments of its week and phase each moment of the sample represents.
    strata = replay.judged.groupby(["week", "phase"])["is_sampled"]
    weight = strata.transform("size") / strata.transform("sum")
    sample = replay.judged[replay.judged["is_sampled"]]
    shipment_id = sample["shipment_id"].to_numpy(dtype=object)
    timeline_row = np.searchsorted(timelines.shipment_id, shipment_id)
    moments = AsOfPairs(timeline_row, sample["as_of"].to_numpy())
    truths = {name: source(moments) for name, source in sources.items()}
    rows: list[Row] = []
    for model, forecasts in replay.forecasts.items():
        if "curve" not in forecasts:
            continue
        curves = forecasts.loc[sample.index, "curve"]
        compared = _compare_model(curves, truths, sample, weight)
        rows += [{"model": model, **row} for row in compared]
    return rows


def _compare_model(
    curves: pd.Series, truths: Mapping[str, Curves], sample: pd.DataFrame, weight: pd.Series
) -> Iterator[Row]:
    """Rows of one model, over the moments of the sample with a curve."""
    has_curve = np.flatnonzero(curves.notna())
    if not len(has_curve):
        return
    subset, forecast = sample.iloc[has_curve], _stacked(list(curves.iloc[has_curve]))
    promise_hours = subset["promise_hours"].to_numpy()
    subset_weight = weight[subset.index]
    phases = [str(name) for name in PHASES if subset["phase"].eq(name).any()]
    for name, truth in truths.items():
        gaps = compare(forecast, truth.take(has_curve), promise_hours).set_index(subset.index)
        for phase in (ALL, *phases):
            is_in_phase = subset["phase"].eq(phase) | (phase == ALL)
            figures = _figures(gaps[is_in_phase], subset_weight[is_in_phase])
            yield {"truth": name, "phase": phase, **figures}


def _figures(gaps: pd.DataFrame, weight: pd.Series) -> Row:
    regret, late_gap = gaps["crps_regret_days"], gaps["late_predicted"] - gaps["late_true"]
    # Of the weighted mean: the root of sum w^2 (x - mean)^2 / (sum w)^2.
    standard_error = None
    if len(regret) >= 2:
        mean = np.average(regret, weights=weight)
        squares = weight**2 * (regret - mean) ** 2
        standard_error = float(np.sqrt(squares.sum()) / weight.sum())
    figures: Row = {"n": len(gaps)}
    figures["crps_regret_days"] = _mean(regret, weight)
    figures["crps_regret_se_days"] = standard_error
    for name in ("median_bias_days", "late_predicted", "late_true"):
        figures[name] = _mean(gaps[name], weight)
    figures["late_brier_regret"] = _mean(late_gap**2, weight)
    return figures


def _stacked(curves: Sequence[Curves]) -> Curves:
    """One batch of curves; the last knot of those with few knots is repeated."""
    knots = [curve.knots() for curve in curves]
    width = max(hours.shape[1] for hours, _ in knots)
    padded_hours, padded_cdf = [], []
    for hours, cdf in knots:
        missing = ((0, 0), (0, width - hours.shape[1]))
        padded_hours.append(np.pad(hours, missing, mode="edge"))
        padded_cdf.append(np.pad(cdf, missing, mode="edge"))
    return Curves.from_knots(np.concatenate(padded_hours), np.concatenate(padded_cdf))


def _mean(values: pd.Series, weight: pd.Series) -> float | None:
    present = values.notna()
    if not present.any():
        return None
    return float(np.average(values[present], weights=weight[present]))
