"""Training examples: snapshots with what became of their shipments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import hours_between
from eta.journey.features import Features
from eta.journey.snapshots import Snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines


@dataclass(frozen=True, eq=False)
class Outcomes:
    """When each shipment arrived, (N,), as known at ``known_through``; NaT if it has not, or was given up and never will."""

    known_through: np.datetime64
    arrived_at: NDArray[np.datetime64]

    @classmethod
    def at(cls, timelines: Timelines, known_through: np.datetime64) -> Outcomes:
        """The outcomes known at a moment."""
        return cls(
            known_through, fold(timelines, AsOfPairs.all_at(timelines, known_through)).arrived_at
        )


@dataclass(frozen=True, eq=False)
class Examples:
    """Snapshots with what had become of them by ``known_through``.

    ``duration_hours`` (M,) leads to the arrival where ``event_observed``, else to ``known_through``: such rows are
    censored, never dropped. So a parcel that is given up stays at risk for ever without arriving,
    and the law is that of being there at all, not of what would be if none were lost (the
    subdistribution hazard of Fine and Gray 1999).
    """

    features: Features
    moment: NDArray[np.object_]
    row: NDArray[np.int64]
    #: A hash of the shipment's id: which rows are of one parcel.
    parcel: NDArray[np.uint64]
    as_of: NDArray[np.datetime64]
    duration_hours: NDArray[np.float64]
    event_observed: NDArray[np.bool_]
    known_through: np.datetime64

    def __len__(self) -> int:
        return len(self.duration_hours)

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """Some of the examples."""
        return Examples(
            self.features.take(rows),
            self.moment[rows],
            self.row[rows],
            self.parcel[rows],
            self.as_of[rows],
            self.duration_hours[rows],
            self.event_observed[rows],
            self.known_through,
        )


def examples(snapshots: Snapshots, outcomes: Outcomes) -> Examples:
    """The snapshots taken before ``outcomes.known_through``, with the outcomes known by then."""
    past = snapshots.take(np.flatnonzero(snapshots.pairs.as_of < outcomes.known_through))
    row, as_of = past.pairs.row, past.pairs.as_of
    arrived_at = outcomes.arrived_at[row]
    arrived = ~np.isnat(arrived_at)
    end = np.where(arrived, arrived_at, outcomes.known_through)
    hours = np.maximum(hours_between(as_of, end), 0.0)
    return Examples(
        past.features, past.moment, row, past.parcel, as_of, hours, arrived, outcomes.known_through
    )
