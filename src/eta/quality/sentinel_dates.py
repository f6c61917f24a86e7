"""Dates that stand for a missing one: they recur, or lie where no parcel can."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.datasets.base import Dataset, shown_row
from eta.domain.vocabulary import ABANDONED_CODES
from eta.journey.state import States
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.quality.findings import Finding, count_by_carrier

SENTINEL_DATE = "sentinel_date"

#: One instant is implausibly frequent if so many scans of a code have it, which are this share of
#: them, and this many times what the most frequent instant of a day typically has. Where scans
#: share their instants every day, as dates alone do, the larger share holds.
_MIN_SCANS, _MIN_SHARE, _MIN_SHARE_OF_SHARED, _TIMES_TYPICAL = 20, 0.005, 0.05, 10.0
#: A promise lies between its order, less a day for zones, and so many days after it.
_MAX_PROMISE_DAYS = 1_100
#: No parcel of ours has a year outside of these.
_IMPLAUSIBLE_DATE = r"\b((?:0\d{3}|1\d{3}|2[1-9]\d{2}|[3-9]\d{3})-\d{2}-\d{2})"
#: Only the most frequent values are named.
_MAX_VALUES = 10


def find_sentinel_dates(
    dataset: Dataset, timelines: Timelines, states: States, known_through: np.datetime64
) -> Iterator[Finding]:
    """Recurring times of scans, impossible promises, and impossible dates in rejected rows."""
    is_received = timelines.counts_at(known_through)
    for code in np.unique(timelines.event_code[is_received]):
        if EVENT_CODES[code] not in ABANDONED_CODES:
            scans = np.flatnonzero(is_received & (timelines.event_code == code))
            yield from _find_recurring(timelines, scans, EVENT_CODES[code])
    yield from _find_impossible_promises(timelines, states)
    yield from _find_rejected(dataset, timelines)


def _find_recurring(timelines: Timelines, scans: NDArray[np.int64], code: str) -> Iterator[Finding]:
    """The instants that too many of the scans of a code share."""
    occurred_at, counts = np.unique(timelines.occurred_at[scans], return_counts=True)
    days = pd.Series(counts).groupby(occurred_at.astype("datetime64[D]")).max()
    typical = float(days.median())
    min_share = _MIN_SHARE if typical <= 1.0 else _MIN_SHARE_OF_SHARED
    needed = max(_MIN_SCANS, min_share * len(scans), _TIMES_TYPICAL * typical)
    for value in np.flatnonzero(counts >= needed)[:_MAX_VALUES]:
        owners = timelines.scans.owner()[scans[timelines.occurred_at[scans] == occurred_at[value]]]
        example = f"{timelines.shipment_id[owners[0]]}: {code} {occurred_at[value]}Z"
        by_carrier = count_by_carrier(timelines, owners)
        unit = f"{code} scans"
        yield Finding(SENTINEL_DATE, unit, len(owners), len(scans), by_carrier, example)


def _find_impossible_promises(timelines: Timelines, states: States) -> Iterator[Finding]:
    """Promises before their order, or years after it."""
    days = (timelines.promised_on - states.ordered_at.astype("datetime64[D]")) / DAY
    rows = np.flatnonzero((days < -1.0) | (days > _MAX_PROMISE_DAYS))
    if len(rows):
        row = rows[0]
        promised_on, ordered_at = timelines.promised_on[row], states.ordered_at[row]
        example = f"{timelines.shipment_id[row]}: ordered {ordered_at}Z, promised {promised_on}"
        total = int((~np.isnat(timelines.promised_on)).sum())
        by_carrier = count_by_carrier(timelines, rows)
        yield Finding(SENTINEL_DATE, "promises", len(rows), total, by_carrier, example)


def _find_rejected(dataset: Dataset, timelines: Timelines) -> Iterator[Finding]:
    """Impossible dates in rejected rows and values, the most frequent first."""
    content = dataset.quarantine["content"].astype("str")
    dates = content.str.extract(_IMPLAUSIBLE_DATE, expand=False).dropna()
    total = sum(rows.read for rows in dataset.rows.values())
    for value, count in dates.value_counts().head(_MAX_VALUES).items():
        texts = content[dates.index[dates.eq(str(value))]]
        # The rows of those that begin with the id of a shipment, as events do.
        ids = texts.str.split(",").str[0].to_numpy(dtype=object)
        position = np.searchsorted(timelines.shipment_id, ids)
        position = np.minimum(position, len(timelines) - 1)
        rows = position[timelines.shipment_id[position] == ids]
        by_carrier = count_by_carrier(timelines, rows)
        example, unit = shown_row(texts.iloc[0]), f"rows, with the date {value}"
        yield Finding(SENTINEL_DATE, unit, int(count), total, by_carrier, example)
