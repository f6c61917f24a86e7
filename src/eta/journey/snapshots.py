"""Snapshots: features of shipments at the moments of training and evaluation."""

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

#: Days after hand-over at which a parcel still open is evaluated.
DAYS_AFTER_HANDOVER = (1, 3, 7, 14, 21)
IN_FLIGHT = (HANDOVER, *(f"day_{days}" for days in DAYS_AFTER_HANDOVER))
MOMENTS = (PURCHASE, *IN_FLIGHT)

#: Days of silence at which a model is also trained, each stretched or shrunk by up to a third from
#: gap to gap.
SILENT_DAYS = (1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 33.0, 47.0)

#: Days before the promised day at which a model that sees the promise is also trained on parcels
#: that have expired by then.
DAYS_BEFORE_PROMISE = (30, 14, 7, 3, 0)

#: Parcels open for longer than this are expired: listed apart, no longer forecast.
EXPIRED_AFTER = np.timedelta64(60, "D")

_DAY_MICROSECONDS = 86_400_000_000
_NEVER = np.datetime64("9999-01-01")


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
            pairs=self.pairs.take(rows),
            parcel=self.parcel[rows],
            moment=self.moment[rows],
            states=self.states.take(rows),
            features=self.features.take(rows),
        )


@dataclass(frozen=True, eq=False)
class _Moments:
    """Pairs (M,) with the names of their moments."""

    pairs: AsOfPairs
    names: NDArray[np.object_]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> _Moments:
        return _Moments(self.pairs.take(rows), self.names[rows])

    def followed_by(self, other: _Moments) -> _Moments:
        """These moments, then those of the other."""
        row = np.concatenate([self.pairs.row, other.pairs.row])
        as_of = np.concatenate([self.pairs.as_of, other.pairs.as_of])
        names = np.concatenate([self.names, other.names])
        return _Moments(AsOfPairs(row, as_of), names)


def training_snapshots(
    timelines: Timelines, until: np.datetime64, *, near_promise: bool = False
) -> Snapshots:
    """The purchase, every scan, and moments of silence, before ``until`` (UTC).

    With ``near_promise`` also ``DAYS_BEFORE_PROMISE``, of parcels that were open then though
    expired. Otherwise orders placed further ahead than parcels expire would have no training
    examples near their promised day. These moments are chosen by the promise: they are only for a
    model that sees it.

    What a moment shows depends on scans received by then alone, so a model trained as of an earlier
    day takes the ``examples`` before that day and gets exactly those it would have had on it.
    """
    return _open_snapshots(
        timelines, _training_moments(timelines, until, near_promise=near_promise)
    )


def _training_moments(
    timelines: Timelines, until: np.datetime64, *, near_promise: bool
) -> _Moments:
    """The moments of training, also those at which a parcel was not open."""
    order = _receipt_order(timelines)
    silences = _silences(timelines, order, until)
    moments = _once(_scans(timelines, order, until).followed_by(silences))
    if near_promise:
        # The moments ``DAYS_BEFORE_PROMISE`` that are before ``until``.
        row = np.repeat(np.arange(len(timelines)), len(DAYS_BEFORE_PROMISE))
        days_before = np.tile(DAYS_BEFORE_PROMISE, len(timelines))
        pairs = AsOfPairs(row, promise_starts(timelines, row) - days_before * DAY)
        # Without a promise the time is NaT, which is before nothing.
        pairs = pairs.take(pairs.as_of < until)
        moments_near_promise = _Moments(pairs, np.full(len(pairs), NEAR_PROMISE, dtype=object))
        moments = moments.followed_by(moments_near_promise)
    return moments


def purchase_snapshots(timelines: Timelines, until: np.datetime64) -> Snapshots:
    """Those of the ``training_snapshots`` that are purchases."""
    scans = _scans(timelines, _receipt_order(timelines), until)
    return _open_snapshots(timelines, _once(scans.take(scans.names == PURCHASE)))


def _once(moments: _Moments) -> _Moments:
    """One of each instant of a shipment, in order; the purchase if it is among them."""
    row, as_of = moments.pairs.row, moments.pairs.as_of
    order = np.lexsort((moments.names != PURCHASE, as_of, row))
    is_first = np.ones(len(order), dtype=bool)
    row, as_of = row[order], as_of[order]
    is_later = as_of[1:] != as_of[:-1]
    is_first[1:] = (np.diff(row) != 0) | is_later
    return moments.take(order[is_first])


def _receipt_order(timelines: Timelines) -> NDArray[np.int64]:
    """The scans, (E,), by shipment and receipt."""
    owner = timelines.scans.owner()
    return np.lexsort((timelines.event_hash, timelines.received_at, owner))


def _scans(timelines: Timelines, order: NDArray[np.int64], until: np.datetime64) -> _Moments:
    """The receipts of scans before ``until``, by ``_receipt_order``."""
    owner = timelines.scans.owner()[order]
    received_at = timelines.received_at[order]
    is_order = timelines.event_code[order] == EVENT_CODES.index(EventCode.ORDER_CREATED)
    # An order that is received later is not known yet.
    is_purchase = is_order | _is_first_without_order(owner, is_order & (received_at < until))
    names = np.where(is_purchase, PURCHASE, SCAN).astype(object)
    scans = _Moments(AsOfPairs(owner, received_at), names)
    return scans.take(received_at < until)


