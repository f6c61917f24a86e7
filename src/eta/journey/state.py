"""The state of a shipment as of a moment: a fold over the scans received by then, and no others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.vocabulary import (
    ABANDONED_CODES,
    ARRIVAL_CODES,
    DELIVERY_CODES,
    EXCEPTION_CODES,
    FACILITY_CODES,
    FAILED_DELIVERY_CODES,
    FINAL_CODES,
    HANDOVER_CODES,
    PHASE_OF,
    STATUS_OF,
    EventCode,
    Phase,
    Status,
)
from eta.journey.categories import Categorical
from eta.journey.timelines import EVENT_CODES, Scans, Timelines

STATUSES = tuple(Status)
PHASES = tuple(Phase)

_UNCHANGED = -1
_UNKNOWN, _AT_SHOP = STATUSES.index(Status.UNKNOWN), PHASES.index(Phase.ORDER_HANDLING)


class _Role(IntEnum):
    """What a scan can mean for the fold, one bit each."""

    ORDER = 1
    APPROVAL = 2
    HANDOVER = 4
    FACILITY = 8
    ARRIVAL = 16
    ABANDONED = 32
    FINAL = 64
    EXCEPTION = 128
    OUT_FOR_DELIVERY = 256
    FAILED_DELIVERY = 512
    DELIVERY = 1024


class _Time(IntEnum):
    """Rows of the times that ``_fold`` returns."""

    ORDERED = 0
    APPROVED = auto()
    HANDED_OVER = auto()
    LAST_SCAN = auto()
    ARRIVED = auto()
    DELIVERED = auto()
    ABANDONED = auto()


_CODES_OF_ROLE: Mapping[_Role, Collection[EventCode]] = {
    _Role.ORDER: {EventCode.ORDER_CREATED},
    _Role.APPROVAL: {EventCode.ORDER_APPROVED},
    _Role.HANDOVER: HANDOVER_CODES,
    _Role.FACILITY: FACILITY_CODES,
    _Role.ARRIVAL: ARRIVAL_CODES,
    _Role.ABANDONED: ABANDONED_CODES,
    _Role.FINAL: FINAL_CODES,
    _Role.EXCEPTION: EXCEPTION_CODES,
    _Role.OUT_FOR_DELIVERY: {EventCode.OUT_FOR_DELIVERY},
    _Role.FAILED_DELIVERY: FAILED_DELIVERY_CODES,
    _Role.DELIVERY: DELIVERY_CODES,
}


def _positions(table: Mapping[EventCode, Any], values: Sequence[Any]) -> NDArray[np.int8]:
    """For each event code the position of its value in ``values``, or ``_UNCHANGED``."""
    positions = [values.index(table[code]) if code in table else _UNCHANGED for code in EVENT_CODES]
    return np.array(positions, dtype=np.int8)


#: The roles of each event code, added up.
_ROLES = np.array(
    [sum(role for role, codes in _CODES_OF_ROLE.items() if code in codes) for code in EVENT_CODES],
    dtype=np.int64,
)
_STATUS, _PHASE = _positions(STATUS_OF, STATUSES), _positions(PHASE_OF, PHASES)
_INSTANT = np.dtype("datetime64[us]")
_NAT = np.iinfo(np.int64).min
_DAY = 86_400_000_000
#: The fields of ``States`` that hold the times, in the order of ``_Time``.
_TIME_FIELDS = tuple(f"{time.name.lower()}_at" for time in _Time)
_TIME_COUNT = len(_Time)


@dataclass(frozen=True, eq=False)
class AsOfPairs:
    """M pairs of a shipment and a moment; both (M,), instants in UTC.

    Each asks for what had been received about shipment ``row`` at ``as_of``.
    """

    row: NDArray[np.int64]
    as_of: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def all_at(cls, timelines: Timelines, as_of: np.datetime64) -> AsOfPairs:
        """Every shipment at one moment."""
        count = len(timelines)
        return cls(np.arange(count), np.full(count, as_of, dtype=_INSTANT))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> AsOfPairs:
        """Some of the pairs."""
        return AsOfPairs(self.row[rows], self.as_of[rows])


@dataclass(frozen=True, eq=False)
class States:
    """The states, (M,) each, of M pairs; a time is NaT if nothing was received about it.

    ``status`` and ``phase`` are positions in ``STATUSES`` and ``PHASES``.
    """

    status: NDArray[np.int8]
    phase: NDArray[np.int8]
    #: The order itself, else the first scan of all.
    ordered_at: NDArray[np.datetime64]
    approved_at: NDArray[np.datetime64]
    #: The carrier has the parcel.
    handed_over_at: NDArray[np.datetime64]
    last_scan_at: NDArray[np.datetime64]
    #: Position of the last scan's code in ``EVENT_CODES``, or -1.
    last_code: NDArray[np.int16]
    #: The place of the last scan that has one, and the position of that scan's code, or -1.
    place: Categorical
    place_code: NDArray[np.int16]
    #: The first delivery attempt, else the delivery.
    arrived_at: NDArray[np.datetime64]
    #: Delivered or collected; later than ``arrived_at`` if the first attempt failed.
    delivered_at: NDArray[np.datetime64]
    #: Cancelled or returned before any arrival, so none is to come.
    abandoned_at: NDArray[np.datetime64]
    scan_count: NDArray[np.int64]
    exception_count: NDArray[np.int64]
    #: It has scans, and has neither arrived nor been abandoned.
    is_open: NDArray[np.bool_]
    #: Delivery was attempted, and it has been neither delivered since, nor returned or cancelled.
    is_undelivered: NDArray[np.bool_]

    def take(self, rows: NDArray[np.integer]) -> States:
        """Some of the states."""
        return States(**{name: values.take(rows) for name, values in vars(self).items()})


class _Folded(NamedTuple):
    """What ``_fold`` returns, (M,) each; ``times`` is (7, M), in microseconds."""

    status: NDArray[np.int8]
    phase: NDArray[np.int8]
    last_code: NDArray[np.int16]
    place: NDArray[np.int32]
    place_code: NDArray[np.int16]
    scan_count: NDArray[np.int64]
    exception_count: NDArray[np.int64]
    times: NDArray[np.int64]
    is_open: NDArray[np.bool_]
    is_undelivered: NDArray[np.bool_]


class _FirstScans(NamedTuple):
    """The first scans of one shipment, by role; -1 for none."""

    of_all: int
    order: int
    approval: int
    handover: int
    facility: int
    out_for_delivery: int
    #: At most one of the two: the first arrival if the parcel was not abandoned before it.
    arrival: int
    abandoned: int
    #: At most one of the two: the delivery, or the end without one, also after an attempt.
    delivered: int
    ended: int


_NO_SCANS = _FirstScans(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1)


def fold(timelines: Scans, pairs: AsOfPairs) -> States:
    """The states (M,) of ``pairs``: scans with ``received_at <= as_of < superseded_at`` alone.

    Final statuses (delivered, returned, cancelled) stay whatever comes after them; any scan after
    ``lost`` that sets a status revives a shipment.
    """
    occurred = timelines.occurred_at.view(np.int64)
    received = timelines.received_at.view(np.int64)
    superseded = timelines.superseded_at.view(np.int64)
    as_of = pairs.as_of.view(np.int64)
    folded: _Folded = _fold(
        timelines.scans.starts,
        timelines.event_code,
        timelines.place.codes,
        occurred,
        received,
        superseded,
        pairs.row,
        as_of,
        _ROLES,
        _STATUS,
        _PHASE,
    )
    place_names = timelines.place.names
    times = dict(zip(_TIME_FIELDS, folded.times.view(_INSTANT), strict=True))
    return States(
        **times,
        status=folded.status,
        phase=folded.phase,
        last_code=folded.last_code,
        place=Categorical(folded.place, place_names),
        place_code=folded.place_code,
        scan_count=folded.scan_count,
        exception_count=folded.exception_count,
        is_open=folded.is_open,
        is_undelivered=folded.is_undelivered,
    )


@njit(cache=True)
def _fold(  # type: ignore[no-untyped-def]  # compiled
    starts,
    code,
    place,
    occurred,
    received,
    superseded,
    row,
    as_of,
    roles,
    sets_status,
    starts_phase,
):
    """The ``_Folded`` columns of M pairs ``row``, ``as_of``; times are microseconds."""
    count = len(row)
    status = np.full(count, _UNKNOWN, dtype=np.int8)
    phase = np.full(count, _AT_SHOP, dtype=np.int8)
    last_code = np.full(count, -1, dtype=np.int16)
    last_place = np.full(count, -1, dtype=np.int32)
    place_code = np.full(count, -1, dtype=np.int16)
    scan_count = np.zeros(count, dtype=np.int64)
    exception_count = np.zeros(count, dtype=np.int64)
    times = np.full((_TIME_COUNT, count), _NAT)
    is_open = np.zeros(count, dtype=np.bool_)
    is_undelivered = np.zeros(count, dtype=np.bool_)
    for i in range(count):
        firsts = _NO_SCANS
        last = -1
        has_final_status = has_final_phase = False
        for scan in range(starts[row[i]], starts[row[i] + 1]):
            if received[scan] > as_of[i] or superseded[scan] <= as_of[i]:
                continue
            last = scan
            kind = code[scan]
            bits = roles[kind]
            is_final = (bits & _Role.FINAL) != 0
            if sets_status[kind] != _UNCHANGED and not has_final_status:
                status[i] = sets_status[kind]
                has_final_status = is_final
            if starts_phase[kind] != _UNCHANGED and not has_final_phase:
                phase[i] = starts_phase[kind]
                has_final_phase = is_final
            if place[scan] >= 0:
                last_place[i] = place[scan]
                place_code[i] = kind
            scan_count[i] += 1
            exception_count[i] += (bits & _Role.EXCEPTION) != 0
            firsts = _add_scan(firsts, scan, bits, occurred)
        if last >= 0:
            last_code[i] = code[last]
            is_open[i] = firsts.arrival < 0 and firsts.abandoned < 0
            is_undelivered[i] = firsts.arrival >= 0 and firsts.delivered < 0 and firsts.ended < 0
            times[_Time.LAST_SCAN, i] = occurred[last]
        _set_times(times, i, occurred, firsts)
    return _Folded(
        status=status,
        phase=phase,
        last_code=last_code,
        place=last_place,
        place_code=place_code,
        scan_count=scan_count,
        exception_count=exception_count,
        times=times,
        is_open=is_open,
        is_undelivered=is_undelivered,
    )


@njit(cache=True)
def _add_scan(firsts, scan, bits, occurred):  # type: ignore[no-untyped-def]  # compiled
    """The first scans of a shipment after its next ``scan``, whose roles are ``bits``."""
    arrival, abandoned = firsts.arrival, firsts.abandoned
    delivered, ended = firsts.delivered, firsts.ended
    # After an arrival the parcel cannot be abandoned, and the other way round.
    if arrival < 0 and abandoned < 0:
        arrival = _attempt(firsts, scan, bits, occurred)
        abandoned = _first(abandoned, scan, bits, _Role.ABANDONED)
    if delivered < 0 and ended < 0:
        delivered = _first(delivered, scan, bits, _Role.DELIVERY)
        ended = _first(ended, scan, bits, _Role.ABANDONED)
    return _FirstScans(
        scan if firsts.of_all < 0 else firsts.of_all,
        _first(firsts.order, scan, bits, _Role.ORDER),
        _first(firsts.approval, scan, bits, _Role.APPROVAL),
        _first(firsts.handover, scan, bits, _Role.HANDOVER),
        _first(firsts.facility, scan, bits, _Role.FACILITY),
        _first(firsts.out_for_delivery, scan, bits, _Role.OUT_FOR_DELIVERY),
        arrival,
        abandoned,
        delivered,
        ended,
    )


@njit(cache=True)
def _first(earlier, scan, bits, role):  # type: ignore[no-untyped-def]  # compiled
    """The first scan with a role: an ``earlier`` one, else ``scan`` if it has it, else -1."""
    return scan if earlier < 0 and bits & role else earlier


@njit(cache=True)
def _attempt(firsts, scan, bits, occurred):  # type: ignore[no-untyped-def]  # compiled
    """The first delivery attempt of a shipment without one before ``scan``; -1 for none."""
    out = firsts.out_for_delivery
    if bits & _Role.ARRIVAL or (out >= 0 and bits & _Role.FAILED_DELIVERY):
        return scan
    # Who is sent out once more on a later day was not met on the first.
    if out >= 0 and bits & _Role.OUT_FOR_DELIVERY and occurred[scan] - occurred[out] > _DAY:
        return out
    return -1


@njit(cache=True)
def _set_times(times, i, occurred, firsts):  # type: ignore[no-untyped-def]  # compiled
    """Write when the first scans of shipment ``i`` occurred into ``times`` (7, M)."""
    order = firsts.order if firsts.order >= 0 else firsts.of_all
    handover = firsts.handover if firsts.handover >= 0 else firsts.facility
    if order >= 0:
        times[_Time.ORDERED, i] = occurred[order]
    if firsts.approval >= 0:
        times[_Time.APPROVED, i] = occurred[firsts.approval]
    if handover >= 0:
        times[_Time.HANDED_OVER, i] = occurred[handover]
    if firsts.arrival >= 0:
        times[_Time.ARRIVED, i] = occurred[firsts.arrival]
    if firsts.delivered >= 0:
        times[_Time.DELIVERED, i] = occurred[firsts.delivered]
    if firsts.abandoned >= 0:
        times[_Time.ABANDONED, i] = occurred[firsts.abandoned]
