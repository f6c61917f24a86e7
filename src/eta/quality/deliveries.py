"""Deliveries before their order, and orders whose delivery was never reported."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, HOUR, hours_between, wall_clock
from eta.domain.vocabulary import Status
from eta.journey.categories import Categorical
from eta.journey.state import STATUSES, States
from eta.journey.timelines import Timelines
from eta.quality.findings import Finding, count_by_carrier

DELIVERED_BEFORE_ORDER, NEVER_DELIVERED = "delivered_before_order", "never_delivered"

#: A carrier has percentiles of its own from so many deliveries on.
MIN_DELIVERIES = 30
_LEVEL, _TIMES_OLDER = 0.95, 2.0
_LOST = STATUSES.index(Status.LOST)


def find_delivered_before_order(timelines: Timelines, states: States) -> Finding:
    """Arrivals before their order; a date alone, which is a midnight, only before its day."""
    arrived_at, ordered_at = states.arrived_at, states.ordered_at
    is_before = arrived_at < ordered_at
    is_same_day = _is_midnight(timelines, arrived_at) & (ordered_at < arrived_at + DAY)
    rows = np.flatnonzero(is_before & ~is_same_day)
    example = ""
    if len(rows):
        row = rows[0]
        example = f"{timelines.shipment_id[row]}: ordered {ordered_at[row]}Z, "
        example += f"arrived {arrived_at[row]}Z"
    total = int((~np.isnat(arrived_at)).sum())
    by_carrier = count_by_carrier(timelines, rows)
    return Finding(DELIVERED_BEFORE_ORDER, "deliveries", len(rows), total, by_carrier, example)


def _is_midnight(timelines: Timelines, at: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Which instants are 00:00 in UTC or at the destination."""
    zone = timelines.zone
    local = wall_clock(at, zone.codes, zone.names)
    midnights = [times == times.astype("datetime64[D]") for times in (at, local)]
    return midnights[0] | midnights[1]


def find_never_delivered(
    timelines: Timelines, states: States, known_through: np.datetime64
) -> Finding:
    """Orders twice as old as nearly all deliveries of their carrier took, and without an end."""
    hours = hours_between(states.ordered_at, states.arrived_at)
    limit = _TIMES_OLDER * _percentiles(timelines.texts["carrier"], hours)
    age = (known_through - states.ordered_at) / HOUR
    is_old = age > limit
    has_no_end = states.is_open & (states.status != _LOST)
    rows = np.flatnonzero(is_old & has_no_end)
    example = ""
    if len(rows):
        row = rows[0]
        example = f"{timelines.shipment_id[row]}: ordered {states.ordered_at[row]}Z, "
        example += f"open for {age[row] / 24.0:.0f} days"
    total, by_carrier = int(is_old.sum()), count_by_carrier(timelines, rows)
    return Finding(NEVER_DELIVERED, "old orders", len(rows), total, by_carrier, example)


def _percentiles(carrier: Categorical, hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 95th percentile of the carrier's deliveries, (N,); of all, if it has too few.

    Infinite if nothing was delivered.
    """
    is_delivered = hours >= 0.0
    if not is_delivered.any():
        return np.full(len(hours), np.inf)
    overall = np.quantile(hours[is_delivered], _LEVEL)
    by_code = np.full(len(carrier.names) + 1, overall)
    counts = np.bincount(carrier.codes[is_delivered] + 1, minlength=len(by_code))
    for code in np.flatnonzero(counts >= MIN_DELIVERIES):
        of_carrier = is_delivered & (carrier.codes + 1 == code)
        by_code[code] = np.quantile(hours[of_carrier], _LEVEL)
    return by_code[carrier.codes + 1]
