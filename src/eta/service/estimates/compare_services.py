"""Comparison of carrier services: the fastest, the safest, the cheapest and the dominated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from eta.service.scoring.assessment import Assessment


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Positions of assessments in their order, None if no assessment has what is compared."""

    #: The earliest median date; of several the earliest end of the window.
    fastest: int | None
    #: The highest probability by the desired date, else the earliest end of the window.
    safest: int | None
    #: The lowest price.
    cheapest: int | None
    #: Pairs of an assessment and another that is no later, no less safe and no dearer, and better
    #: in one of these.
    dominated: tuple[tuple[int, int], ...]


def compare_services(
    assessments: Sequence[Assessment], prices: Sequence[float | None]
) -> Comparison:
    """The comparison of assessments of the same lane.

    Assessments without dates are left out; a missing price beats nothing.
    """
    dated = [number for number, assessment in enumerate(assessments) if assessment.estimated_on]
    priced = [number for number in dated if prices[number] is not None]

    # Each dominated assessment, with the first that dominates it.
    pairs = []
    for number in dated:
        other = _dominating(number, dated, assessments, prices)
        if other is not None:
            pairs.append((number, other))
    # Of each key, the lower, the better.
    speeds = [_speed(assessment) for assessment in assessments]
    risks = [_risk(assessment) for assessment in assessments]
    fastest = _argmin(dated, lambda number: speeds[number])
    safest = _argmin(dated, lambda number: (risks[number], *reversed(speeds[number])))
    cheapest = _argmin(priced, lambda number: (prices[number], speeds[number]))
    return Comparison(
        fastest=fastest,
        safest=safest,
        cheapest=cheapest,
        dominated=tuple(pairs),
    )


def _speed(assessment: Assessment) -> tuple[date, date]:
    """The key of the fastest: the lower, the faster."""
    estimated_on = assessment.estimated_on or date.max
    latest_on = assessment.latest_on or date.max
    return estimated_on, latest_on


def _argmin(numbers: Sequence[int], key: Callable[[int], Any]) -> int | None:
    return min(numbers, key=key) if numbers else None


def _dominating(
    number: int,
    dated: Sequence[int],
    assessments: Sequence[Assessment],
    prices: Sequence[float | None],
) -> int | None:
    """An assessment that is at least as good in every objective, and better in one."""
    objectives = _objectives(assessments[number], prices[number])
    for other in dated:
        if (prices[number] is None) != (prices[other] is None):
            continue
        other_objectives = _objectives(assessments[other], prices[other])
        pairs = zip(other_objectives, objectives, strict=True)
        is_no_worse = all(other_value <= value for other_value, value in pairs)
        if is_no_worse and objectives != other_objectives:
            return other
    return None


def _objectives(assessment: Assessment, price: float | None) -> tuple[Any, ...]:
    """What is compared: the lower, the better."""
    estimated_on, latest_on = _speed(assessment)
    return estimated_on, latest_on, _risk(assessment), price or 0.0


def _risk(assessment: Assessment) -> float:
    """The lower, the higher the probability by the desired date; 0 without one."""
    probability = assessment.desired_probability
    return 0.0 if probability is None else -probability
