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
from eta.journey.categories import Categorical, group_rows
from eta.journey.examples import Outcomes

#: How long a parcel has been open, in shares of the time that parcels like it usually take, and
#: what that is called.
AGE_CLASSES = ("fresh", "under_way", "overdue", "stuck")
AGE_EDGES = (0.5, 1.0, 2.0)

#: What is left of theta a day further ahead, by age.
DAILY_DECAY = np.array([0.97, 0.97, 0.9, 0.8])

#: The share of theta that is of the age a parcel will have by then; the rest is of its age now: who
#: is late stays late.
AGE_TRANSITION_WEIGHT = 0.3

#: Days of evidence, and the days after which one counts half: usually, and where the network has
#: changed.
HISTORY_DAYS, HALF_LIVES_DAYS = 32, np.array([8.0, 2.0])

#: The last days that tell which, and the log-odds of the usual one before they do.
SELECTION_DAYS, LONG_MEMORY_LOG_ODDS = 6, 4.0

#: Texts whose groups have a level of their own, within each age.
DRIFT_LABELS = ("carrier", "destination")

#: No more than this is ever believed, and no step of the regression is longer.
MAX_LOG_RATE_RATIO = 1.0

#: Open parcels of a day that are enough to tell its level; of more, an even sample is watched.
MAX_OPEN_PARCELS = 20_000

#: Steps of the hazards that a watched day is judged by.
EXPECTATION_HOURS = np.arange(0.0, 25.0, 6.0)

#: How far log-hazards are believed to stray (variances): those of all parcels and of an age, and
#: those of a group.
VARIANCE, GROUP_VARIANCE = 0.05, 0.033

#: Days before a fit that tell what the model is off by all along: so many, so many days apart.
BASELINE_RATIO_DAYS, BASELINE_RATIO_STEP_DAYS = 30, 9

#: Expected arrivals' worth of trust that a model is right at an age all along.
BASELINE_RATIO_PRIOR = 100.0

#: The share of a day's arrivals that has been told so many days, (D,), after its end.
ReportingDelayCdf = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_SWEEPS = 12

#: Without drift it does not matter when that was so.
_EPOCH = np.datetime64("1970-01-01", "us")


