"""Whether ranges hold what they say, in each segment on its own: coverage with an interval, and the list of ranges that do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eta.evaluation.confidence_intervals import CONFIDENCE, exact_interval, week_bootstrap

Row = dict[str, Any]

#: Fewer delivered parcels do not show whether a range holds: of independent ones, and of those of
#: so many weeks.
MIN_INDEPENDENT_PARCELS = 500
MIN_PARCELS, MIN_WEEKS = 100, 8
#: The whole of a moment, and the segment that has one state of the network and so no interval.
ALL, WEEK = "all", "week"


@dataclass(frozen=True)
class Range:
    """A range that is shown, by the end of its figures' names, and the probability it is meant to have."""

    name: str
    level: float
    #: Whole days only widen a range: dates fail if they cover less, never if they cover more.
    may_cover_more: bool = False


RANGES = (Range("80", 0.8), Range("90", 0.9), Range("dates_80", 0.8, may_cover_more=True))


@dataclass(frozen=True, eq=False)
class SegmentParcels:
    """The parcels of one segment at one moment, with the columns ``parcel``, ``arrived``, ``week`` and, for each range, ``held_<range>``.

    ``held`` is the share of a parcel that a range covers: 0 or 1 once it has arrived; while it has
    not, the probability the forecast gave to the range, given that the parcel is still open.
    """

    segment: str
    value: str
    parcels: pd.DataFrame


def judge(parts: Sequence[SegmentParcels], *, is_simulated: bool, seed: int = 0) -> list[Row]:
    """For each part, all of one model and one moment, the coverage of each range, its interval, and whether the range holds.

    ``coverage_censored_<range>`` is the mean of ``held`` over all parcels. ``low_<range>`` to
    ``high_<range>`` is its interval: of 95 % by weeks, or exact binomial on simulated parcels,
    there so wide that all intervals of right ranges hold together with 95 % (Bonferroni).
    ``holds_<range>`` says whether the level lies in the interval; dates may also cover more. It is
    None where fewer than 500 simulated parcels were delivered, or 100 in 8 weeks; for a segment
    that is all of the moment, which is judged as a whole; and for a week: all of its parcels meet
    the same weather and the same crowded hubs, so that they are one observation and not many.
    """
    whole = next((len(part.parcels) for part in parts if part.segment == ALL), None)
    judged = [
        part.segment != WEEK
        and (part.segment == ALL or len(part.parcels) != whole)
        and _is_enough(part.parcels, is_simulated)
        for part in parts
    ]
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(len(RANGES) * sum(judged), 1)
    rows = []
    for part, is_judged in zip(parts, judged, strict=True):
        row: Row = {}
        for nominal in RANGES:
            held = part.parcels[f"held_{nominal.name}"]
            low, high = (
                (None, None)
                if part.segment == WEEK
                else _interval(part.parcels, held, is_simulated, confidence, seed)
            )
            holds = (
                None
                if low is None or high is None or not is_judged
                else high >= nominal.level and (nominal.may_cover_more or low <= nominal.level)
            )
            coverage = None if held.isna().all() else float(held.mean())
            row |= {
                f"coverage_censored_{nominal.name}": coverage,
                f"low_{nominal.name}": low,
                f"high_{nominal.name}": high,
                f"holds_{nominal.name}": holds,
            }
        rows.append(row)
    return rows


def failing(rows: Iterable[Row]) -> list[Row]:
    """The ranges that do not hold, the one furthest off first, from rows with the figures of ``judge``."""
    failures = [
        {
            "model": row["model"],
            "moment": row["moment"],
            "segment": row.get("segment", ALL),
            "value": row.get("value", ALL),
            "n": row["n"],
            "n_censored": row["n_censored"],
            "range": nominal.name,
            "level": nominal.level,
            "coverage": row[f"coverage_censored_{nominal.name}"],
            "low": row[f"low_{nominal.name}"],
            "high": row[f"high_{nominal.name}"],
        }
        for row in rows
        for nominal in RANGES
        if row[f"holds_{nominal.name}"] is False
    ]
    return sorted(failures, key=lambda entry: -abs(entry["coverage"] - entry["level"]))


def _is_enough(parcels: pd.DataFrame, is_simulated: bool) -> bool:
    arrived = parcels["arrived"]
    if is_simulated:
        return bool(arrived.sum() >= MIN_INDEPENDENT_PARCELS)
    return bool(
        arrived.sum() >= MIN_PARCELS and parcels.loc[arrived, "week"].nunique() >= MIN_WEEKS
    )


def _interval(
    parcels: pd.DataFrame, held: pd.Series, is_simulated: bool, confidence: float, seed: int
) -> tuple[float | None, float | None]:
    present = held.dropna()
    if present.empty:
        return None, None
    if is_simulated:
        count = len(present) / _design_effect(present, parcels.loc[present.index, "parcel"])
        return exact_interval(float(present.mean()) * count, count, confidence=confidence)
    weeks = present.groupby(parcels.loc[present.index, "week"], observed=True).agg(["sum", "count"])
    return week_bootstrap(
        weeks["sum"].to_numpy(dtype=np.float64), weeks["count"].to_numpy(dtype=np.float64), seed
    )


def _design_effect(held: pd.Series, parcel: pd.Series) -> float:
    """How many moments count as one because parcels are in ``held`` at several: 1 if none is.

    sum over parcels of (sum of r)^2 / sum of r^2, with r the deviations from the mean. Dividing the
    count by it before the exact interval is taken is Korn and Graubard (1998).
    """
    gap = held - held.mean()
    squares = float((gap**2).sum())
    by_parcel = gap.groupby(parcel).sum()
    return (
        max(float((by_parcel**2).sum()) / squares, 1.0)
        if squares > 0
        else len(held) / max(len(by_parcel), 1)
    )
