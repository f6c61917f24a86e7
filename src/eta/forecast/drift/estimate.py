"""Drift: how fast the network runs now, compared with what a model learned from its whole history.

Every midnight the arrivals of the last weeks are compared with those that the model expected of the
parcels open at the time:

    log-hazard today = log-hazard learned + theta
    theta_g = log(observed_g / expected_g), shrunk

Theta is a Poisson regression with ridge penalties on nested segments (all; age class; age class
within carrier and within destination), weighted by how long ago a day was. It is the
maximum-likelihood form of a level shift in a piecewise exponential model. Parcels that have been
open for longer than is typical are segments of their own: stuck parcels say nothing about moving
ones. Today's level counts less the further ahead: theta decays by the day.

How soon a day is forgotten depends on the last days. If a long memory predicts them much worse than
a short one, the network has changed, and the days before count little (dynamic model averaging;
Raftery, Karny and Ettler 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, TypeAdapter

from eta.calendars.local_time import DAY, hours_between
from eta.journey.categories import Categorical, group_rows
from eta.journey.examples import Outcomes
from eta.stored_values import Finite, Name, NonNegative, StoredModel, check_values, parse_utc

Floats = NDArray[np.float64]

#: Values by column, text and age class.
Groups = Mapping[str, Mapping[str, Floats]]


class AgeClass(IntEnum):
    """How long a parcel has been open, relative to the typical time of such parcels."""

    FRESH = 0
    UNDER_WAY = 1
    OVERDUE = 2
    STUCK = 3


#: The names of the age classes, in their order.
AGE_CLASSES = tuple(age.name.lower() for age in AgeClass)

#: The shares of the typical time at which the age classes after the first begin.
AGE_EDGES = (0.5, 1.0, 2.0)

#: Share of theta that is left a day further ahead, by age class.
DAILY_DECAY = np.array([0.97, 0.97, 0.9, 0.8])

#: Weight of theta of the age class that a parcel will have by then. The rest is of its age class
#: now, because late parcels stay late.
AGE_TRANSITION_WEIGHT = 0.3

#: Days of evidence.
HISTORY_DAYS = 32

#: Half-lives of a day's weight: in a steady network, and after a change.
HALF_LIVES_DAYS = np.array([8.0, 2.0])

#: The last days, which decide between the two, and the log-odds of the long one before they do.
SELECTION_DAYS, LONG_MEMORY_LOG_ODDS = 6, 4.0

#: Columns whose texts have a level of their own within each age class.
DRIFT_LABELS = ("carrier", "destination")

#: The largest log rate ratio, and the longest step of the regression.
MAX_LOG_RATE_RATIO = 1.0

#: Open parcels of a day that suffice to estimate its level. Of more, an even sample is taken.
MAX_OPEN_PARCELS = 20_000

#: Hours of the day at which expected arrivals are computed, evenly spaced.
EXPECTATION_HOURS = np.arange(0.0, 25.0, 6.0)
_STEP_HOURS, _LAST_STEP = EXPECTATION_HOURS[1], len(EXPECTATION_HOURS) - 2

#: Prior variances of log-hazards: those of all parcels and of an age class, and those of a group.
VARIANCE, GROUP_VARIANCE = 0.05, 0.033

#: The days before a fit that show a model's constant error: their number, and the days between.
BASELINE_RATIO_DAYS, BASELINE_RATIO_STEP_DAYS = 30, 9

#: Weight, in expected arrivals, of the assumption that a model has no constant error.
BASELINE_RATIO_PRIOR = 100.0

#: The share of a day's arrivals that has been received so many days, (D,), after its end.
ReportingDelayCdf = Callable[[Floats], Floats]

#: Rounds of backfitting.
_SWEEPS = 12

#: The date of no drift, for which the date does not matter.
_EPOCH = np.datetime64("1970-01-01", "us")
_NO_EFFECT = np.zeros(len(AgeClass))


@dataclass(frozen=True, eq=False)
class Drift:
    """Log rate ratios (theta) by age class, (A,) each, with standard errors.

    ``log_rate_ratio`` is that of all parcels; ``groups`` is what each text of a column adds to it.
    ``baseline_ratio`` (A,) is the model's constant error; ``as_of`` (UTC) is the date of it all.
    """

    as_of: np.datetime64
    baseline_ratio: Floats
    log_rate_ratio: Floats
    error: Floats
    groups: Groups
    group_errors: Groups

    @classmethod
    def identity(cls, as_of: np.datetime64 = _EPOCH, baseline_ratio: Floats | None = None) -> Self:
        """No drift: the network runs as in the model's history."""
        if baseline_ratio is None:
            baseline_ratio = np.ones(len(AgeClass))
        no_certainty = np.full(len(AgeClass), np.inf)
        return cls(as_of, baseline_ratio, _NO_EFFECT.copy(), no_certainty, {}, {})

    def at(self, labels: Mapping[str, Categorical], local_as_of: NDArray[np.datetime64]) -> Floats:
        """Theta, (N, A), of parcels with such labels (N,) in every age class.

        At a later local time (N,) less of it is left. Only whole days count, so that neither the
        hour of a zone nor that of a forecast matters.
        """
        log_rate_ratio = np.tile(self.log_rate_ratio, (len(local_as_of), 1))
        for column, groups in self.groups.items():
            names = labels[column].names
            effects = [groups.get(name, _NO_EFFECT) for name in names]
            effect_of_code = np.array([*effects, _NO_EFFECT])
            log_rate_ratio += effect_of_code[labels[column].codes]
        log_rate_ratio = np.clip(log_rate_ratio, -MAX_LOG_RATE_RATIO, MAX_LOG_RATE_RATIO)
        days = (local_as_of - self.as_of) // DAY
        if not (days > 0).any():
            return log_rate_ratio
        days_later = np.maximum(days, 0)
        return log_rate_ratio * DAILY_DECAY ** days_later[:, None]

    def to_json(self) -> dict[str, Any]:
        """Plain values; an ``error`` is null without any evidence."""
        errors = self.error.tolist()
        finite_errors = [error if np.isfinite(error) else None for error in errors]
        return {
            "as_of": f"{self.as_of}Z",
            "baseline_ratio": self.baseline_ratio.tolist(),
            "ages": list(AGE_CLASSES),
            "log_rate_ratio": self.log_rate_ratio.tolist(),
            "error": finite_errors,
            "groups": _groups_to_json(self.groups),
            "group_errors": _groups_to_json(self.group_errors),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The drift that ``to_json`` wrote.

        Raises:
            ModelCorrupted: if a value is missing, unknown, of another type or out of range.
        """
        stored = check_values("the drift", _STORED_DRIFT, values)
        errors = [np.inf if error is None else error for error in stored.error]
        return cls(
            as_of=np.datetime64(stored.as_of.removesuffix("Z"), "us"),
            baseline_ratio=np.array(stored.baseline_ratio),
            log_rate_ratio=np.array(stored.log_rate_ratio),
            error=np.array(errors),
            groups=_groups_from_json(stored.groups),
            group_errors=_groups_from_json(stored.group_errors),
        )


def _is_time(text: str) -> str:
    """The text, if it is a time."""
    parse_utc(text)
    return text


def _are_our_ages(ages: list[str]) -> list[str]:
    """The age classes, if they are those of this release."""
    if ages != list(AGE_CLASSES):
        raise ValueError(f"they are not {', '.join(AGE_CLASSES)}")
    return ages


_AGES = len(AgeClass)
_PerAge = Field(min_length=_AGES, max_length=_AGES)
_DriftColumn = Literal["carrier", "destination"]
_EffectsByAge = Annotated[list[Finite], _PerAge]
_ErrorsByAge = Annotated[list[NonNegative], _PerAge]


class _StoredDrift(StoredModel):
    """What ``Drift.to_json`` writes."""

    as_of: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9T:.-]{6,22}Z$"), AfterValidator(_is_time)]
    baseline_ratio: Annotated[list[Annotated[NonNegative, Field(gt=0.0, le=1e9)]], _PerAge]
    ages: Annotated[list[str], AfterValidator(_are_our_ages)]
    log_rate_ratio: _EffectsByAge
    error: Annotated[list[NonNegative | None], _PerAge]
    groups: dict[_DriftColumn, dict[Name, _EffectsByAge]]
    group_errors: dict[_DriftColumn, dict[Name, _ErrorsByAge]]


_STORED_DRIFT = TypeAdapter(_StoredDrift)


def _groups_to_json(groups: Groups) -> dict[str, dict[str, list[float]]]:
    stored = {}
    for column, by_name in groups.items():
        names = sorted(by_name)
        stored[column] = {name: by_name[name].tolist() for name in names}
    return stored


def _groups_from_json(groups: Mapping[_DriftColumn, Mapping[str, list[float]]]) -> Groups:
    restored: dict[str, Mapping[str, Floats]] = {}
    for column, by_name in groups.items():
        restored[column] = {name: np.array(values) for name, values in by_name.items()}
    return restored


@dataclass(frozen=True, eq=False)
class DailyExpectation:
    """Parcels open at the start of a day, and their cumulative hazards (N, W) without drift.

    The hazards are those at ``EXPECTATION_HOURS``, ``row`` (N,) the parcels' rows in the timelines,
    ``age`` (N,) their age classes and ``labels`` their ``DRIFT_LABELS``.
    """

    start: np.datetime64
    end: np.datetime64
    row: NDArray[np.int64]
    age: NDArray[np.int64]
    labels: Mapping[str, Categorical]
    hazards: Floats

    def compare(self, outcomes: Outcomes) -> ObservedExpected:
        """Arrivals by the end of the day, and those expected until then or until the arrival.

        A parcel that had arrived before the day, unknown at its start, counts too: the model
        expects some such parcels.
        """
        arrived_at = outcomes.arrived_at[self.row]
        has_arrived = arrived_at <= self.end
        observed = has_arrived.astype(np.float64)
        open_until = np.where(np.isnat(arrived_at), self.end, arrived_at)
        # The hazard, (N,), between the start of the day and a time (N,) on it.
        start = np.full(len(open_until), self.start)
        until = np.minimum(open_until, self.end)
        hours = np.maximum(hours_between(start, until), 0.0)
        step = (hours // _STEP_HOURS).astype(np.int64)
        step = np.clip(step, 0, _LAST_STEP)
        fraction = hours / _STEP_HOURS - step
        rows = np.arange(len(hours))
        before = self.hazards[rows, step]
        after = self.hazards[rows, step + 1]
        expected = np.asarray(before * (1.0 - fraction) + after * fraction)
        age = Categorical(self.age.astype(np.int32), AGE_CLASSES)
        cell, first = group_rows([age, *self.labels.values()])
        labels = {column: labels.take(first) for column, labels in self.labels.items()}
        observed_by_cell = np.bincount(cell, observed).astype(np.float64)
        expected_by_cell = np.bincount(cell, expected).astype(np.float64)
        return ObservedExpected(
            self.end, self.age[first], labels, observed_by_cell, expected_by_cell
        )


@dataclass(frozen=True, eq=False)
class ObservedExpected:
    """Observed and expected arrivals, (C,), of a day until ``end``, by age class and group."""

    end: np.datetime64
    age: NDArray[np.int64]
    labels: Mapping[str, Categorical]
    observed: Floats
    expected: Floats


def estimate_baseline_ratio(comparisons: Sequence[ObservedExpected]) -> Floats:
    """Arrivals for each expected one, by age class (A,).

    This is a model's constant error, which is no drift.
    """
    comparisons = [comparison for comparison in comparisons if len(comparison.age)]
    if not comparisons:
        return np.ones(len(AgeClass))
    age = np.concatenate([comparison.age for comparison in comparisons])
    observed = np.concatenate([comparison.observed for comparison in comparisons])
    expected = np.concatenate([comparison.expected for comparison in comparisons])
    observed_by_age = np.bincount(age, observed, len(AgeClass))
    expected_by_age = np.bincount(age, expected, len(AgeClass))
    return (observed_by_age + BASELINE_RATIO_PRIOR) / (expected_by_age + BASELINE_RATIO_PRIOR)


def estimate_drift(
    comparisons: Sequence[ObservedExpected],
    as_of: np.datetime64,
    reporting_cdf: ReportingDelayCdf,
    baseline_ratio: Floats,
) -> Drift:
    """The drift at ``as_of`` from the days before it, beyond the model's constant error.

    ``reporting_cdf`` is the share of a day's arrivals that has been received by now, because a late
    scan does not make a parcel slow. ``baseline_ratio`` (A,) is the model's constant error.
    """
    comparisons = [part for part in comparisons if part.end <= as_of and len(part.age)]
    if not comparisons:
        return Drift.identity(as_of, baseline_ratio)
    evidence = _weighted_evidence(comparisons, as_of, reporting_cdf, baseline_ratio)
    # A penalty is one over the prior variance of its segment (Gaussian prior).
    age, labels = evidence.age, evidence.labels
    one_segment = np.zeros_like(age)
    overall = _Factor(one_segment, np.array([1.0 / VARIANCE]))
    age_penalty = np.full(len(AgeClass), 1.0 / VARIANCE)
    factors = [overall, _Factor(age, age_penalty)]
    for column_labels in labels.values():
        # A segment for each age class of each text. A missing text has the code -1, so that codes
        # count from 1 here, and no level of its own.
        group = column_labels.codes.astype(np.int64) + 1
        shape = len(column_labels.names) + 1, len(AgeClass)
        penalty = np.full(shape, 1.0 / GROUP_VARIANCE)
        penalty[0] = np.inf
        segment = group * len(AgeClass) + age
        factors.append(_Factor(segment, penalty.ravel()))
    effects, errors = _regress(factors, evidence.observed, evidence.expected)
    overall_effect, age_effects, *group_effects = effects
    overall_error, age_errors, *group_errors = errors
    return Drift(
        as_of=as_of,
        baseline_ratio=baseline_ratio,
        log_rate_ratio=overall_effect + age_effects,
        error=np.hypot(overall_error, age_errors),
        groups=_groups(labels, group_effects),
        group_errors=_groups(labels, group_errors),
    )


class _Evidence(NamedTuple):
    """Weighted arrivals of all days, (N,) each."""

    age: NDArray[np.int64]
    labels: dict[str, Categorical]
    observed: Floats
    expected: Floats


class _Factor(NamedTuple):
    """A factor of the regression: the segment of each row, and the penalty of each segment."""

    segment: NDArray[np.int64]
    penalty: Floats


def _weighted_evidence(
    comparisons: Sequence[ObservedExpected],
    as_of: np.datetime64,
    reporting_cdf: ReportingDelayCdf,
    baseline_ratio: Floats,
) -> _Evidence:
    """The arrivals of all days, weighted by day and corrected for reporting delays and baseline."""
    days_ago = np.array([(as_of - part.end) / DAY for part in comparisons])
    complete = reporting_cdf(days_ago)
    age = np.concatenate([part.age for part in comparisons])
    observed = np.concatenate([part.observed for part in comparisons])
    expected = np.concatenate([part.expected for part in comparisons])
    cells = [len(part.age) for part in comparisons]
    day = np.repeat(np.arange(len(comparisons)), cells)
    # Sums, (D, A), by day and age class.
    cell = day * len(AgeClass) + age
    daily = []
    for values in (observed, expected):
        sums = np.bincount(cell, values, len(comparisons) * len(AgeClass))
        daily.append(sums.astype(np.float64).reshape(-1, len(AgeClass)))
    daily_observed, daily_expected = daily
    expected_by_now = daily_expected * complete[:, None] * baseline_ratio
    weight = _weights(days_ago, daily_observed, expected_by_now)
    expected_weight = weight * complete
    labels = {}
    for column in DRIFT_LABELS:
        # The labels of several batches, over the names of all.
        parts = [part.labels[column] for part in comparisons]
        all_names: set[str] = set()
        for part_labels in parts:
            all_names.update(part_labels.names)
        names = tuple(sorted(all_names))
        code_of = {name: float(code) for code, name in enumerate(names)}
        part_codes = [part_labels.translate(code_of, -1.0) for part_labels in parts]
        codes = np.concatenate(part_codes)
        labels[column] = Categorical(codes.astype(np.int32), names)
    weighted_expected = expected_weight[day] * expected * baseline_ratio[age]
    return _Evidence(age, labels, weight[day] * observed, weighted_expected)


def _weights(days_ago: Floats, observed: Floats, expected: Floats) -> Floats:
    """The weight of each day (D,) by its arrivals in each age class, (D, A).

    It is the mean weight of both memories, by the probability of each: how likely the level of the
    days before makes the arrivals of the last days (Poisson). Days differ for more reasons than
    chance, so the log-likelihood is divided by their typical dispersion.
    """
    earlier = days_ago - days_ago[:, None]
    half_lives = np.maximum(earlier, 0.0) / HALF_LIVES_DAYS[:, None, None]
    memory = np.where(earlier > 0.0, 0.5**half_lives, 0.0)
    remembered_observed = memory @ observed + 1.0 / VARIANCE
    remembered_expected = memory @ expected + 1.0 / VARIANCE
    log_rate_ratio = np.log(remembered_observed / remembered_expected)
    predicted = expected * np.exp(log_rate_ratio)
    long_predicted, _ = predicted
    squared_error = (observed - long_predicted) ** 2
    relative_error = squared_error / np.maximum(long_predicted, 1.0)
    dispersion = relative_error.mean(axis=1)
    is_last = days_ago < SELECTION_DAYS
    daily_log_likelihood = observed * log_rate_ratio - predicted
    log_likelihood = daily_log_likelihood[:, is_last].sum(axis=(1, 2))
    typical_dispersion = float(np.median(dispersion))
    scaled = log_likelihood / max(1.0, typical_dispersion)
    log_odds = np.array([LONG_MEMORY_LOG_ODDS, 0.0]) + scaled
    likelihood = np.exp(log_odds - log_odds.max())
    probability = likelihood / likelihood.sum()
    weight_by_memory = 0.5 ** (days_ago[:, None] / HALF_LIVES_DAYS)
    return np.asarray(weight_by_memory @ probability)


def _groups(labels: Mapping[str, Categorical], effects: Sequence[Floats]) -> Groups:
    """The effects of the segments of each age class of each text, by column and text."""
    groups = {}
    for (column, column_labels), values in zip(labels.items(), effects, strict=True):
        _, *by_name = values.reshape(-1, len(AgeClass))
        groups[column] = dict(zip(column_labels.names, by_name, strict=True))
    return groups


def _regress(
    factors: Sequence[_Factor], observed: Floats, expected: Floats
) -> tuple[list[Floats], list[Floats]]:
    """The effects of each factor's segments on log-hazards, and their standard errors.

    A Poisson regression of ``observed`` (N,) with offset log ``expected`` and ridge penalties. Each
    sweep takes one Newton step of every factor in turn, given the others (backfitting; Hastie and
    Tibshirani 1990).
    """
    cell = np.zeros(len(observed), dtype=np.int64)
    for factor in factors:
        cell = cell * len(factor.penalty) + factor.segment
    _, first, cell = np.unique(cell, return_index=True, return_inverse=True)
    observed = np.bincount(cell, observed).astype(np.float64)
    expected = np.bincount(cell, expected).astype(np.float64)
    factors = [factor._replace(segment=factor.segment[first]) for factor in factors]
    effects = [np.zeros(len(factor.penalty)) for factor in factors]
    errors = [np.zeros(len(factor.penalty)) for factor in factors]
    for _ in range(_SWEEPS):
        for number, factor in enumerate(factors):
            log_rate_ratio = np.zeros(len(expected))
            for other_effect, other in zip(effects, factors, strict=True):
                log_rate_ratio += other_effect[other.segment]
            fitted = expected * np.exp(log_rate_ratio)
            segments, effect = len(factor.penalty), effects[number]
            curvature = np.bincount(factor.segment, fitted, segments) + factor.penalty
            # An infinite penalty fixes a segment at 0.
            finite_penalty = np.where(np.isinf(factor.penalty), 0.0, factor.penalty)
            residual = np.bincount(factor.segment, observed - fitted, segments)
            gradient = residual - finite_penalty * effect
            changed = effect + gradient / curvature
            effects[number] = np.clip(changed, -MAX_LOG_RATE_RATIO, MAX_LOG_RATE_RATIO)
            errors[number] = 1.0 / np.sqrt(curvature)
    return effects, errors
