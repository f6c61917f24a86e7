"""What is known about a shipment at a moment: a fold over the scans received by then, and over nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.vocabulary import (
    ABANDONED_CODES,
    ARRIVAL_CODES,
    EXCEPTION_CODES,
    FACILITY_CODES,
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
_STATUS = np.array(
    [STATUSES.index(STATUS_OF[code]) if code in STATUS_OF else _UNCHANGED for code in EVENT_CODES],
    dtype=np.int8,
)
_PHASE = np.array(
    [PHASES.index(PHASE_OF[code]) if code in PHASE_OF else _UNCHANGED for code in EVENT_CODES],
    dtype=np.int8,
)
_UNKNOWN, _AT_SHOP = STATUSES.index(Status.UNKNOWN), PHASES.index(Phase.ORDER_HANDLING)

#: What a scan can be, one bit each.
_ORDER, _APPROVAL, _HANDOVER, _FACILITY, _ARRIVAL, _ABANDONED, _FINAL, _EXCEPTION = (
    1 << bit for bit in range(8)
)


def _roles() -> NDArray[np.int64]:
    """The roles of each event code, added up."""
    members: dict[int, Collection[EventCode]] = {
        _ORDER: {EventCode.ORDER_CREATED},
        _APPROVAL: {EventCode.ORDER_APPROVED},
        _HANDOVER: HANDOVER_CODES,
        _FACILITY: FACILITY_CODES,
        _ARRIVAL: ARRIVAL_CODES,
        _ABANDONED: ABANDONED_CODES,
        _FINAL: FINAL_CODES,
        _EXCEPTION: EXCEPTION_CODES,
    }
    return np.array(
        [sum(role for role, codes in members.items() if code in codes) for code in EVENT_CODES],
        dtype=np.int64,
    )


_ROLES = _roles()
_INSTANT = np.dtype("datetime64[us]")
_NAT = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class AsOfPairs:
    """M questions "what was known about shipment ``row`` at ``as_of``?"; both (M,), instants in UTC."""

    row: NDArray[np.int64]
    as_of: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def all_at(cls, timelines: Timelines, as_of: np.datetime64) -> AsOfPairs:
        """Every shipment at one moment."""
        return cls(np.arange(len(timelines)), np.full(len(timelines), as_of, dtype=_INSTANT))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> AsOfPairs:
        """Some of the moments."""
        return AsOfPairs(self.row[rows], self.as_of[rows])


@dataclass(frozen=True, eq=False)
class States:
    """The states, (M,) each, of M moments; times are NaT where nothing was known.

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
    #: Where the parcel was when that was last told, and the position of the code it was told with,
    #: or -1.
    place: Categorical
    place_code: NDArray[np.int16]
    #: The first delivery attempt, else the delivery.
    arrived_at: NDArray[np.datetime64]
    #: Cancelled or returned before any arrival: none is to be waited for.
    abandoned_at: NDArray[np.datetime64]
    scan_count: NDArray[np.int64]
    exception_count: NDArray[np.int64]
    #: Known, and its arrival is still waited for.
    is_open: NDArray[np.bool_]

    def take(self, rows: NDArray[np.integer]) -> States:
        """Some of the states."""
        return States(**{name: values.take(rows) for name, values in vars(self).items()})

    @property
    def has_scans(self) -> NDArray[np.bool_]:
        """Anything was known about the shipment."""
        return self.scan_count > 0


def fold(timelines: Scans, pairs: AsOfPairs) -> States:
    """The states (M,) of ``pairs``: scans with ``received_at <= as_of`` and nothing else.

    Final statuses (delivered, returned, cancelled) stay whatever comes after them; any scan after
    ``lost`` that sets a status revives a shipment.
    """
    status, phase, last_code, place, place_code, counts, times, is_open = _fold(
        timelines.scans.starts,
        timelines.event_code,
        timelines.place.codes,
        timelines.occurred_at.view(np.int64),
        timelines.received_at.view(np.int64),
        pairs.row,
        pairs.as_of.view(np.int64),
        _ROLES,
        _STATUS,
        _PHASE,
    )
    ordered_at, approved_at, handed_over_at, last_scan_at, arrived_at, abandoned_at = times.view(
        _INSTANT
    )
    return States(
        status=status,
        phase=phase,
        ordered_at=ordered_at,
        approved_at=approved_at,
        handed_over_at=handed_over_at,
        last_scan_at=last_scan_at,
        last_code=last_code,
        place=Categorical(place, timelines.place.names),
        place_code=place_code,
        arrived_at=arrived_at,
        abandoned_at=abandoned_at,
        scan_count=counts[0],
        exception_count=counts[1],
        is_open=is_open,
    )


@njit(cache=True)
def _fold(starts, code, place, occurred, received, row, as_of, roles, sets_status, starts_phase):  # type: ignore[no-untyped-def]  # compiled
    """Status, phase, last code, last place and its code (M,), counts (2, M) of scans and exceptions, times (6, M) in microseconds, and is open (M,)."""
    status, phase = (
        np.full(len(row), _UNKNOWN, dtype=np.int8),
        np.full(len(row), _AT_SHOP, dtype=np.int8),
    )
    last_code, last_place, place_code = (
        np.full(len(row), -1, dtype=np.int16),
        np.full(len(row), -1, dtype=np.int32),
        np.full(len(row), -1, dtype=np.int16),
    )
    counts, times = np.zeros((2, len(row)), dtype=np.int64), np.full((6, len(row)), _NAT)
    is_open = np.zeros(len(row), dtype=np.bool_)
    for i in range(len(row)):
        first = ordered = approved = handed_over = at_facility = arrived = abandoned = last = -1
        has_final_status = has_final_phase = False
        for scan in range(starts[row[i]], starts[row[i] + 1]):
            if received[scan] > as_of[i]:
                continue
            last, kind, role_bits = scan, code[scan], roles[code[scan]]
            if place[scan] >= 0:
                last_place[i], place_code[i] = place[scan], code[scan]
            counts[0, i] += 1
            counts[1, i] += (role_bits & _EXCEPTION) != 0
            if sets_status[kind] != _UNCHANGED and not has_final_status:
                status[i], has_final_status = sets_status[kind], (role_bits & _FINAL) != 0
            if starts_phase[kind] != _UNCHANGED and not has_final_phase:
                phase[i], has_final_phase = starts_phase[kind], (role_bits & _FINAL) != 0
            first = scan if first < 0 else first
            ordered = scan if ordered < 0 and role_bits & _ORDER else ordered
            approved = scan if approved < 0 and role_bits & _APPROVAL else approved
            handed_over = scan if handed_over < 0 and role_bits & _HANDOVER else handed_over
            at_facility = scan if at_facility < 0 and role_bits & _FACILITY else at_facility
            # An arrival after the parcel was given up is none, and the other way round.
            if arrived < 0 and abandoned < 0:
                arrived, abandoned = (
                    scan if role_bits & _ARRIVAL else -1,
                    scan if role_bits & _ABANDONED else -1,
                )
        if last >= 0:
            last_code[i], is_open[i] = code[last], arrived < 0 and abandoned < 0
        ordered, handed_over = (
            ordered if ordered >= 0 else first,
            handed_over if handed_over >= 0 else at_facility,
        )
        for n, scan in enumerate((ordered, approved, handed_over, last, arrived, abandoned)):
            if scan >= 0:
                times[n, i] = occurred[scan]
    return status, phase, last_code, last_place, place_code, counts, times, is_open
