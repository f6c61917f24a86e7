"""Which of several carrier services to take: the fastest, the safest, the cheapest, and those that another one beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from eta.forecast.support import SUPPORT_LEVELS
from eta.service.scoring.assessment import Assessment

#: Rungs of parcels that went with the same service on the same lane.
_SAME_SERVICE_LEVELS = SUPPORT_LEVELS[:2]


@dataclass(frozen=True)
class Comparison:
    """Numbers of answers in their order, None where no answer has what is compared."""

    #: The earliest median date; of several the earlier end of the window.
    fastest: int | None
    #: The highest chance by the wanted date, else the earliest end of the window.
    safest: int | None
    #: The lowest price.
    cheapest: int | None
    #: Answers with one that is no later, no less safe and no dearer, and better in one of these.
    dominated: tuple[tuple[int, int], ...]
    #: Answers that rest on other services or other lanes, while several are compared: past choices
    #: do not overlap there.
    unseen: tuple[int, ...] = ()


def compare_services(
    assessments: Sequence[Assessment], prices: Sequence[float | None]
) -> Comparison:
    """Compares answers about the same lane; those without dates are left out, and prices that are not known beat nothing."""
    dated = [number for number, assessment in enumerate(assessments) if assessment.estimated_on]
    priced = [number for number in dated if prices[number] is not None]

    def speed(number: int) -> tuple[date, date]:
        return assessments[number].estimated_on or date.max, assessments[
            number
        ].latest_on or date.max

    def safety(number: int) -> tuple[float, date, date]:
        probability = assessments[number].desired_probability
        return 0.0 if probability is None else -probability, *reversed(speed(number))  # type: ignore[return-value]  # two dates

    def price(number: int) -> tuple[float, tuple[date, date]]:
        value = prices[number]
        return float("inf") if value is None else value, speed(number)

    return Comparison(
        _argmin(dated, speed),
        _argmin(dated, safety),
        _argmin(priced, price),
        tuple(
            (number, other)
            for number in dated
            if (other := _dominating(number, dated, assessments, prices)) is not None
        ),
        tuple(
            number
            for number, assessment in enumerate(assessments)
            if len(assessments) > 1 and assessment.support_level not in _SAME_SERVICE_LEVELS
        ),
    )


def _argmin(numbers: Sequence[int], key: Callable[[int], Any]) -> int | None:
    return min(numbers, key=key) if numbers else None


def _dominating(
    number: int,
    dated: Sequence[int],
    assessments: Sequence[Assessment],
    prices: Sequence[float | None],
) -> int | None:
    """An answer that is at least as good in all that is known of both, and better in something."""
    for other in dated:
        if (prices[number] is None) != (prices[other] is None):
            continue
        objectives, other_objectives = (
            _objectives(assessments[index], prices[index]) for index in (number, other)
        )
        if objectives != other_objectives and all(
            other_value <= value
            for other_value, value in zip(other_objectives, objectives, strict=True)
        ):
            return other
    return None


def _objectives(assessment: Assessment, price: float | None) -> tuple[Any, ...]:
    """The less, the better."""
    probability = assessment.desired_probability
    return (
        assessment.estimated_on or date.max,
        assessment.latest_on or date.max,
        0.0 if probability is None else -probability,
        price or 0.0,
    )
