"""Reductions over consecutive runs of rows, empty runs included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Segments:
    """Runs ``starts[i]:starts[i + 1]`` of consecutive rows; ``starts`` has one entry more than there are runs."""

    starts: NDArray[np.int64]

    @classmethod
    def of_counts(cls, counts: NDArray[np.integer]) -> Segments:
        """Runs of the given lengths."""
        return cls(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))

    @property
    def counts(self) -> NDArray[np.int64]:
        """The length of each run."""
        return np.diff(self.starts)

    def owner(self) -> NDArray[np.int64]:
        """The run of each row."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)

    def total(self, values: NDArray[np.bool_] | NDArray[np.number]) -> NDArray[np.int64]:
        """The sum of whole numbers over each run."""
        return np.diff(np.concatenate([[0], np.cumsum(values, dtype=np.int64)])[self.starts])

    def first_where(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The first row of each run where ``mask`` holds, or ``NOWHERE``."""
        hits = np.append(np.flatnonzero(mask), NOWHERE)
        first = hits[np.searchsorted(hits, self.starts[:-1])]
        return np.where(first < self.starts[1:], first, NOWHERE)

    def last_where(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The last row of each run where ``mask`` holds, or ``NOWHERE``."""
        hits = np.concatenate([[-1], np.flatnonzero(mask)])
        last = hits[np.searchsorted(hits, self.starts[1:]) - 1]
        return np.where(last >= self.starts[:-1], last, NOWHERE)


def pick_times(values: NDArray[np.datetime64], rows: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """``values[rows]``, NaT at ``NOWHERE``."""
    found = rows != NOWHERE
    result = np.full(len(rows), np.datetime64("NaT"), dtype=values.dtype)
    result[found] = values[rows[found]]
    return result