def _silences(timelines: Timelines, order: NDArray[np.int64], until: np.datetime64) -> _Moments:
    """The moments of silence before ``until``, each before the next scan was received."""
    owner = timelines.scans.owner()[order]
    received_at = timelines.received_at[order]
    # When the next scan of the same shipment was received, (E,).
    next_received = np.full(len(received_at), _NEVER, dtype=received_at.dtype)
    has_next = owner[1:] == owner[:-1]
    next_received[:-1][has_next] = received_at[1:][has_next]
    silence_ends = np.minimum(next_received, until)
    # ``SILENT_DAYS`` after each scan, scaled by its hash to between 2/3 and 4/3.
    share = (timelines.event_hash[order] >> np.uint64(11)) / 2**53
    scale = 2 / 3 + share * (2 / 3)
    scans, times = [], []
    for days in SILENT_DAYS:
        microseconds = scale * days * _DAY_MICROSECONDS
        silent_at = received_at + microseconds.astype("timedelta64[us]")
        is_silent = silent_at < silence_ends
        scans.append(np.flatnonzero(is_silent))
        times.append(silent_at[is_silent])
    pairs = AsOfPairs(owner[np.concatenate(scans)], np.concatenate(times))
    return _Moments(pairs, np.full(len(pairs), SILENCE, dtype=object))


def _is_first_without_order(
    owner: NDArray[np.integer], is_order: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The first scan, (E,), of each shipment without an order: it stands in for the order.

    Scans are sorted by shipment, then by receipt.
    """
    is_first = np.ones(len(owner), dtype=bool)
    is_first[1:] = owner[1:] != owner[:-1]
    has_order = np.bincount(owner, weights=is_order) > 0
    return is_first & ~has_order[owner]


def evaluation_snapshots(
    timelines: Timelines, start: np.datetime64, end: np.datetime64
) -> Snapshots:
    """The standard moments (``MOMENTS``) with ``start <= as_of < end``."""
    purchased_at = timelines.purchase_received()
    handed_over_at = timelines.first_received(HANDOVER_CODES)
    first_facility_at = timelines.first_received(FACILITY_CODES)
    handed_over_at = np.where(np.isnat(handed_over_at), first_facility_at, handed_over_at)
    days_later = [handed_over_at + days * DAY for days in DAYS_AFTER_HANDOVER]
    as_of = np.concatenate([purchased_at, handed_over_at, *days_later])
    row = np.tile(np.arange(len(timelines)), len(MOMENTS))
    names = np.repeat(np.array(MOMENTS, dtype=object), len(timelines))
    is_in_period = (as_of >= start) & (as_of < end)
    moments = _Moments(AsOfPairs(row, as_of), names)
    return _open_snapshots(timelines, moments.take(is_in_period))


def snapshots_open_at(timelines: Timelines, as_of: np.datetime64, max_count: int) -> Snapshots:
    """Every parcel open at a moment; of more than ``max_count`` an even sample.

    The sample has the same parcels from day to day.
    """
    pairs = AsOfPairs.all_at(timelines, as_of)
    states = fold(timelines, pairs)
    rows = np.flatnonzero(states.is_open & ~_is_expired(pairs, states))
    if len(rows) > max_count:
        share = np.uint64(max_count / len(rows) * 2**32)
        parcel = timelines.parcel[pairs.row[rows]]
        rows = rows[parcel % np.uint64(2**32) < share]
    names = np.full(len(rows), "daily", dtype=object)
    moments = _Moments(pairs.take(rows), names)
    return _snapshots(timelines, moments, states.take(rows))


def _open_snapshots(timelines: Timelines, moments: _Moments) -> Snapshots:
    """Those at which the parcel was open; near the promise only those of expired parcels."""
    states = fold(timelines, moments.pairs)
    is_near_promise = moments.names == NEAR_PROMISE
    is_wanted = _is_expired(moments.pairs, states) == is_near_promise
    rows = np.flatnonzero(states.is_open & is_wanted)
    # The others are dropped before the features, which take the most memory.
    moments, states = moments.take(rows), states.take(rows)
    return _snapshots(timelines, moments, states)


def _is_expired(pairs: AsOfPairs, states: States) -> NDArray[np.bool_]:
    """Whether the parcel has been open for so long that it is no longer forecast."""
    return pairs.as_of - states.ordered_at > EXPIRED_AFTER


def _snapshots(timelines: Timelines, moments: _Moments, states: States) -> Snapshots:
    pairs = moments.pairs
    place_effects = PlaceEffectHistory.from_timelines(timelines)
    return Snapshots(
        pairs=pairs,
        parcel=timelines.parcel[pairs.row],
        moment=moments.names,
        states=states,
        features=features(timelines, pairs, place_effects, states),
    )
