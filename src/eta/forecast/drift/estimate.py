"""How fast the network runs these days, against what a model learned from its whole history.

Every midnight the arrivals of the last weeks are set against those that the model expected of the
parcels then open:

    log-hazard today = log-hazard learned + theta,     theta_g = log(observed_g / expected_g),
    shrunk

theta is a Poisson regression with ridge penalties on nested segments (all; age; age within carrier
and within destination), weighted by how long ago a day was. It is the maximum-likelihood form of a
level shift in a piecewise exponential model. Parcels that have been open for longer than is usual
are segments of their own: what is stuck says nothing about what moves. The further ahead, the less
today's level counts: theta decays by the day.

How soon a day is forgotten depends on what the last days show: where the usual memory foretold them
much worse than a short one, the network has changed, and what was before counts little (dynamic
model averaging; Raftery, Karny and Ettler 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, hours_between
from eta.domain.errors import ModelCorrupted
from eta.journey.categories import Labels, combinations
from eta.journey.examples import Outcomes

#: How long a parcel has been open, in shares of the time that parcels like it usually take, and
#: what that is called.
AGES = ("fresh", "under_way", "overdue", "stuck")
AGE_EDGES = (0.5, 1.0, 2.0)

#: What is left of theta a day further ahead, by age.
DECAY_A_DAY = np.array([0.97, 0.97, 0.9, 0.8])

#: The share of theta that is of the age a parcel will have by then; the rest is of its age now: who
#: is late stays late.
AGING = 0.3

#: Days of evidence, and the days after which one counts half: usually, and where the network has
#: changed.
HISTORY_DAYS, HALF_LIVES_DAYS = 32, np.array([8.0, 2.0])

#: The last days that tell which, and the log-odds of the usual one before they do.
TELLING_DAYS, USUAL_LOG_ODDS = 6, 4.0

#: Texts whose groups have a level of their own, within each age.
DRIFT_LABELS = ("carrier", "destination")

#: No more than this is ever believed, and no step of the regression is longer.
CAP = 1.0

#: Open parcels of a day that are enough to tell its level; of more, an even sample is watched.
MOST_WATCHED = 20_000

#: Steps of the hazards that a watched day is judged by.
WATCH_HOURS = np.arange(0.0, 25.0, 6.0)

#: How far log-hazards are believed to stray (variances): those of all parcels and of an age, and
#: those of a group.
VARIANCE, GROUP_VARIANCE = 0.05, 0.033

#: Days before a fit that tell what the model is off by all along: so many, so many days apart.
PAST_DAYS, PAST_EVERY_DAYS = 30, 9

#: Expected arrivals' worth of trust that a model is right at an age all along.
SHARE_PRIOR = 100.0

#: The share of a day's arrivals that has been told so many days, (D,), after its end.
Told = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_SWEEPS = 12

#: Without drift it does not matter when that was so.
_NEVER = np.datetime64("1970-01-01", "us")


@dataclass(frozen=True, eq=False)
class Drift:
    """theta by age, shape (A,) each: of all parcels, and what a group adds to it by column and text; with standard errors.

    ``share`` (A,) is what the model was off by before, all along; ``as_of`` (UTC) is when all this
    was so.
    """

    as_of: np.datetime64
    share: NDArray[np.float64]
    theta: NDArray[np.float64]
    error: NDArray[np.float64]
    groups: Mapping[str, Mapping[str, NDArray[np.float64]]]
    group_errors: Mapping[str, Mapping[str, NDArray[np.float64]]]

    @classmethod
    def none(cls, as_of: np.datetime64 = _NEVER, share: NDArray[np.float64] | None = None) -> Self:
        """The network runs as it was learned to."""
        return cls(
            as_of,
            np.ones(len(AGES)) if share is None else share,
            np.zeros(len(AGES)),
            np.full(len(AGES), np.inf),
            {},
            {},
        )

    def of(
        self, labels: Mapping[str, Labels], local_as_of: NDArray[np.datetime64]
    ) -> NDArray[np.float64]:
        """What theta is, (N, A), of parcels with such labels (N,) at every age; at a later local time (N,) less is left of it.

        Whole days count, so that the hour of a zone or of a question does not matter.
        """
        theta = np.tile(self.theta, (len(local_as_of), 1))
        for column, groups in self.groups.items():
            own = labels[column]
            effects = np.array([*(groups.get(name, _NOTHING) for name in own.names), _NOTHING])
            theta += effects[own.codes]
        theta = np.clip(theta, -CAP, CAP)
        days = (local_as_of - self.as_of) // DAY
        return theta * DECAY_A_DAY ** np.maximum(days, 0)[:, None] if (days > 0).any() else theta

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``error`` is null where nothing was watched."""
        return {
            "as_of": f"{self.as_of}Z",
            "share": self.share.tolist(),
            "ages": list(AGES),
            "theta": self.theta.tolist(),
            "error": [value if np.isfinite(value) else None for value in self.error.tolist()],
            "groups": {
                column: {name: values.tolist() for name, values in sorted(groups.items())}
                for column, groups in self.groups.items()
            },
            "group_errors": {
                column: {name: values.tolist() for name, values in sorted(groups.items())}
                for column, groups in self.group_errors.items()
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave.

        Raises:
            ModelCorrupted: if it is of other ages than ours.
        """
        if values["ages"] != list(AGES):
            raise ModelCorrupted(
                f"the drift is of the ages {values['ages']}; train the model again"
            )
        groups, errors = (
            {
                column: {name: np.array(each) for name, each in named.items()}
                for column, named in values[part].items()
            }
            for part in ("groups", "group_errors")
        )
        return cls(
            np.datetime64(values["as_of"].removesuffix("Z"), "us"),
            np.array(values["share"]),
            np.array(values["theta"]),
            np.array([np.inf if each is None else each for each in values["error"]]),
            groups,
            errors,
        )


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

    def tally(self, outcomes: Outcomes) -> Tally:
        """Arrivals by the end of the day, and those expected until then or until the arrival.

        Who had arrived before the day and was not told of yet counts too: the model expects some.
        """
        arrived_at = outcomes.arrived_at[self.row]
        left = np.where(np.isnat(arrived_at), self.end, arrived_at)
        observed = (arrived_at <= self.end).astype(np.float64)
        hours = np.maximum(
            hours_between(np.full(len(left), self.start), np.minimum(left, self.end)), 0.0
        )
        step = np.clip((hours // WATCH_HOURS[1]).astype(np.int64), 0, len(WATCH_HOURS) - 2)
        rows, share = np.arange(len(hours)), hours / WATCH_HOURS[1] - step
        expected = self.hazards[rows, step] * (1.0 - share) + self.hazards[rows, step + 1] * share
        cell, first = combinations([Labels(self.age.astype(np.int32), AGES), *self.labels.values()])
        labels = {column: labels.take(first) for column, labels in self.labels.items()}
        seen, hoped = (np.bincount(cell, each).astype(np.float64) for each in (observed, expected))
        return Tally(self.end, self.age[first], labels, seen, hoped)


@dataclass(frozen=True, eq=False)
class Tally:
    """Arrivals of a day that ends at ``end``, seen and expected, by age and group, (C,) each."""

    end: np.datetime64
    age: NDArray[np.int64]
    labels: Mapping[str, Labels]
    observed: NDArray[np.float64]
    expected: NDArray[np.float64]


def learn_share(tallies: Sequence[Tally]) -> NDArray[np.float64]:
    """Arrivals for each one expected, by age (A,): what a model is off by all along is no drift."""
    tallies = [tally for tally in tallies if len(tally.age)]
    if not tallies:
        return np.ones(len(AGES))
    age, observed, expected = (
        np.concatenate([getattr(tally, part) for tally in tallies])
        for part in ("age", "observed", "expected")
    )
    seen, hoped = np.bincount(age, observed, len(AGES)), np.bincount(age, expected, len(AGES))
    return (seen + SHARE_PRIOR) / (hoped + SHARE_PRIOR)


def learn_drift(
    tallies: Sequence[Tally], as_of: np.datetime64, told: Told, share: NDArray[np.float64]
) -> Drift:
    """The drift at ``as_of`` from the days before it, beyond the ``share`` (A,) that the model is off by all along.

    ``told`` gives the share of a day's arrivals that has been told so many days after its end, for
    a late scan is no slow parcel.
    """
    tallies = [tally for tally in tallies if tally.end <= as_of and len(tally.age)]
    if not tallies:
        return Drift.none(as_of, share)
    days_ago = np.array([(as_of - tally.end) / DAY for tally in tallies])
    complete = told(days_ago)
    seen = np.array([np.bincount(tally.age, tally.observed, len(AGES)) for tally in tallies])
    hoped = np.array([np.bincount(tally.age, tally.expected, len(AGES)) for tally in tallies])
    weight = _weights(days_ago, seen, hoped * complete[:, None] * share)
    age = np.concatenate([tally.age for tally in tallies])
    observed = np.concatenate(
        [each * tally.observed for each, tally in zip(weight, tallies, strict=True)]
    )
    expected = np.concatenate(
        [each * tally.expected for each, tally in zip(weight * complete, tallies, strict=True)]
    )
    expected *= share[age]
    columns = {
        column: _joined([tally.labels[column] for tally in tallies]) for column in DRIFT_LABELS
    }
    # Codes count from 1; each group has one segment an age, and a missing text has no level of its
    # own.
    segments = [
        np.zeros(len(age), dtype=np.int64),
        age,
        *((labels.codes.astype(np.int64) + 1) * len(AGES) + age for labels in columns.values()),
    ]
    # A penalty is one over the variance of what it holds back (Gaussian prior).
    of_groups = [
        np.repeat([np.inf, 1.0 / GROUP_VARIANCE], [len(AGES), len(labels.names) * len(AGES)])
        for labels in columns.values()
    ]
    theta, error = _regress(
        segments,
        [np.array([1.0 / VARIANCE]), np.full(len(AGES), 1.0 / VARIANCE), *of_groups],
        observed,
        expected,
    )
    groups = [
        {
            column: {
                name: values.reshape(-1, len(AGES))[code + 1]
                for code, name in enumerate(labels.names)
            }
            for (column, labels), values in zip(columns.items(), each[2:], strict=True)
        }
        for each in (theta, error)
    ]
    return Drift(as_of, share, theta[0] + theta[1], np.hypot(error[0], error[1]), *groups)


def _weights(
    days_ago: NDArray[np.float64], observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much each day (D,) counts, by the arrivals of each age, (D, A): the mean of both memories, by how likely each is.

    Likely is a memory with which the level of the days before makes the arrivals of a telling day
    likely (Poisson). Days differ for more reasons than chance: all that they tell is divided by the
    dispersion that is usual of them.
    """
    earlier = days_ago - days_ago[:, None]
    memory = np.where(
        earlier > 0.0, 0.5 ** (np.maximum(earlier, 0.0) / HALF_LIVES_DAYS[:, None, None]), 0.0
    )
    theta = np.log((memory @ observed + 1.0 / VARIANCE) / (memory @ expected + 1.0 / VARIANCE))
    foretold = expected * np.exp(theta)
    dispersion = ((observed - foretold[0]) ** 2 / np.maximum(foretold[0], 1.0)).mean(axis=1)
    telling = (observed * theta - foretold)[:, days_ago < TELLING_DAYS].sum(axis=(1, 2))
    gain = [USUAL_LOG_ODDS, 0.0] + telling / max(1.0, float(np.median(dispersion)))
    likely = np.exp(gain - gain.max())
    return np.asarray(0.5 ** (days_ago[:, None] / HALF_LIVES_DAYS) @ (likely / likely.sum()))


def _joined(parts: Sequence[Labels]) -> Labels:
    """The labels of several batches, over the names of all."""
    names = tuple(sorted({name for part in parts for name in part.names}))
    position = {name: float(code) for code, name in enumerate(names)}
    return Labels(
        np.concatenate([part.translate(position, -1.0) for part in parts]).astype(np.int32), names
    )


def _regress(
    segments: Sequence[NDArray[np.int64]],
    penalties: Sequence[NDArray[np.float64]],
    observed: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Poisson regression of ``observed`` (N,) with offset log ``expected`` and ridge penalties, with standard errors.

    ``segments`` has the segment (N,) of each row by factor, ``penalties`` those of a factor's
    segments. Each sweep takes one Newton step of every factor in turn, given the others
    (backfitting; Hastie and Tibshirani 1990).
    """
    cell = np.zeros(len(observed), dtype=np.int64)
    for segment, penalty in zip(segments, penalties, strict=True):
        cell = cell * len(penalty) + segment
    _, first, which = np.unique(cell, return_index=True, return_inverse=True)
    seen, hoped = np.bincount(which, observed), np.bincount(which, expected)
    levels = [segment[first] for segment in segments]
    theta, error = ([np.zeros(len(penalty)) for penalty in penalties] for _ in range(2))
    for _ in range(_SWEEPS):
        for number, (level, penalty) in enumerate(zip(levels, penalties, strict=True)):
            fitted = hoped * np.exp(
                sum(
                    (each[own] for each, own in zip(theta, levels, strict=True)),
                    np.zeros(len(hoped)),
                )
            )
            curvature = np.bincount(level, fitted, len(penalty)) + penalty
            # An endless penalty holds a segment at 0.
            held = np.where(np.isinf(penalty), 0.0, penalty) * theta[number]
            theta[number] = np.clip(
                theta[number]
                + (np.bincount(level, seen - fitted, len(penalty)) - held) / curvature,
                -CAP,
                CAP,
            )
            error[number] = 1.0 / np.sqrt(curvature)
    return theta, error
