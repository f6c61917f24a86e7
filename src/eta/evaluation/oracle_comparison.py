"""Compares forecasts with the law that simulated parcels were really drawn from, where no luck blurs the picture."""

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
    """The integral over 0 to 60 days of (F(u) - G(u))^2, in days, (N,): what F costs in CRPS on average if G is the law.

    E CRPS(F, T) - E CRPS(G, T) = integral (F - G)^2 for T drawn from G, so 0 is the best and no
    other forecast has it.
    Exact: both are linear between the knots of the two, and a jump has no width.

    Reference:
        Cramer's distance; Gneiting and Raftery (2007), section 4.2.
    """
    gaps = [
        _regret_hours(forecast.take(rows), truth.take(rows))
        for rows in np.array_split(np.arange(len(truth)), len(truth) // _BATCH_SIZE + 1)
    ]
    return np.concatenate(gaps) / 24.0


def _regret_hours(forecast: Curves, truth: Curves) -> Floats:
    edges = np.sort(
        np.minimum(np.concatenate([forecast.knots()[0], truth.knots()[0]], axis=1), HORIZON_HOURS),
        axis=1,
    )
    edges = np.pad(edges, ((0, 0), (1, 1)), constant_values=((0.0, 0.0), (0.0, HORIZON_HOURS)))
    width = np.diff(edges, axis=1)
    inside = [edges[:, :-1] + node * width for node in _NODES]
    squares = [np.square(forecast.cdf_table(at) - truth.cdf_table(at)) for at in inside]
    return ((squares[0] + squares[1]) / 2.0 * width).sum(axis=1)


def compare(forecast: Curves, truth: Curves, promise_hours: Floats) -> pd.DataFrame:
    """For each of N moments: the CRPS regret, how much later the forecast's median is than the law's, and P(late) of both.

    A median beyond 60 days counts as 60 days. ``promise_hours`` leads to the end of the promised
    day; P(late) is NaN where there is none or it is past.
    """
    medians = [np.minimum(curves.quantile(0.5), HORIZON_HOURS) for curves in (forecast, truth)]
    hours = np.where(promise_hours > 0, promise_hours, np.nan)
    late = [
        np.where(np.isnan(hours), np.nan, 1.0 - curves.cdf_at(np.nan_to_num(hours)))
        for curves in (forecast, truth)
    ]
    return pd.DataFrame(
        {
            "crps_regret_days": crps_regret_days(forecast, truth),
            "median_bias_days": (medians[0] - medians[1]) / 24.0,
            "late_predicted": late[0],
            "late_true": late[1],
        }
    )


def compare_with_oracle(
    replay: Replay, timelines: Timelines, sources: Mapping[str, CurveSource]
) -> list[Row]:
    """Every model against each of ``sources``, over the moments of which the replay has kept the curves.

    A row for all moments and one a phase. Means are weighted with how many moments each one of the
    sample stands for. ``late_brier_regret`` is the mean of the squared gap of the two P(late): what
    the forecast costs in Brier score on average.
    """
    weight = _weight(replay.judged)
    sample = replay.judged[replay.judged["is_sampled"]]
    moments = AsOfPairs(
        np.searchsorted(timelines.shipment_id, sample["shipment_id"].to_numpy(dtype=object)),
        sample["as_of"].to_numpy(),
    )
    true = {name: source(moments) for name, source in sources.items()}
    rows: list[Row] = []
    for model, forecasts in replay.forecasts.items():
        sampled_curves = (
            forecasts.loc[sample.index, "curve"]
            if "curve" in forecasts
            else pd.Series(index=sample.index)
        )
        answered = np.flatnonzero(sampled_curves.notna())
        if len(answered):
            subset, forecast = sample.iloc[answered], _stacked(list(sampled_curves.iloc[answered]))
            for name, curves in true.items():
                gaps = compare(
                    forecast, curves.take(answered), subset["promise_hours"].to_numpy()
                ).set_index(subset.index)
                rows += [
                    {"model": model, "truth": name, **row}
                    for row in _by_phase(gaps, subset["phase"], weight[subset.index])
                ]
    return rows


def _by_phase(gaps: pd.DataFrame, phase: pd.Series, weight: pd.Series) -> Iterator[Row]:
    for name in (ALL, *(str(name) for name in PHASES if phase.eq(name).any())):
        wanted = phase.eq(name) | (name == ALL)
        part, share = gaps[wanted], weight[wanted]
        yield {
            "phase": name,
            "n": len(part),
            "crps_regret_days": _mean(part["crps_regret_days"], share),
            "crps_regret_se_days": _standard_error(part["crps_regret_days"], share),
            "median_bias_days": _mean(part["median_bias_days"], share),
            "late_predicted": _mean(part["late_predicted"], share),
            "late_true": _mean(part["late_true"], share),
            "late_brier_regret": _mean((part["late_predicted"] - part["late_true"]) ** 2, share),
        }


def _weight(judged: pd.DataFrame) -> pd.Series:
    """How many moments of its week and phase each one of the sample stands for."""
    strata = judged.groupby(["week", "phase"])["is_sampled"]
    return strata.transform("size") / strata.transform("sum")


def _stacked(curves: Sequence[Curves]) -> Curves:
    """One batch of curves, the last knot of those with few knots repeated."""
    knots = [curve.knots() for curve in curves]
    width = max(hours.shape[1] for hours, _ in knots)
    return Curves.from_knots(
        *(
            np.concatenate(
                [
                    np.pad(pair[part], ((0, 0), (0, width - pair[part].shape[1])), mode="edge")
                    for pair in knots
                ]
            )
            for part in (0, 1)
        )
    )


def _mean(values: pd.Series, weight: pd.Series) -> float | None:
    present = values.notna()
    return float(np.average(values[present], weights=weight[present])) if present.any() else None


def _standard_error(values: pd.Series, weight: pd.Series) -> float | None:
    """Of the weighted mean: the root of sum w^2 (x - mean)^2 / (sum w)^2."""
    if len(values) < 2:
        return None
    mean = np.average(values, weights=weight)
    return float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())
