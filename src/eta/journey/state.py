"""What is known about a shipment at a moment: a fold over the scans received by then, and over nothing else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eta.domain.vocabulary import (
    ARRIVAL_CODES,
    EXCEPTION_CODES,
    FACILITY_CODES,
    FINAL_CODES,
    GIVEN_UP_CODES,
    HANDOVER_CODES,
    PHASE_OF,
    STATUS_OF,
    EventCode,
    Phase,
    Status,
)
from eta.journey.segments import NOWHERE, Segments, pick_times
from eta.journey.timeline import EVENT_CODES, Timelines

Code = TypeVar("Code", np.int8, np.int16)

STATUSES = tuple(Status)
PHASES = tuple(Phase)

_LEAVES_AS_IS = -1
_STATUS = np.array([STATUSES.index(STATUS_OF[code]) if code in STATUS_OF else _LEAVES_AS_IS for code in EVENT_CODES], dtype=np.int8)
_PHASE = np.array([PHASES.index(PHASE_OF[code]) if code in PHASE_OF else _LEAVES_AS_IS for code in EVENT_CODES], dtype=np.int8)


def _one_of(codes: Collection[EventCode]) -> NDArray[np.bool_]:
    return np.array([code in codes for code in EVENT_CODES])


_IS_HANDOVER, _IS_FACILITY, _IS_ARRIVAL = _one_of(HANDOVER_CODES), _one_of(FACILITY_CODES), _one_of(ARRIVAL_CODES)
_IS_FINAL, _IS_GIVEN_UP, _IS_EXCEPTION = _one_of(FINAL_CODES), _one_of(GIVEN_UP_CODES), _one_of(EXCEPTION_CODES)
_IS_APPROVAL, _IS_ORDER = _one_of({EventCode.ORDER_APPROVED}), _one_of({EventCode.ORDER_CREATED})


@dataclass(frozen=True, eq=False)
class Moments:
    """M questions "what was known about shipment ``row`` at ``as_of``?"; both (M,), instants in UTC."""

    row: NDArray[np.int64]
    as_of: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def all_at(cls, timelines: Timelines, as_of: np.datetime64) -> Moments:
        """Every shipment at one moment."""
        return cls(np.arange(len(timelines)), np.full(len(timelines), as_of, dtype="datetime64[us]"))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Moments:
        """Some of the moments."""
        return Moments(self.row[rows], self.as_of[rows])


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
    #: The first delivery attempt, else the delivery.
    arrived_at: NDArray[np.datetime64]
    #: Cancelled or returned before any arrival: none is to be waited for.
    given_up_at: NDArray[np.datetime64]
    scan_count: NDArray[np.int64]
    exception_count: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> States:
        """Some of the states."""
        return States(**{name: values[rows] for name, values in vars(self).items()})

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Anything was known about the shipment."""
        return self.scan_count > 0

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Known, and its arrival is still waited for."""
        return self.is_known & np.isnat(self.arrived_at) & np.isnat(self.given_up_at)


def fold(timelines: Timelines, moments: Moments) -> States:
    """The states (M,) of ``moments``: scans with ``received_at <= as_of`` and nothing else.

    Final statuses (delivered, returned, cancelled) stay whatever comes after them; any scan after ``lost`` that
    sets a status revives a shipment.
    """
    scan, known = _known_scans(timelines, moments)
    code, occurred = timelines.event_code[scan], timelines.occurred_at[scan]

    final = known.first_where(_IS_FINAL[code])
    status_row = np.where(final != NOWHERE, final, known.last_where(_STATUS[code] != _LEAVES_AS_IS))
    delivered = known.first_where(_IS_FINAL[code] & (_PHASE[code] != _LEAVES_AS_IS))
    phase_row = np.where(delivered != NOWHERE, delivered, known.last_where(_PHASE[code] != _LEAVES_AS_IS))
    last = known.last_where(np.ones(len(scan), dtype=bool))
    ordered, first = known.first_where(_IS_ORDER[code]), known.first_where(np.ones(len(scan), dtype=bool))
    arrival, given_up = known.first_where(_IS_ARRIVAL[code]), known.first_where(_IS_GIVEN_UP[code])
    handover, facility = known.first_where(_IS_HANDOVER[code]), known.first_where(_IS_FACILITY[code])
    return States(
        status=_pick_codes(_STATUS, code, status_row, STATUSES.index(Status.UNKNOWN)),
        phase=_pick_codes(_PHASE, code, phase_row, PHASES.index(Phase.ORDER_HANDLING)),
        ordered_at=pick_times(occurred, np.where(ordered != NOWHERE, ordered, first)),
        approved_at=pick_times(occurred, known.first_where(_IS_APPROVAL[code])),
        handed_over_at=pick_times(occurred, np.where(handover != NOWHERE, handover, facility)),
        last_scan_at=pick_times(occurred, last),
        last_code=_pick_codes(np.arange(len(EVENT_CODES), dtype=np.int16), code, last, -1),
        arrived_at=pick_times(occurred, np.where(arrival < given_up, arrival, NOWHERE)),
        given_up_at=pick_times(occurred, np.where(given_up < arrival, given_up, NOWHERE)),
        scan_count=known.counts,
        exception_count=known.total(_IS_EXCEPTION[code]),
    )


def _known_scans(timelines: Timelines, moments: Moments) -> tuple[NDArray[np.int64], Segments]:
    """Rows of the scans known at each moment, in order, and the run of rows that belongs to each moment."""
    every = Segments.of_counts(timelines.scans.counts[moments.row])
    owner = every.owner()
    scan = np.arange(every.starts[-1]) - every.starts[owner] + timelines.scans.starts[moments.row][owner]
    is_known = timelines.received_at[scan] <= moments.as_of[owner]
    return scan[is_known], Segments.of_counts(every.total(is_known))


def _pick_codes(table: NDArray[Code], code: NDArray[np.int16], rows: NDArray[np.int64], missing: int) -> NDArray[Code]:
    result = np.full(len(rows), missing, dtype=table.dtype)
    found = rows != NOWHERE
    result[found] = table[code[rows[found]]]
    return result
