"""Runs of consecutive rows, empty runs included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
