"""Training examples: snapshots with the outcomes of their shipments."""

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
    """When each shipment arrived, (N,), according to scans received by ``known_through``.

    NaT if it has not arrived, or was abandoned and never will.
    """

    known_through: np.datetime64
    arrived_at: NDArray[np.datetime64]

    @classmethod
    def at(cls, timelines: Timelines, known_through: np.datetime64) -> Outcomes:
        """The outcomes as of a moment."""
        states = fold(timelines, AsOfPairs.all_at(timelines, known_through))
        return cls(known_through, states.arrived_at)


@dataclass(frozen=True, eq=False)
class Examples:
    """Snapshots with their outcomes by ``known_through``.

    ``duration_hours`` (M,) leads to the arrival if ``event_observed``, else to ``known_through``:
    such rows are censored, never dropped. An abandoned parcel stays at risk for ever without
    arriving. So the distribution is that of arriving at all, not of arriving if no parcel were
    lost (the subdistribution hazard of Fine and Gray 1999).
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
            features=self.features.take(rows),
            moment=self.moment[rows],
            row=self.row[rows],
            parcel=self.parcel[rows],
            as_of=self.as_of[rows],
            duration_hours=self.duration_hours[rows],
            event_observed=self.event_observed[rows],
            known_through=self.known_through,
        )


def examples(snapshots: Snapshots, outcomes: Outcomes) -> Examples:
    """The snapshots taken before ``outcomes.known_through``, with those outcomes."""
    is_past = snapshots.pairs.as_of < outcomes.known_through
    # A copy of all of them would double the memory that training takes.
    past = snapshots if is_past.all() else snapshots.take(np.flatnonzero(is_past))
    row = past.pairs.row
    as_of = past.pairs.as_of
    arrived_at = outcomes.arrived_at[row]
    has_arrived = ~np.isnat(arrived_at)
    end = np.where(has_arrived, arrived_at, outcomes.known_through)
    return Examples(
        features=past.features,
        moment=past.moment,
        row=row,
        parcel=past.parcel,
        as_of=as_of,
        duration_hours=np.maximum(hours_between(as_of, end), 0.0),
        event_observed=has_arrived,
        known_through=outcomes.known_through,
    )
