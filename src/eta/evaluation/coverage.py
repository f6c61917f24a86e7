"""Coverage of ranges by segment, with intervals, and the list of ranges that do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eta.evaluation.confidence_intervals import CONFIDENCE, exact_interval, week_bootstrap

Row = dict[str, Any]

#: Delivered parcels needed to judge a range: independent ones, or those of so many weeks.
MIN_INDEPENDENT_PARCELS = 500
MIN_PARCELS, MIN_WEEKS = 100, 8
#: The whole of a moment, and the segment whose parcels share one state of the network.
ALL, WEEK = "all", "week"

#: What a failure has of its row; rows of whole moments have no segment and no value.
_FAILURE_KEYS = ("model", "moment", "segment", "value", "n", "n_censored")


@dataclass(frozen=True)
class Range:
    """A range, by the suffix of its figures' names, and its nominal probability."""

    name: str
    level: float
    #: Whole days only widen a range: dates fail if they cover less, not if they cover more.
    may_cover_more: bool = False


RANGES = (Range("80", 0.8), Range("90", 0.9), Range("dates_80", 0.8, may_cover_more=True))


@dataclass(frozen=True, eq=False)
class SegmentParcels:
    """The parcels of one segment at one moment.

    Columns: ``parcel``, ``arrived``, ``week`` and, for each range, ``held_<range>``. ``held`` is
    the share of a parcel that a range covers: 0 or 1 once it has arrived; until then the
    probability that the forecast gave to the range, given that the parcel is still open.
    """

    segment: str
    value: str
    parcels: pd.DataFrame


def judge(parts: Sequence[SegmentParcels], *, is_simulated: bool, seed: int = 0) -> list[Row]:
    """The coverage of each range in each part, its interval, and whether the range holds.

    All parts are of one model and one moment. ``coverage_censored_<range>`` is the mean of ``held``
    over all parcels. ``low_<range>`` to ``high_<range>`` is its interval: of 95 % by weeks, or
    exact binomial on simulated parcels, there so wide that all intervals of right ranges hold
    together with 95 % (Bonferroni). ``holds_<range>`` is whether the level lies in the interval;
    dates may also cover more.

    ``holds_<range>`` is None if fewer than 500 simulated parcels were delivered, or 100 in 8 weeks.
    It is None for a segment that is all of the moment, which is judged as a whole. It is None for a
    week, whose parcels meet the same weather and the same crowded hubs: they are one observation.
    """
    whole = next((len(part.parcels) for part in parts if part.segment == ALL), None)
    is_judged = [_is_judged(part, whole, is_simulated) for part in parts]
    comparisons = max(len(RANGES) * sum(is_judged), 1)
    method = _Method(is_simulated, 1.0 - (1.0 - CONFIDENCE) / comparisons, seed)
    return [
        _coverage_row(part, method, is_judged=is_part_judged)
        for part, is_part_judged in zip(parts, is_judged, strict=True)
    ]


class _Method(NamedTuple):
    """How intervals are computed: exactly with a confidence, else by weeks with a seed."""

    is_simulated: bool
    confidence: float
    seed: int


def _is_judged(part: SegmentParcels, whole: int | None, is_simulated: bool) -> bool:
    """Whether a part is judged by itself, and has enough delivered parcels for it."""
    is_whole_again = part.segment != ALL and len(part.parcels) == whole
    if part.segment == WEEK or is_whole_again:
        return False
    arrived = part.parcels["arrived"]
    count = arrived.sum()
    if is_simulated:
        return bool(count >= MIN_INDEPENDENT_PARCELS)
    weeks = part.parcels.loc[arrived, "week"].nunique()
    return bool(count >= MIN_PARCELS and weeks >= MIN_WEEKS)


def _coverage_row(part: SegmentParcels, method: _Method, *, is_judged: bool) -> Row:
    row: Row = {}
    for nominal in RANGES:
        held = part.parcels[f"held_{nominal.name}"]
        low, high = None, None
        if part.segment != WEEK:
            low, high = _interval(part.parcels, held, method)
        holds = None
        if low is not None and high is not None and is_judged:
            is_low_enough = nominal.may_cover_more or low <= nominal.level
            holds = high >= nominal.level and is_low_enough
        row[f"coverage_censored_{nominal.name}"] = None if held.isna().all() else float(held.mean())
        row[f"low_{nominal.name}"] = low
        row[f"high_{nominal.name}"] = high
        row[f"holds_{nominal.name}"] = holds
    return row


def failing(rows: Iterable[Row]) -> list[Row]:
    """The ranges that do not hold, the largest deviation first, from the rows of ``judge``."""
    failures: list[Row] = []
    for row in rows:
        for nominal in RANGES:
            name = nominal.name
            if row[f"holds_{name}"] is not False:
                continue
            failure = {key: row.get(key, ALL) for key in _FAILURE_KEYS}
            failure["range"] = name
            failure["level"] = nominal.level
            failure["coverage"] = row[f"coverage_censored_{name}"]
            failure["low"] = row[f"low_{name}"]
            failure["high"] = row[f"high_{name}"]
            failures.append(failure)
    return sorted(failures, key=lambda failure: -abs(failure["coverage"] - failure["level"]))


def _interval(
    parcels: pd.DataFrame, held: pd.Series, method: _Method
) -> tuple[float | None, float | None]:
    """The interval of the mean of ``held``.

    Before an exact interval is computed, the count is divided by the design effect, which is above
    1 if parcels are in ``held`` at several moments: Korn and Graubard (1998). It is sum over
    parcels of (sum of r)^2 / sum of r^2, with r the deviations from the mean.
    """
    present = held.dropna()
    if present.empty:
        return None, None
    if not method.is_simulated:
        week = parcels.loc[present.index, "week"]
        weeks = present.groupby(week, observed=True).agg(["sum", "count"])
        sums, counts = (weeks[name].to_numpy(dtype=np.float64) for name in ("sum", "count"))
        return week_bootstrap(sums, counts, method.seed)
    mean = present.mean()
    gap = present - mean
    squares = float((gap**2).sum())
    by_parcel = gap.groupby(parcels.loc[present.index, "parcel"]).sum()
    if squares > 0:
        squared_sums = float((by_parcel**2).sum())
        design_effect = max(squared_sums / squares, 1.0)
    else:
        design_effect = len(present) / max(len(by_parcel), 1)
    count = len(present) / design_effect
    return exact_interval(float(mean) * count, count, confidence=method.confidence)
