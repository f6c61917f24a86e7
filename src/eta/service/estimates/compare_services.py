"""Comparison of carrier services: the fastest, the safest, the cheapest and the dominated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from eta.forecast.support import SUPPORT_LEVELS
from eta.service.scoring.assessment import Assessment

#: Support levels of parcels that went with the same service on the same lane.
_SAME_SERVICE_LEVELS = SUPPORT_LEVELS[:2]


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
    #: Assessments that rest on other services or other lanes, if several are compared: past choices
    #: do not overlap there.
    unseen: tuple[int, ...] = ()


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
    for dominated_number in dated:
        other = _dominating(dominated_number, dated, assessments, prices)
        if other is not None:
            pairs.append((dominated_number, other))
    dominated = tuple(pairs)
    return Comparison(
        fastest=_argmin(dated, lambda number: _speed(assessments[number])),
        safest=_argmin(dated, lambda number: _safety(assessments[number])),
        cheapest=_argmin(priced, lambda number: (prices[number], _speed(assessments[number]))),
        dominated=dominated,
        unseen=_unseen(assessments),
    )


def _speed(assessment: Assessment) -> tuple[date, date]:
    """The key of the fastest: the lower, the faster."""
    return assessment.estimated_on or date.max, assessment.latest_on or date.max


def _safety(assessment: Assessment) -> tuple[float, date, date]:
    """The key of the safest: the lower, the safer."""
    estimated_on, latest_on = _speed(assessment)
    return _risk(assessment), latest_on, estimated_on


def _argmin(numbers: Sequence[int], key: Callable[[int], Any]) -> int | None:
    return min(numbers, key=key) if numbers else None


def _unseen(assessments: Sequence[Assessment]) -> tuple[int, ...]:
    """The assessments, of several, that rest on other services or lanes."""
    if len(assessments) == 1:
        return ()
    return tuple(
        number
        for number, assessment in enumerate(assessments)
        if assessment.support_level not in _SAME_SERVICE_LEVELS
    )


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
    return (
        *_speed(assessment),
        _risk(assessment),
        price or 0.0,
    )


def _risk(assessment: Assessment) -> float:
    """The lower, the higher the probability by the desired date; 0 without one."""
    probability = assessment.desired_probability
    return 0.0 if probability is None else -probability
