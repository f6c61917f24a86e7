"""Which moments to learn from and to judge, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.domain.vocabulary import FACILITY_CODES, HANDOVER_CODES, EventCode
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import EVENT_CODES, Timelines, promise_starts

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
    """Features at M moments at which a parcel was open; ``moment`` names the moment."""

    pairs: AsOfPairs
    #: A hash of the shipment's id.
    parcel: NDArray[np.uint64]
    moment: NDArray[np.object_]
    states: States
    features: Features

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: NDArray[np.integer]) -> Snapshots:
        """Some of the snapshots."""
        return Snapshots(
            self.pairs.take(rows),
            self.parcel[rows],
            self.moment[rows],
            self.states.take(rows),
            self.features.take(rows),
        )


def training_snapshots(
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
    moment = np.where(code == EVENT_CODES.index(EventCode.ORDER_CREATED), PURCHASE, SCAN).astype(
        object
    )
    next_at = np.full(len(at), np.datetime64("9999-01-01"), dtype=at.dtype)
    same = owner[1:] == owner[:-1]
    next_at[:-1][same] = at[1:][same]

    scale = 2 / 3 + (timelines.event_hash[order] >> np.uint64(11)) / 2**53 * (2 / 3)
    silent_at = at[:, None] + (np.outer(scale, SILENT_DAYS) * 86_400_000_000).astype(
        "timedelta64[us]"
    )
    scan, point = np.nonzero(silent_at < np.minimum(next_at, until)[:, None])
    is_before = at < until
    rows, times = (
        np.concatenate([owner[is_before], owner[scan]]),
        np.concatenate([at[is_before], silent_at[scan, point]]),
    )
    moment_names = np.concatenate([moment[is_before], np.full(len(scan), SILENCE, dtype=object)])
    # Two scans told at once are one moment.
    order = np.lexsort((moment_names != PURCHASE, times, rows))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(rows[order]) != 0) | (times[order][1:] != times[order][:-1])
    pairs, moment_names = (
        AsOfPairs(rows[order][is_first], times[order][is_first]),
        moment_names[order][is_first],
    )
    if near_promise:
        late = _pairs_near_promise(timelines, until)
        pairs = AsOfPairs(
            np.concatenate([pairs.row, late.row]), np.concatenate([pairs.as_of, late.as_of])
        )
        late_names = np.full(len(late), NEAR_PROMISE, dtype=object)
        moment_names = np.concatenate([moment_names, late_names])
    return _open_snapshots(timelines, pairs, moment_names)


def _pairs_near_promise(timelines: Timelines, until: np.datetime64) -> AsOfPairs:
    """The moments ``DAYS_BEFORE_PROMISE`` that are before ``until``."""
    row = np.repeat(np.arange(len(timelines)), len(DAYS_BEFORE_PROMISE))
    pairs = AsOfPairs(
        row, promise_starts(timelines, row) - np.tile(DAYS_BEFORE_PROMISE, len(timelines)) * DAY
    )
    # NaT, without a promise, is before nothing.
    return pairs.take(pairs.as_of < until)


def evaluation_snapshots(
    timelines: Timelines, start: np.datetime64, end: np.datetime64
) -> Snapshots:
    """The standard moments (``MOMENTS``) with ``start <= as_of < end``."""
    purchased_at = timelines.first_received({EventCode.ORDER_CREATED})
    handed_over_at = timelines.first_received(HANDOVER_CODES)
    handed_over_at = np.where(
        np.isnat(handed_over_at), timelines.first_received(FACILITY_CODES), handed_over_at
    )
    times = [
        purchased_at,
        handed_over_at,
        *(handed_over_at + days * DAY for days in DAYS_AFTER_HANDOVER),
    ]
    row = np.tile(np.arange(len(timelines)), len(times))
    as_of, moment = (
        np.concatenate(times),
        np.repeat(np.array(MOMENTS, dtype=object), len(timelines)),
    )
    wanted = (as_of >= start) & (as_of < end)
    return _open_snapshots(timelines, AsOfPairs(row[wanted], as_of[wanted]), moment[wanted])


def snapshots_open_at(timelines: Timelines, as_of: np.datetime64, max_count: int) -> Snapshots:
    """Every parcel open at a moment; of more than ``max_count`` an even sample, the same parcels from day to day."""
    pairs = AsOfPairs.all_at(timelines, as_of)
    states = fold(timelines, pairs)
    rows = np.flatnonzero(states.is_open & ~_is_expired(pairs, states))
    if len(rows) > max_count:
        share = np.uint64(max_count / len(rows) * 2**32)
        rows = rows[timelines.parcel[pairs.row[rows]] % np.uint64(2**32) < share]
    moment = np.full(len(rows), "daily", dtype=object)
    return _snapshots(timelines, pairs.take(rows), moment, states.take(rows))


def _open_snapshots(
    timelines: Timelines, pairs: AsOfPairs, moment: NDArray[np.object_]
) -> Snapshots:
    """Those at which the parcel was open; near the promise only of parcels that had expired."""
    states = fold(timelines, pairs)
    is_wanted = _is_expired(pairs, states) == (moment == NEAR_PROMISE)
    rows = np.flatnonzero(states.is_open & is_wanted)
    return _snapshots(timelines, pairs.take(rows), moment[rows], states.take(rows))


def _is_expired(pairs: AsOfPairs, states: States) -> NDArray[np.bool_]:
    """Whether the parcel has been open for so long that it is no longer forecast."""
    return pairs.as_of - states.ordered_at > EXPIRED_AFTER


def _snapshots(
    timelines: Timelines, pairs: AsOfPairs, moment: NDArray[np.object_], states: States
) -> Snapshots:
    place_effects = PlaceEffectHistory.from_timelines(timelines)
    return Snapshots(
        pairs,
        timelines.parcel[pairs.row],
        moment,
        states,
        features(timelines, pairs, place_effects, states),
    )
