"""Which reports repeat a scan, and which of several readings of one scan counts.

Scans of a shipment with the same carrier's code, time and place are a group: readings of one scan
by different mappings of the carrier's code. All are kept, and one of them counts at a moment: of
those received by then the latest correction, else the one with the highest phase, then code. So the
order in which they were received does not matter, except that of corrections.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.domain.vocabulary import PHASE_OF, EventCode, Phase

#: In ``superseded_at``: it counts for ever.
NEVER = np.iinfo(np.int64).max
#: An odd number without pattern, 2**64 over the golden ratio.
_OWNER_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_PHASES = tuple(Phase)
#: The position of the phase that each event code starts, in the order of the codes; -1 for none.
_PHASE_RANK = np.array(
    [_PHASES.index(PHASE_OF[code]) if code in PHASE_OF else -1 for code in EventCode]
)


class ScanReports(NamedTuple):
    """Reports of scans, (E,) each."""

    #: Rows of the shipments.
    owner: NDArray[np.int64]
    #: A hash of the carrier's code, else of ours, of the time and of the place.
    group_hash: NDArray[np.uint64]
    #: Positions of the event codes in their order of declaration.
    code: NDArray[np.int64]
    #: Microseconds.
    received: NDArray[np.int64]
    #: 0 for a scan; 1 for its first correction, and so on.
    correction_number: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> ScanReports:
        """Some of the reports."""
        return ScanReports(*(column[rows] for column in self))

    def group_members(self) -> NDArray[np.intp]:
        """The rows of reports that may share their group with another one."""
        # Reports of one group have the same mixed number; so do very few others.
        mixed = self.group_hash ^ (self.owner.astype(np.uint64) * _OWNER_MULTIPLIER)
        in_order = np.sort(mixed)
        numbers = in_order[1:][in_order[1:] == in_order[:-1]]
        if not len(numbers):
            return np.empty(0, dtype=np.intp)
        position = np.minimum(np.searchsorted(numbers, mixed), len(numbers) - 1)
        return np.flatnonzero(numbers[position] == mixed)


def is_repeated(reports: ScanReports) -> NDArray[np.bool_]:
    """Which reports, (E,), repeat another one of their group that was received first.

    A correction repeats another one only if it was received at the same time.
    """
    number = reports.correction_number
    moment = np.where(number > 0, reports.received, 0)
    keys = (reports.owner, reports.group_hash, reports.code, number, moment)
    order = np.lexsort((reports.received, *reversed(keys)))
    is_same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        is_same &= key[order[1:]] == key[order[:-1]]
    result = np.zeros(len(order), dtype=bool)
    result[order[1:][is_same]] = True
    return result


def superseded_at(reports: ScanReports) -> NDArray[np.int64]:
    """When another reading of the same scan begins to count in place of each, (E,), or ``NEVER``.

    At or before its receipt, if it never counts. There must be no repetitions.
    """
    # The reading that counts, of those received, comes first.
    number = reports.correction_number
    correction = np.where(number > 0, -reports.received, NEVER)
    rank = _PHASE_RANK[reports.code]
    keys = (reports.owner, reports.group_hash, correction, -number, -rank, -reports.code)
    order = np.lexsort(tuple(reversed(keys)))
    result: NDArray[np.int64] = _superseded_at(
        order, reports.owner, reports.group_hash, reports.received
    )
    return result


@njit(cache=True)
def _superseded_at(order, owner, group_hash, received):  # type: ignore[no-untyped-def]  # compiled
    """As ``superseded_at``, of reports whose groups are together, the first readings first."""
    result = np.full(len(order), NEVER)
    earliest = NEVER
    for k in range(len(order)):
        row = order[k]
        last = order[k - 1]
        if k == 0 or owner[row] != owner[last] or group_hash[row] != group_hash[last]:
            earliest = NEVER
        result[row] = earliest
        earliest = min(earliest, received[row])
    return result
