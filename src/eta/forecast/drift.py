"""How fast the network runs these days, against what a model learned from its whole history.

Every midnight the arrivals of the last weeks are set against those that the model expected of the parcels then open:

    log-hazard today = log-hazard learned + theta,     theta_g = log(observed_g / expected_g), shrunk

theta is a Poisson regression with ridge penalties on nested segments (all; age; age within carrier, origin and
destination), weighted by how long ago a day was. It is the maximum-likelihood form of a level shift in a piecewise
exponential model. Parcels that have been open for longer than is usual are segments of their own: what is stuck says
nothing about what moves. The further ahead, the less today's level counts: theta decays by the day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local import DAY, hours_between
from eta.domain.vocabulary import ARRIVAL_CODES
from eta.journey.columns import Labels
from eta.journey.features import Features
from eta.journey.snapshots import Outcomes, Snapshots, snapshots_open_at
from eta.journey.timeline import EVENT_CODES, Timelines

#: How long a parcel has been open, in shares of the time that parcels like it usually take, and what that is called.
AGES = ("fresh", "under_way", "overdue", "stuck")
AGE_EDGES = (0.5, 1.0, 2.0)
#: What is left of theta a day further ahead, by age.
DECAY_A_DAY = np.array([0.97, 0.97, 0.9, 0.8])
#: Days of evidence, and the days after which one counts half.
HISTORY_DAYS, HALF_LIFE_DAYS = 30, 6.0
#: Texts whose groups have a level of their own, within each age.
DRIFT_LABELS = ("carrier", "origin", "destination")
#: Expected arrivals' worth of trust in no drift at all, and in the wider segment.
LEVEL_PRIOR, SEGMENT_PRIOR = 10.0, 15.0
#: A day cannot say more than this.
CAP = 1.0
#: Open parcels of a day that are enough to tell its level; of more, an even sample is watched.
MOST_WATCHED = 20_000
#: Steps of the hazards that a watched day is judged by; a day may have 25 hours.
WATCH_HOURS = np.arange(0.0, 31.0, 6.0)
_SWEEPS = 12
#: Arrivals younger than this may not have been told yet.
_TOLD_AFTER = np.timedelta64(10, "D")


@dataclass(frozen=True, eq=False)
class Drift:
    """theta by age, shape (A,) each: of all parcels, and what a group adds to it by column and text; with standard errors."""

    theta: NDArray[np.float64]
    error: NDArray[np.float64]
    groups: Mapping[str, Mapping[str, NDArray[np.float64]]]
    group_errors: Mapping[str, Mapping[str, NDArray[np.float64]]]

    @classmethod
    def none(cls) -> Self:
        """The network runs as it was learned to."""
        return cls(np.zeros(len(AGES)), np.full(len(AGES), np.inf), {}, {})

    def of(self, features: Features, age: NDArray[np.int64]) -> NDArray[np.float64]:
        """theta (N,) of parcels at their ages (N,), positions in ``AGES``."""
        theta = self.theta[age]
        for column, groups in self.groups.items():
            labels = features.labels[column]
            effects = np.array([*(groups.get(name, _NOTHING) for name in labels.names), _NOTHING])
            theta = theta + effects[labels.codes, age]
        return np.clip(theta, -CAP, CAP)

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``error`` is null where nothing was watched."""
        return {
            "ages": list(AGES),
            "theta": self.theta.tolist(),
            "error": [value if np.isfinite(value) else None for value in self.error.tolist()],
            "groups": {column: {name: values.tolist() for name, values in sorted(groups.items())} for column, groups in self.groups.items()},
            "group_errors": {column: {name: values.tolist() for name, values in sorted(groups.items())} for column, groups in self.group_errors.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave."""
        groups, errors = (
            {column: {name: np.array(each) for name, each in named.items()} for column, named in values[part].items()} for part in ("groups", "group_errors")
        )
        return cls(np.array(values["theta"]), np.array([np.inf if each is None else each for each in values["error"]]), groups, errors)


_NOTHING = np.zeros(len(AGES))


@dataclass(frozen=True, eq=False)
class Watch:
    """Parcels open at the start of a day, and their hazards (N, W) summed up to ``WATCH_HOURS``, as learned, without drift."""

    start: np.datetime64
    end: np.datetime64
    row: NDArray[np.int64]
    age: NDArray[np.int64]
    labels: Mapping[str, Labels]
    hazards: NDArray[np.float64]

    def outcome(self, outcomes: Outcomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Arrivals within the day, and those expected up to the arrival, the end of the day or of what is known; (N,) each."""
        arrived_at, given_up_at = outcomes.arrived_at[self.row], outcomes.given_up_at[self.row]
        left = np.where(np.isnat(arrived_at), np.where(np.isnat(given_up_at), self.end, given_up_at), arrived_at)
        observed = (arrived_at <= self.end).astype(np.float64)
        hours = np.clip(hours_between(np.full(len(left), self.start), left), 0.0, hours_between(self.start, self.end))
        step = np.clip((hours // WATCH_HOURS[1]).astype(np.int64), 0, len(WATCH_HOURS) - 2)
        rows, share = np.arange(len(hours)), hours / WATCH_HOURS[1] - step
        return observed, self.hazards[rows, step] * (1.0 - share) + self.hazards[rows, step + 1] * share


class Watching(Protocol):
    """A model whose expectations can be set against what happened."""

    def watch(self, snapshots: Snapshots, end: np.datetime64) -> Watch:
        """The hazards of the day from the snapshots' common moment until ``end``."""
        ...


def learn_drift(watches: Sequence[Watch], outcomes: Outcomes, told: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Drift:
    """The drift at ``outcomes.known_through`` from the days before it.

    ``told`` gives the share of a day's arrivals that has been told so many days after its end, for a late scan is no slow parcel.
    """
    watches = [watch for watch in watches if watch.end <= outcomes.known_through and len(watch.row)]
    if not watches:
        return Drift.none()
    days_ago = np.array([(outcomes.known_through - watch.end) / DAY for watch in watches])
    weight, share = 0.5 ** (days_ago / HALF_LIFE_DAYS), told(days_ago)
    parts = [watch.outcome(outcomes) for watch in watches]
    observed = np.concatenate([each * seen for each, (seen, _) in zip(weight, parts, strict=True)])
    expected = np.concatenate([each * hoped for each, (_, hoped) in zip(weight * share, parts, strict=True)])
    age = np.concatenate([watch.age for watch in watches])
    columns = {column: _joined([watch.labels[column] for watch in watches]) for column in DRIFT_LABELS}
    # Codes count from 1, so that a missing text is a group too; each group has one segment an age.
    segments = [np.zeros(len(age), dtype=np.int64), age, *((labels.codes.astype(np.int64) + 1) * len(AGES) + age for labels in columns.values())]
    sizes = [1, len(AGES), *((len(labels.names) + 1) * len(AGES) for labels in columns.values())]
    theta, error = _regress(segments, sizes, observed, expected)
    groups = {
        part: {
            column: {name: values.reshape(-1, len(AGES))[code + 1] for code, name in enumerate(labels.names)}
            for (column, labels), values in zip(columns.items(), each[2:], strict=True)
        }
        for part, each in (("theta", theta), ("error", error))
    }
    return Drift(theta[0] + theta[1], np.hypot(error[0], error[1]), groups["theta"], groups["error"])


def follow_drift(model: Watching, timelines: Timelines, as_of: np.datetime64, progress: Callable[[int, int], None] = lambda *_: None) -> Drift:
    """The drift at ``as_of`` (UTC), from the ``HISTORY_DAYS`` days before it as they were known."""
    outcomes, watches = Outcomes.at(timelines, as_of), []
    for number in range(HISTORY_DAYS, 0, -1):
        progress(HISTORY_DAYS - number, HISTORY_DAYS)
        start = as_of - number * DAY
        watches.append(model.watch(snapshots_open_at(timelines, start, MOST_WATCHED), start + DAY))
    return learn_drift(watches, outcomes, told_by(timelines, as_of))


def told_by(timelines: Timelines, as_of: np.datetime64) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The share of a day's arrivals that is told so many days after the day's end, as known at ``as_of``."""
    arrival = np.isin(timelines.event_code, [EVENT_CODES.index(code) for code in ARRIVAL_CODES])
    settled = arrival & (timelines.received_at <= as_of) & (timelines.occurred_at <= as_of - _TOLD_AFTER)
    lag_days = (timelines.received_at[settled] - timelines.occurred_at[settled]) / DAY

    def share(days: NDArray[np.float64]) -> NDArray[np.float64]:
        # Arrivals spread evenly over a day had between `days` and `days + 1` to be told.
        return np.array([np.clip(day + 1.0 - lag_days, 0.0, 1.0).mean() if len(lag_days) else 1.0 for day in days])

    return share


def _joined(parts: Sequence[Labels]) -> Labels:
    """The labels of several batches, over the names of all."""
    names = tuple(sorted({name for part in parts for name in part.names}))
    position = {name: float(code) for code, name in enumerate(names)}
    return Labels(np.concatenate([part.translate(position, -1.0) for part in parts]).astype(np.int32), names)


def _regress(
    segments: Sequence[NDArray[np.int64]], sizes: Sequence[int], observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Poisson regression of ``observed`` on segments with offset log ``expected`` and ridge penalties, with standard errors.

    Each sweep takes one Newton step of every factor in turn, given the others (backfitting; Hastie and Tibshirani 1990).
    """
    cell = segments[0]
    for segment, size in zip(segments[1:], sizes[1:], strict=True):
        cell = cell * size + segment
    _, first, which = np.unique(cell, return_index=True, return_inverse=True)
    seen, hoped = np.bincount(which, observed), np.bincount(which, expected)
    levels = [segment[first] for segment in segments]
    penalties = [LEVEL_PRIOR, *[SEGMENT_PRIOR] * (len(sizes) - 1)]
    theta = [np.zeros(size) for size in sizes]
    error = [np.zeros(size) for size in sizes]
    for _ in range(_SWEEPS):
        for number, (level, size, penalty) in enumerate(zip(levels, sizes, penalties, strict=True)):
            fitted = hoped * np.exp(sum((each[own] for each, own in zip(theta, levels, strict=True)), np.zeros(len(hoped))))
            curvature = np.bincount(level, fitted, size) + penalty
            step = (np.bincount(level, seen - fitted, size) - penalty * theta[number]) / curvature
            theta[number] = np.clip(theta[number] + step, -CAP, CAP)
            error[number] = 1.0 / np.sqrt(curvature)
    return theta, error
