"""Scores of forecasts, one pure function each.

Curves are in hours, scores in days. Where a parcel has not arrived by the end of what is known, its time is censored:
``arrival_hours`` is infinite and ``limit_hours`` says how long it was seen to be open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from eta.curves import Curves

Floats = NDArray[np.floating]

HORIZON_HOURS = 60 * 24.0


def crps_days(curves: Curves, arrival_hours: Floats, limit_hours: Floats | float = HORIZON_HOURS) -> Floats:
    """Continuous ranked probability score, (N,): the exact integral over 0 to min(limit, 60 days) of (F(u) - 1{T <= u})^2.

    With ``limit_hours`` at the censoring time this is the score for all parcels, arrived or not; it stays proper
    because the limit does not depend on the forecast.

    Reference:
        Matheson and Winkler (1976); Gneiting and Raftery (2007), section 4.2; censoring as in Avati et al. (2020),
        "Countdown regression".
    """
    hours, cdf = curves.knots()
    arrival = np.asarray(arrival_hours, dtype=np.float64)
    limit = np.minimum(np.broadcast_to(np.asarray(limit_hours, dtype=np.float64), arrival.shape), HORIZON_HOURS)
    before = _integral_of_square(hours, cdf, np.zeros_like(arrival), np.minimum(arrival, limit))
    after = _integral_of_square(hours, cdf - 1.0, np.minimum(arrival, limit), limit, after_last=cdf[:, -1] - 1.0)
    return (before + after) / 24.0


def _integral_of_square(hours: Floats, values: Floats, start: Floats, end: Floats, after_last: Floats | None = None) -> Floats:
    """Integral from ``start`` to ``end`` of the square of the function that is linear between knots.

    Before the first knot the cdf is 0, after the last it stays as it is.
    """
    x0, x1 = hours[:, :-1], hours[:, 1:]
    y0, y1 = values[:, :-1], values[:, 1:]
    low, high = np.clip(start[:, None], x0, x1), np.clip(end[:, None], x0, x1)
    width = x1 - x0
    slope = np.divide(y1 - y0, width, out=np.zeros_like(width), where=width > 0)
    a, b = y0 + slope * (low - x0), y0 + slope * (high - x0)
    inside = ((a * a + a * b + b * b) / 3.0 * np.maximum(high - low, 0.0)).sum(axis=1)
    tail = np.maximum(end - np.maximum(start, hours[:, -1]), 0.0) * values[:, -1] ** 2
    head_value = 0.0 if after_last is None else 1.0
    head = np.maximum(np.minimum(end, hours[:, 0]) - start, 0.0) * head_value
    return inside + tail + head


def error_days(curves: Curves, arrival_hours: Floats) -> Floats:
    """Median of the curve minus what came true, (N,); a median beyond the curve's knots counts as the horizon."""
    return (np.minimum(curves.quantile(0.5), HORIZON_HOURS) - arrival_hours) / 24.0


def probability_integral_transform(curves: Curves, arrival_hours: Floats) -> Floats:
    """F(T), (N,): uniform if the forecast is calibrated (Dawid 1984)."""
    return curves.cdf_at(arrival_hours)


def is_covered(curves: Curves, arrival_hours: Floats, level: float) -> NDArray[np.bool_]:
    """Whether the arrival lies in the central range of probability ``level``, (N,)."""
    return (arrival_hours >= curves.quantile((1 - level) / 2)) & (arrival_hours <= curves.quantile((1 + level) / 2))


def ranking(is_late: NDArray[np.bool_], probability: Floats) -> tuple[float | None, float | None]:
    """Area under the ROC curve and average precision of P(late); None where all parcels are late or none is."""
    if len(is_late) == 0 or is_late.all() or not is_late.any():
        return None, None
    return float(roc_auc_score(is_late, probability)), float(average_precision_score(is_late, probability))
