"""Runs of consecutive rows, empty runs included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_ROW = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Segments:
    """N runs of consecutive rows, ``starts[i]:starts[i + 1]``; ``starts`` has N + 1 entries."""

    starts: NDArray[np.int64]

    @classmethod
    def from_counts(cls, counts: NDArray[np.integer]) -> Segments:
        """Runs of the given lengths."""
        starts = np.zeros(len(counts) + 1, dtype=np.int64)
        counts.cumsum(out=starts[1:])
        return cls(starts)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The length of each run."""
        return np.diff(self.starts)

    def owner(self) -> NDArray[np.int64]:
        """The run of each row."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)


def pick_times(values: NDArray[np.datetime64], rows: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """``values[rows]``, NaT at ``NO_ROW``."""
    has_row = rows != NO_ROW
    result = np.full(len(rows), np.datetime64("NaT"), dtype=values.dtype)
    result[has_row] = values[rows[has_row]]
    return result
