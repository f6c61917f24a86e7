"""Which moments to learn from and to judge, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.domain.vocabulary import FACILITY_CODES, HANDOVER_CODES, EventCode
from eta.journey.features import Features, features, promise_starts
from eta.journey.place_effects import HabitHistory
from eta.journey.state import Moments, fold
from eta.journey.timelines import EVENT_CODES, Timelines

PURCHASE, HANDOVER = "purchase", "handover"
SCAN, SILENCE, NEAR_PROMISE = "scan", "silence", "near_promise"

#: Days after hand-over at which a parcel still open is judged.
DAYS_AFTER_HANDOVER = (1, 3, 7, 14, 21)
IN_FLIGHT = (HANDOVER, *(f"day_{days}" for days in DAYS_AFTER_HANDOVER))
MOMENTS = (PURCHASE, *IN_FLIGHT)

#: Days of silence at which a model also learns, each stretched or shrunk by up to a third from gap
#: to gap.
SILENT_DAYS = (1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 33.0, 47.0)

#: Days before the promised day at which a model that sees the promise also learns from parcels by
#: then expired.
DAYS_BEFORE_PROMISE = (30, 14, 7, 3, 0)

#: Parcels open for longer than this are expired: listed apart, no longer forecast.
EXPIRED_AFTER = np.timedelta64(60, "D")


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Features at M moments at which a parcel was open; ``kind`` names the moment."""

    moments: Moments
    #: A hash of the shipment's id.
    parcel: NDArray[np.uint64]
    kind: NDArray[np.object_]
    features: Features

    def __len__(self) -> int:
        return len(self.moments)

    def take(self, rows: NDArray[np.integer]) -> Snapshots:
        """Some of the snapshots."""
        return Snapshots(
            self.moments.take(rows), self.parcel[rows], self.kind[rows], self.features.take(rows)
        )


def snapshots_to_learn(
    timelines: Timelines, until: np.datetime64, *, near_promise: bool = False
) -> Snapshots:
    """The purchase, every scan, and moments of silence, before ``until`` (UTC).

    With ``near_promise`` also ``DAYS_BEFORE_PROMISE``, of parcels that were open then though
    expired: who orders further ahead than parcels expire is else never learned from when the
    promised day comes. These moments are chosen by the promise: for a model that sees it, alone.

    What a moment shows depends on scans received by then alone, so a model trained as of an earlier
    day takes the ``examples`` before that day and learns exactly what it would have learned on it.
    """
    owner = timelines.scans.owner()
    order = np.lexsort((timelines.event_hash, timelines.received_at, owner))
    owner, at, code = owner[order], timelines.received_at[order], timelines.event_code[order]
    kind = np.where(code == EVENT_CODES.index(EventCode.ORDER_CREATED), PURCHASE, SCAN).astype(
        object
    )
    next_at = np.full(len(at), np.datetime64("9999-01-01"), dtype=at.dtype)
    same = owner[1:] == owner[:-1]
    next_at[:-1][same] = at[1:][same]

    stretch = 2 / 3 + (timelines.event_hash[order] >> np.uint64(11)) / 2**53 * (2 / 3)
    silent_at = at[:, None] + (np.outer(stretch, SILENT_DAYS) * 86_400_000_000).astype(
        "timedelta64[us]"
    )
    scan, point = np.nonzero(silent_at < np.minimum(next_at, until)[:, None])
    told = at < until
    rows, times = (
        np.concatenate([owner[told], owner[scan]]),
        np.concatenate([at[told], silent_at[scan, point]]),
    )
    kinds = np.concatenate([kind[told], np.full(len(scan), SILENCE, dtype=object)])
    # Two scans told at once are one moment.
    order = np.lexsort((kinds != PURCHASE, times, rows))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(rows[order]) != 0) | (times[order][1:] != times[order][:-1])
    moments, kinds = Moments(rows[order][is_first], times[order][is_first]), kinds[order][is_first]
    if not near_promise:
        return _open_snapshots(timelines, moments, kinds)
    is_open, late = _is_open(timelines, moments), _moments_near_promise(timelines, until)
    both = Moments(
        np.concatenate([moments.row[is_open], late.row]),
        np.concatenate([moments.as_of[is_open], late.as_of]),
    )
    return _snapshots(
        timelines,
        both,
        np.concatenate([kinds[is_open], np.full(len(late), NEAR_PROMISE, dtype=object)]),
    )


def _moments_near_promise(timelines: Timelines, until: np.datetime64) -> Moments:
    """``DAYS_BEFORE_PROMISE``, before ``until``, of parcels that were open then though expired."""
    row = np.repeat(np.arange(len(timelines)), len(DAYS_BEFORE_PROMISE))
    moments = Moments(
        row, promise_starts(timelines, row) - np.tile(DAYS_BEFORE_PROMISE, len(timelines)) * DAY
    )
    # NaT, without a promise, is before nothing.
    moments = moments.take(moments.as_of < until)
    states = fold(timelines, moments)
    return moments.take(states.is_open & (moments.as_of - states.ordered_at > EXPIRED_AFTER))


def snapshots_to_judge(timelines: Timelines, start: np.datetime64, end: np.datetime64) -> Snapshots:
    """The standard moments (``MOMENTS``) with ``start <= as_of < end``."""
    purchased_at = timelines.first_told({EventCode.ORDER_CREATED})
    taken = timelines.first_told(HANDOVER_CODES)
    taken = np.where(np.isnat(taken), timelines.first_told(FACILITY_CODES), taken)
    times = [purchased_at, taken, *(taken + days * DAY for days in DAYS_AFTER_HANDOVER)]
    row = np.tile(np.arange(len(timelines)), len(times))
    as_of, kind = np.concatenate(times), np.repeat(np.array(MOMENTS, dtype=object), len(timelines))
    wanted = (as_of >= start) & (as_of < end)
    return _open_snapshots(timelines, Moments(row[wanted], as_of[wanted]), kind[wanted])


def snapshots_open_at(timelines: Timelines, as_of: np.datetime64, most: int) -> Snapshots:
    """Every parcel open at a moment; of more than ``most`` an even sample, the same parcels from day to day."""
    everything = Moments.all_at(timelines, as_of)
    open_at = everything.take(_is_open(timelines, everything))
    if len(open_at) > most:
        share = np.uint64(most / len(open_at) * 2**32)
        open_at = open_at.take(timelines.parcel[open_at.row] % np.uint64(2**32) < share)
    return _snapshots(timelines, open_at, np.full(len(open_at), "daily", dtype=object))


def _open_snapshots(timelines: Timelines, moments: Moments, kind: NDArray[np.object_]) -> Snapshots:
    is_open = _is_open(timelines, moments)
    return _snapshots(timelines, moments.take(is_open), kind[is_open])


def _is_open(timelines: Timelines, moments: Moments) -> NDArray[np.bool_]:
    """Whether the parcel was open, and not for so long that it is expired."""
    states = fold(timelines, moments)
    return states.is_open & (moments.as_of - states.ordered_at <= EXPIRED_AFTER)


def _snapshots(timelines: Timelines, moments: Moments, kind: NDArray[np.object_]) -> Snapshots:
    return Snapshots(
        moments,
        timelines.parcel[moments.row],
        kind,
        features(timelines, moments, HabitHistory.of_all(timelines)),
    )
