"""Carriers whose clock seems to be off: all kinds of their scans are shifted alike by hours.

The hours of the day of each kind of scan are compared between carriers, as circular distributions.
A carrier that delivers late has late deliveries only; one whose clock is wrong has also its
pick-ups and its hub's nights shifted, by the same hours. A carrier of which only deliveries and
pick-ups are known, and which does both later than others, cannot be told from one with a wrong
clock. Two carriers that differ do not say which of them is off, so three are needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import HOUR, wall_clock
from eta.domain.vocabulary import PHASE_OF, EventCode
from eta.journey.state import PHASES
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.quality.findings import Finding

CLOCK_SHIFTED = "clock_shifted"

#: The smallest shift that is named.
MIN_SHIFT_HOURS = 2
#: Scans of a code that a carrier must have, and carriers compared (those with the most scans).
MIN_SCANS = 100
MAX_CARRIERS = 40
#: So many kinds of scans, of so many phases, must say so of two carriers, and none deny it.
_MIN_CODES, _MIN_PHASES = 2, 2
#: Affinity of two distributions (1 if equal): at the best shift, and how much it gains by it.
_MIN_AFFINITY, _MIN_GAIN = 0.85, 0.05
_HOURS = 24
#: The shop's own times say nothing about the carrier's clock.
_SHOP_CODES = {
    EventCode.ORDER_CREATED,
    EventCode.ORDER_APPROVED,
    EventCode.ORDER_PACKED,
    EventCode.LABEL_CREATED,
    EventCode.INFO,
    EventCode.CANCELLED,
}
_PHASE = np.array([PHASES.index(PHASE_OF[c]) if c in PHASE_OF else -1 for c in EVENT_CODES])
_IS_COMPARED = np.array([code in PHASE_OF and code not in _SHOP_CODES for code in EVENT_CODES])


def find_clock_shifts(timelines: Timelines, known_through: np.datetime64) -> Iterator[Finding]:
    """The carriers, fewer than half of them, that are shifted against most of the others."""
    counts = _hour_counts(timelines, known_through)
    totals = counts.sum(axis=(1, 2))
    carriers = np.argsort(-totals, kind="stable")[:MAX_CARRIERS]
    shifts = _pairwise_shifts(counts[carriers])
    names = timelines.texts["carrier"].names
    comparable = np.isfinite(shifts).sum(axis=1)
    is_shifted = np.abs(np.nan_to_num(shifts)) >= MIN_SHIFT_HOURS
    is_off = (comparable >= 2) & (is_shifted.sum(axis=1) > comparable / 2.0)
    if is_off.sum() * 2 >= (comparable > 0).sum():
        return
    for number in np.flatnonzero(is_off):
        hours = int(np.median(shifts[number][is_shifted[number]]))
        name, total = str(names[carriers[number]]), int(totals[carriers[number]])
        example = f"{name}: hours of the day are {hours:+d} h against other carriers'"
        yield Finding(CLOCK_SHIFTED, "scans", total, int(totals.sum()), {name: total}, example)


def _hour_counts(timelines: Timelines, known_through: np.datetime64) -> NDArray[np.float64]:
    """Scans by carrier, code and local hour at the destination, (carriers, codes, 24)."""
    scans = _compared_scans(timelines, known_through)
    rows = timelines.scans.owner()[scans]
    zone, carrier = timelines.zone, timelines.texts["carrier"]
    local = wall_clock(timelines.occurred_at[scans], zone.codes[rows], zone.names)
    hour = (local - local.astype("datetime64[D]")) // HOUR
    shape = (len(carrier.names), len(EVENT_CODES), _HOURS)
    index = (carrier.codes[rows], timelines.event_code[scans], hour.astype(np.int64))
    flat = np.ravel_multi_index(index, shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _compared_scans(timelines: Timelines, known_through: np.datetime64) -> NDArray[np.int64]:
    """The rows of scans by carriers, of parcels with a carrier that stay within a country."""
    ends = [timelines.texts[name].texts() for name in ("origin_country", "destination_country")]
    is_wanted = (timelines.texts["carrier"].codes >= 0) & (ends[0] == ends[1])
    is_compared = _IS_COMPARED[timelines.event_code] & timelines.counts_at(known_through)
    return np.flatnonzero(is_wanted[timelines.scans.owner()] & is_compared)


def _pairwise_shifts(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how many hours each carrier is later than each other one, (C, C); NaN if unknown."""
    totals = counts.sum(axis=2)
    roots = np.sqrt(counts / np.maximum(totals, 1.0)[:, :, None])
    is_usable = totals >= MIN_SCANS
    shifts = np.full((len(counts), len(counts)), np.nan)
    for one in range(len(counts)):
        for other in range(one):
            codes = np.flatnonzero(is_usable[one] & is_usable[other])
            shift = _shift(roots[one, codes], roots[other, codes], _PHASE[codes])
            shifts[one, other], shifts[other, one] = shift, -shift
    return shifts


def _shift(
    one: NDArray[np.float64], other: NDArray[np.float64], phase: NDArray[np.integer]
) -> float:
    """The hours by which all kinds of scans, (K, 24), are later; 0 if they differ otherwise."""
    if len(one) < _MIN_CODES:
        return np.nan
    # The affinity (Bhattacharyya coefficient) of each kind at each shift, (24, K).
    affinity = np.array([(np.roll(one, -hours, axis=1) * other).sum(1) for hours in range(_HOURS)])
    best = int(affinity.mean(axis=1).argmax())
    hours = (best + _HOURS // 2) % _HOURS - _HOURS // 2
    gain = affinity[best] - affinity[0]
    agrees = (affinity[best] >= _MIN_AFFINITY) & (gain >= _MIN_GAIN)
    is_against = gain <= -_MIN_GAIN
    is_alike = agrees.sum() >= _MIN_CODES and len(set(phase[agrees])) >= _MIN_PHASES
    return float(hours) if is_alike and not is_against.any() else 0.0
