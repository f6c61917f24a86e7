"""Scores of forecasts, one pure function each.

Curves are in hours, scores in days. If a parcel has not arrived by the end of the data, its time is
censored: ``arrival_hours`` is infinite and ``limit_hours`` is how long it was observed to be open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eta.curves import Curves

Floats = NDArray[np.floating]
HORIZON_HOURS = 60 * 24.0
PINBALL_LEVELS = (0.5, 0.8, 0.9, 0.95)

#: A range of probability this short is a point, but for rounding.
_POINT = 1e-9


def crps_days(
    curves: Curves, arrival_hours: Floats, limit_hours: Floats | float = HORIZON_HOURS
) -> Floats:
    """Continuous ranked probability score, (N,).

    It is the exact integral over 0 to min(limit, 60 days) of (F(u) - 1{T <= u})^2. With
    ``limit_hours`` at the censoring time this is the score for all parcels, arrived or not; it
    stays proper because the limit does not depend on the forecast.

    Reference:
        Matheson and Winkler (1976); Gneiting and Raftery (2007), section 4.2; censoring as in Avati
        et al. (2020), "Countdown regression".
    """
    hours, cdf = curves.knots()
    arrival = np.asarray(arrival_hours, dtype=np.float64)
    limits = np.asarray(limit_hours, dtype=np.float64)
    limit = np.minimum(np.broadcast_to(limits, arrival.shape), HORIZON_HOURS)
    start, end_before = np.zeros_like(arrival), np.minimum(arrival, limit)
    before = _integral_of_square(hours, cdf, start, end_before, square_before_first=0.0)
    after = _integral_of_square(hours, cdf - 1.0, end_before, limit, square_before_first=1.0)
    return (before + after) / 24.0


def _integral_of_square(
    hours: Floats, values: Floats, start: Floats, end: Floats, *, square_before_first: float
) -> Floats:
    """Integral from ``start`` to ``end`` of the square of a function that is linear between knots.

    After the last knot the function is constant.
    """
    x0, x1 = hours[:, :-1], hours[:, 1:]
    y0, y1 = values[:, :-1], values[:, 1:]
    low = np.clip(start[:, None], x0, x1)
    high = np.clip(end[:, None], x0, x1)
    width, rise = x1 - x0, y1 - y0
    slope = np.divide(rise, width, out=np.zeros_like(width), where=width > 0)
    a = y0 + slope * (low - x0)
    b = y0 + slope * (high - x0)
    mean_square = (a * a + a * b + b * b) / 3.0
    inside_hours = np.maximum(high - low, 0.0)
    inside = (mean_square * inside_hours).sum(axis=1)
    tail_start = np.maximum(start, hours[:, -1])
    tail_hours = np.maximum(end - tail_start, 0.0)
    tail = tail_hours * values[:, -1] ** 2
    head_end = np.minimum(end, hours[:, 0])
    head_hours = np.maximum(head_end - start, 0.0)
    return inside + tail + head_hours * square_before_first


def error_days(curves: Curves, arrival_hours: Floats) -> Floats:
    """Median minus arrival, (N,); a median beyond the curve's knots counts as the horizon."""
    return (np.minimum(curves.quantile(0.5), HORIZON_HOURS) - arrival_hours) / 24.0


def pinball_days(curves: Curves, arrival_hours: Floats, level: float) -> Floats:
    """Pinball loss of the quantile q at ``level``, (N,).

    It is level (T - q) if T >= q, else (1 - level) (q - T). A quantile beyond 60 days counts as 60
    days. At level 1/2 it is half of the absolute error.

    Reference:
        Koenker and Bassett (1978).
    """
    quantile = np.minimum(curves.quantile(level), HORIZON_HOURS)
    late = np.asarray(arrival_hours, dtype=np.float64) - quantile
    return np.maximum(level * late, (level - 1.0) * late) / 24.0


def probability_integral_transform(
    curves: Curves, arrival_hours: Floats, limit_hours: Floats
) -> tuple[Floats, Floats]:
    """The range of 0..1 over which each parcel's F(T) is spread, from and to, (N,) each.

    Over all parcels it is uniform if the forecast is calibrated. If a parcel has arrived, it is the
    point F(T), or the whole jump if the curve jumps at T. If not, it is F(C) to 1, with C =
    ``limit_hours``, because T > C.

    Reference:
        Dawid (1984); jumps as in Czado, Gneiting and Held (2009); censoring as in Haider et al.
        (2020), D-calibration. The spread makes a test err on the safe side where much is censored
        (Simonsen and Waagepetersen 2025).
    """
    arrival = np.asarray(arrival_hours, dtype=np.float64)
    limit = np.asarray(limit_hours, dtype=np.float64)
    has_arrived = np.isfinite(arrival)
    reached = curves.cdf_at(np.where(has_arrived, arrival, limit))
    # P(T < at), (N,): the lower value at a jump.
    at = np.where(has_arrived, arrival, 0.0)
    hours, cdf = curves.knots()
    after = (hours < at[:, None]).sum(axis=1)
    row = np.arange(len(hours))
    left = np.maximum(after - 1, 0)
    right = np.minimum(after, hours.shape[1] - 1)
    left_hours, left_cdf = hours[row, left], cdf[row, left]
    width = hours[row, right] - left_hours
    share = np.divide(at - left_hours, width, out=np.zeros_like(at), where=width > 0)
    before_jump = np.where(after == 0, 0.0, left_cdf + share * (cdf[row, right] - left_cdf))
    start = np.where(has_arrived, before_jump, reached)
    end = np.where(has_arrived, reached, 1.0)
    return start, end