@dataclass(frozen=True, eq=False)
class Drift:
    """theta by age, shape (A,) each: of all parcels, and what a group adds to it by column and text; with standard errors.

    ``baseline_ratio`` (A,) is what the model was off by before, all along; ``as_of`` (UTC) is when all this
    was so.
    """

    as_of: np.datetime64
    baseline_ratio: NDArray[np.float64]
    log_rate_ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    groups: Mapping[str, Mapping[str, NDArray[np.float64]]]
    group_errors: Mapping[str, Mapping[str, NDArray[np.float64]]]

    @classmethod
    def identity(
        cls, as_of: np.datetime64 = _EPOCH, baseline_ratio: NDArray[np.float64] | None = None
    ) -> Self:
        """The network runs as it was learned to."""
        return cls(
            as_of,
            np.ones(len(AGE_CLASSES)) if baseline_ratio is None else baseline_ratio,
            np.zeros(len(AGE_CLASSES)),
            np.full(len(AGE_CLASSES), np.inf),
            {},
            {},
        )

    def at(
        self, labels: Mapping[str, Categorical], local_as_of: NDArray[np.datetime64]
    ) -> NDArray[np.float64]:
        """What theta is, (N, A), of parcels with such labels (N,) at every age; at a later local time (N,) less is left of it.

        Whole days count, so that the hour of a zone or of a question does not matter.
        """
        log_rate_ratio = np.tile(self.log_rate_ratio, (len(local_as_of), 1))
        for column, groups in self.groups.items():
            column_labels = labels[column]
            effects = np.array(
                [*(groups.get(name, _NO_EFFECT) for name in column_labels.names), _NO_EFFECT]
            )
            log_rate_ratio += effects[column_labels.codes]
        log_rate_ratio = np.clip(log_rate_ratio, -MAX_LOG_RATE_RATIO, MAX_LOG_RATE_RATIO)
        days = (local_as_of - self.as_of) // DAY
        return (
            log_rate_ratio * DAILY_DECAY ** np.maximum(days, 0)[:, None]
            if (days > 0).any()
            else log_rate_ratio
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``error`` is null where nothing was watched."""
        return {
            "as_of": f"{self.as_of}Z",
            "baseline_ratio": self.baseline_ratio.tolist(),
            "ages": list(AGE_CLASSES),
            "log_rate_ratio": self.log_rate_ratio.tolist(),
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
        if values["ages"] != list(AGE_CLASSES):
            raise ModelCorrupted(
                f"the drift is of the ages {values['ages']}; train the model again"
            )
        groups, errors = (
            {
                column: {name: np.array(entry) for name, entry in named.items()}
                for column, named in values[part].items()
            }
            for part in ("groups", "group_errors")
        )
        return cls(
            np.datetime64(values["as_of"].removesuffix("Z"), "us"),
            np.array(values["baseline_ratio"]),
            np.array(values["log_rate_ratio"]),
            np.array([np.inf if entry is None else entry for entry in values["error"]]),
            groups,
            errors,
        )


_NO_EFFECT = np.zeros(len(AGE_CLASSES))


@dataclass(frozen=True, eq=False)
class DailyExpectation:
    """Parcels open at the start of a day, and their hazards (N, W) summed up to ``EXPECTATION_HOURS``, as learned, without drift."""

    start: np.datetime64
    end: np.datetime64
    row: NDArray[np.int64]
    age: NDArray[np.int64]
    labels: Mapping[str, Categorical]
    hazards: NDArray[np.float64]

    def compare(self, outcomes: Outcomes) -> ObservedExpected:
        """Arrivals by the end of the day, and those expected until then or until the arrival.

        Who had arrived before the day and was not told of yet counts too: the model expects some.
        """
        arrived_at = outcomes.arrived_at[self.row]
        open_until = np.where(np.isnat(arrived_at), self.end, arrived_at)
        observed = (arrived_at <= self.end).astype(np.float64)
        hours = np.maximum(
            hours_between(np.full(len(open_until), self.start), np.minimum(open_until, self.end)),
            0.0,
        )
        step = np.clip(
            (hours // EXPECTATION_HOURS[1]).astype(np.int64), 0, len(EXPECTATION_HOURS) - 2
        )
        rows, fraction = np.arange(len(hours)), hours / EXPECTATION_HOURS[1] - step
        expected = (
            self.hazards[rows, step] * (1.0 - fraction) + self.hazards[rows, step + 1] * fraction
        )
        cell, first = group_rows(
            [Categorical(self.age.astype(np.int32), AGE_CLASSES), *self.labels.values()]
        )
        labels = {column: labels.take(first) for column, labels in self.labels.items()}
        observed_by_cell, expected_by_cell = (
            np.bincount(cell, arrivals).astype(np.float64) for arrivals in (observed, expected)
        )
        return ObservedExpected(
            self.end, self.age[first], labels, observed_by_cell, expected_by_cell
        )


@dataclass(frozen=True, eq=False)
class ObservedExpected:
    """Arrivals of a day that ends at ``end``, seen and expected, by age and group, (C,) each."""

    end: np.datetime64
    age: NDArray[np.int64]
    labels: Mapping[str, Categorical]
    observed: NDArray[np.float64]
    expected: NDArray[np.float64]


def estimate_baseline_ratio(comparisons: Sequence[ObservedExpected]) -> NDArray[np.float64]:
    """Arrivals for each one expected, by age (A,): what a model is off by all along is no drift."""
    comparisons = [comparison for comparison in comparisons if len(comparison.age)]
    if not comparisons:
        return np.ones(len(AGE_CLASSES))
    age, observed, expected = (
        np.concatenate([getattr(comparison, part) for comparison in comparisons])
        for part in ("age", "observed", "expected")
    )
    observed_by_age, expected_by_age = (
        np.bincount(age, observed, len(AGE_CLASSES)),
        np.bincount(age, expected, len(AGE_CLASSES)),
    )
    return (observed_by_age + BASELINE_RATIO_PRIOR) / (expected_by_age + BASELINE_RATIO_PRIOR)


def estimate_drift(
    comparisons: Sequence[ObservedExpected],
    as_of: np.datetime64,
    reporting_cdf: ReportingDelayCdf,
    baseline_ratio: NDArray[np.float64],
) -> Drift:
    """The drift at ``as_of`` from the days before it, beyond the ``baseline_ratio`` (A,) that the model is off by all along.

    ``reporting_cdf`` gives the share of a day's arrivals that has been told so many days after its end, for
    a late scan is no slow parcel.
    """
    comparisons = [
        comparison for comparison in comparisons if comparison.end <= as_of and len(comparison.age)
    ]
    if not comparisons:
        return Drift.identity(as_of, baseline_ratio)
    days_ago = np.array([(as_of - comparison.end) / DAY for comparison in comparisons])
    complete = reporting_cdf(days_ago)
    daily_observed = np.array(
        [
            np.bincount(comparison.age, comparison.observed, len(AGE_CLASSES))
            for comparison in comparisons
        ]
    )
    daily_expected = np.array(
        [
            np.bincount(comparison.age, comparison.expected, len(AGE_CLASSES))
            for comparison in comparisons
        ]
    )
    weight = _weights(days_ago, daily_observed, daily_expected * complete[:, None] * baseline_ratio)
    age = np.concatenate([comparison.age for comparison in comparisons])
    observed = np.concatenate(
        [part * comparison.observed for part, comparison in zip(weight, comparisons, strict=True)]
    )
    expected = np.concatenate(
        [
            part * comparison.expected
            for part, comparison in zip(weight * complete, comparisons, strict=True)
        ]
    )
    expected *= baseline_ratio[age]
    columns = {
        column: _joined([comparison.labels[column] for comparison in comparisons])
        for column in DRIFT_LABELS
    }
    # Codes count from 1; each group has one segment an age, and a missing text has no level of its
    # own.
    segments = [
        np.zeros(len(age), dtype=np.int64),
        age,
        *(
            (labels.codes.astype(np.int64) + 1) * len(AGE_CLASSES) + age
            for labels in columns.values()
        ),
    ]
    # A penalty is one over the variance of what it holds back (Gaussian prior).
    of_groups = [
        np.repeat(
            [np.inf, 1.0 / GROUP_VARIANCE], [len(AGE_CLASSES), len(labels.names) * len(AGE_CLASSES)]
        )
        for labels in columns.values()
    ]
    log_rate_ratio, error = _regress(
        segments,
        [np.array([1.0 / VARIANCE]), np.full(len(AGE_CLASSES), 1.0 / VARIANCE), *of_groups],
        observed,
        expected,
    )
    groups = [
        {
            column: {
                name: values.reshape(-1, len(AGE_CLASSES))[code + 1]
                for code, name in enumerate(labels.names)
            }
            for (column, labels), values in zip(columns.items(), part[2:], strict=True)
        }
        for part in (log_rate_ratio, error)
    ]
    return Drift(
        as_of,
        baseline_ratio,
        log_rate_ratio[0] + log_rate_ratio[1],
        np.hypot(error[0], error[1]),
        *groups,
    )


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
    log_rate_ratio = np.log(
        (memory @ observed + 1.0 / VARIANCE) / (memory @ expected + 1.0 / VARIANCE)
    )
    predicted = expected * np.exp(log_rate_ratio)
    dispersion = ((observed - predicted[0]) ** 2 / np.maximum(predicted[0], 1.0)).mean(axis=1)
    log_likelihood = (observed * log_rate_ratio - predicted)[:, days_ago < SELECTION_DAYS].sum(
        axis=(1, 2)
    )
    gain = [LONG_MEMORY_LOG_ODDS, 0.0] + log_likelihood / max(1.0, float(np.median(dispersion)))
    likelihood = np.exp(gain - gain.max())
    return np.asarray(
        0.5 ** (days_ago[:, None] / HALF_LIVES_DAYS) @ (likelihood / likelihood.sum())
    )


def _joined(parts: Sequence[Categorical]) -> Categorical:
    """The labels of several batches, over the names of all."""
    names = tuple(sorted({name for part in parts for name in part.names}))
    position = {name: float(code) for code, name in enumerate(names)}
    return Categorical(
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
    observed_by_cell, expected_by_cell = np.bincount(which, observed), np.bincount(which, expected)
    levels = [segment[first] for segment in segments]
    log_rate_ratio, error = ([np.zeros(len(penalty)) for penalty in penalties] for _ in range(2))
    for _ in range(_SWEEPS):
        for number, (level, penalty) in enumerate(zip(levels, penalties, strict=True)):
            fitted = expected_by_cell * np.exp(
                sum(
                    (
                        effect[segment_of_cell]
                        for effect, segment_of_cell in zip(log_rate_ratio, levels, strict=True)
                    ),
                    np.zeros(len(expected_by_cell)),
                )
            )
            curvature = np.bincount(level, fitted, len(penalty)) + penalty
            # An endless penalty holds a segment at 0.
            penalty_gradient = np.where(np.isinf(penalty), 0.0, penalty) * log_rate_ratio[number]
            log_rate_ratio[number] = np.clip(
                log_rate_ratio[number]
                + (np.bincount(level, observed_by_cell - fitted, len(penalty)) - penalty_gradient)
                / curvature,
                -MAX_LOG_RATE_RATIO,
                MAX_LOG_RATE_RATIO,
            )
            error[number] = 1.0 / np.sqrt(curvature)
    return log_rate_ratio, error
