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
    gaps = [_regret_hours(forecast.take(rows), truth.take(rows)) for rows in batches]
    return np.concatenate(gaps) / 24.0


def _regret_hours(forecast: Curves, truth: Curves) -> Floats:
    """The same in hours."""
    forecast_hours, _ = forecast.knots()
    truth_hours, _ = truth.knots()
    knots = np.concatenate([forecast_hours, truth_hours], axis=1)
    edges = np.sort(np.minimum(knots, HORIZON_HOURS), axis=1)
    edges = np.pad(edges, ((0, 0), (1, 1)), constant_values=((0.0, 0.0), (0.0, HORIZON_HOURS)))
    width = np.diff(edges, axis=1)
    squares = []
    for node in _NODES:
        at = edges[:, :-1] + node * width
        squares.append(np.square(forecast.cdf_table(at) - truth.cdf_table(at)))
    mean_square = (squares[0] + squares[1]) / 2.0
    return (mean_square * width).sum(axis=1)


def compare(forecast: Curves, truth: Curves, promise_hours: Floats) -> pd.DataFrame:
    """CRPS regret, bias of the median and P(late) of both, for each of N moments.

    A median beyond 60 days counts as 60 days. ``promise_hours`` leads to the end of the promised
    day; P(late) is NaN if there is none or it is past.
    """
    bias_hours = _capped_median(forecast) - _capped_median(truth)
    return pd.DataFrame(
        {
            "crps_regret_days": crps_regret_days(forecast, truth),
            "median_bias_days": bias_hours / 24.0,
            "late_predicted": _late_probability(forecast, promise_hours),
            "late_true": _late_probability(truth, promise_hours),
        }
    )


def _capped_median(curves: Curves) -> Floats:
    return np.minimum(curves.quantile(0.5), HORIZON_HOURS)


def _late_probability(curves: Curves, promise_hours: Floats) -> Floats:
    hours = np.where(promise_hours > 0, promise_hours, np.nan)
    return np.where(np.isnan(hours), np.nan, 1.0 - curves.cdf_at(np.nan_to_num(hours)))


def compare_with_oracle(
    replay: Replay, timelines: Timelines, sources: Mapping[str, CurveSource]
) -> list[Row]:
    """Every model against each of ``sources``, over the moments whose curves the replay stored.

    A row for all moments and one a phase. Means are weighted by the number of moments that each
    moment of the sample represents. ``late_brier_regret`` is the mean squared difference of the two
    P(late): what the forecast loses in Brier score on average.
    """
    weight = _weight(replay.judged)
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
    for name, truth in truths.items():
        gaps = compare(forecast, truth.take(has_curve), promise_hours).set_index(subset.index)
        for row in _by_phase(gaps, subset["phase"], weight[subset.index]):
            yield {"truth": name, **row}


def _by_phase(gaps: pd.DataFrame, phase: pd.Series, weight: pd.Series) -> Iterator[Row]:
    present = [str(name) for name in PHASES if phase.eq(name).any()]
    for name in (ALL, *present):
        is_in_phase = phase.eq(name) | (name == ALL)
        yield {"phase": name, **_figures(gaps[is_in_phase], weight[is_in_phase])}


def _figures(gaps: pd.DataFrame, weight: pd.Series) -> Row:
    regret, late_gap = gaps["crps_regret_days"], gaps["late_predicted"] - gaps["late_true"]
    return {
        "n": len(gaps),
        "crps_regret_days": _mean(regret, weight),
        "crps_regret_se_days": _standard_error(regret, weight),
        "median_bias_days": _mean(gaps["median_bias_days"], weight),
        "late_predicted": _mean(gaps["late_predicted"], weight),
        "late_true": _mean(gaps["late_true"], weight),
        "late_brier_regret": _mean(late_gap**2, weight),
    }


def _weight(judged: pd.DataFrame) -> pd.Series:
    """How many moments of its week and phase each moment of the sample represents."""
    strata = judged.groupby(["week", "phase"])["is_sampled"]
    return strata.transform("size") / strata.transform("sum")


def _stacked(curves: Sequence[Curves]) -> Curves:
    """One batch of curves; the last knot of those with few knots is repeated."""
    knots = [curve.knots() for curve in curves]
    width = max(hours.shape[1] for hours, _ in knots)
    hours = np.concatenate([_padded(hours, width) for hours, _ in knots])
    cdf = np.concatenate([_padded(cdf, width) for _, cdf in knots])
    return Curves.from_knots(hours, cdf)


def _padded(values: Floats, width: int) -> Floats:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), mode="edge")


def _mean(values: pd.Series, weight: pd.Series) -> float | None:
    present = values.notna()
    if not present.any():
        return None
    return float(np.average(values[present], weights=weight[present]))


def _standard_error(values: pd.Series, weight: pd.Series) -> float | None:
    """Of the weighted mean: the root of sum w^2 (x - mean)^2 / (sum w)^2."""
    if len(values) < 2:
        return None
    mean = np.average(values, weights=weight)
    return float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())