def share_within(start: Floats, end: Floats, low: float, high: float) -> Floats:
    """The share, (N,), of each range ``start`` to ``end`` that lies within ``low`` to ``high``.

    It is 0 or 1 for a point, ends included.
    """
    width = end - start
    is_point = ~(width > _POINT)
    inside_end, inside_start = np.minimum(end, high), np.maximum(start, low)
    overlap = np.clip(inside_end - inside_start, 0.0, None)
    share = np.divide(overlap, width, out=np.zeros_like(width), where=~is_point)
    within = np.where(is_point, (start >= low) & (end <= high), share)
    return np.where(np.isnan(width), np.nan, within)


def pit_deciles(start: Floats, end: Floats) -> Floats:
    """The share of all parcels in each tenth of 0..1, (10,): 0.1 each if calibrated.

    Ranges count in part.
    """
    is_point = end - start <= _POINT
    tenth_or_end = (start[is_point] * 10.0).astype(np.int64)
    point_tenth = np.minimum(tenth_or_end, 9)
    counts = np.bincount(point_tenth, minlength=10).astype(np.float64)
    low, high = start[~is_point, None], end[~is_point, None]
    tenth = np.arange(10) / 10.0
    overlap = np.minimum(high, tenth + 0.1) - np.maximum(low, tenth)
    share = np.clip(overlap, 0.0, None) / (high - low)
    counts += share.sum(axis=0)
    return counts / max(len(start), 1)


def is_covered(curves: Curves, arrival_hours: Floats, level: float) -> NDArray[np.bool_]:
    """Whether the arrival lies in the central range of probability ``level``, (N,)."""
    low, high = curves.quantile((1 - level) / 2), curves.quantile((1 + level) / 2)
    return (arrival_hours >= low) & (arrival_hours <= high)


def ranking(is_late: NDArray[np.bool_], probability: Floats) -> tuple[float | None, float | None]:
    """Area under the ROC curve and average precision of P(late).

    None if all parcels are late or none is.
    """
    if len(is_late) == 0 or is_late.all() or not is_late.any():
        return None, None
    # For small segments, scikit-learn would spend most of its time on validating arguments.
    from sklearn import config_context  # slow to import, and unused by the service
    from sklearn.metrics import average_precision_score, roc_auc_score

    with config_context(assume_finite=True, skip_parameter_validation=True):
        auc = roc_auc_score(is_late, probability)
        precision = average_precision_score(is_late, probability)
    return float(auc), float(precision)


def late_calibration(
    is_late: NDArray[np.bool_], probability: Floats, *, bins: int = 10
) -> tuple[float | None, float | None]:
    """Expected calibration error of P(late), and the calibration slope.

    Both are None if all parcels are late or none is. The error is sum over bins of n_b / n
    |mean P_b - share late_b|, with bins of about as many parcels each; parcels with the same P
    share a bin. Chance alone makes it positive. The slope is b in logit P(late) = a + b logit(P),
    by maximum likelihood: 1 if P is right, below 1 if P is overconfident. It is None if P is the
    same for all or separates late parcels perfectly. P of 0 and 1 count as 0.0001 and 0.9999.

    Reference:
        Naeini, Cooper and Hauskrecht (2015), with bins of equal mass as in Nixon et al. (2019); Cox
        (1958).
    """
    if len(is_late) == 0 or is_late.all() or not is_late.any():
        return None, None
    edges = np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    number = np.searchsorted(edges, probability, side="left")
    gaps = np.bincount(number, weights=probability - is_late)
    error = float(np.abs(gaps).sum() / len(is_late))
    return error, _logistic_slope(is_late, probability)


def _logistic_slope(is_late: NDArray[np.bool_], probability: Floats) -> float | None:
    """The slope on logit(P), by Newton's steps."""
    clipped = np.clip(probability, 1e-4, 1.0 - 1e-4)
    logit = np.log(clipped / (1.0 - clipped))
    if np.ptp(logit) < 1e-9:
        return None
    columns = np.column_stack([np.ones_like(logit), logit - logit.mean()])
    rate = is_late.mean()
    weights = np.array([np.log(rate / (1.0 - rate)), 0.0])
    for _ in range(50):
        score = np.clip(columns @ weights, -30.0, 30.0)
        fitted = 1.0 / (1.0 + np.exp(-score))
        residual = is_late - fitted
        if np.abs(residual).max() < 1e-4:
            return None
        variance = fitted * (1.0 - fitted)
        information = (columns * variance[:, None]).T @ columns
        step = np.linalg.lstsq(information, columns.T @ residual, rcond=None)[0]
        weights = weights + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            return float(weights[1])
    return None
