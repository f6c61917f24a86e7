"""Which of several carrier services to take: the fastest, the safest, the cheapest, and those that another one beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from eta.forecast.support import LADDER
from eta.service.scoring.assessment import Answer

#: Rungs of parcels that went with the same service on the same lane.
_OF_THE_SERVICE = LADDER[:2]


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


def compare_services(answers: Sequence[Answer], prices: Sequence[float | None]) -> Comparison:
    """Compares answers about the same lane; those without dates are left out, and prices that are not known beat nothing."""
    dated = [number for number, answer in enumerate(answers) if answer.estimated_on]
    priced = [number for number in dated if prices[number] is not None]

    def speed(number: int) -> tuple[date, date]:
        return answers[number].estimated_on or date.max, answers[number].latest_on or date.max

    def safety(number: int) -> tuple[float, date, date]:
        chance = answers[number].wanted_probability
        return 0.0 if chance is None else -chance, *reversed(speed(number))  # type: ignore[return-value]  # two dates

    def price(number: int) -> tuple[float, tuple[date, date]]:
        own = prices[number]
        return float("inf") if own is None else own, speed(number)

    return Comparison(
        _first(dated, speed),
        _first(dated, safety),
        _first(priced, price),
        tuple(
            (number, other)
            for number in dated
            if (other := _better(number, dated, answers, prices)) is not None
        ),
        tuple(
            number
            for number, answer in enumerate(answers)
            if len(answers) > 1 and answer.support_level not in _OF_THE_SERVICE
        ),
    )


def _first(numbers: Sequence[int], key: Callable[[int], Any]) -> int | None:
    return min(numbers, key=key) if numbers else None


def _better(
    number: int, dated: Sequence[int], answers: Sequence[Answer], prices: Sequence[float | None]
) -> int | None:
    """An answer that is at least as good in all that is known of both, and better in something."""
    for other in dated:
        if (prices[number] is None) != (prices[other] is None):
            continue
        own, theirs = (_merits(answers[each], prices[each]) for each in (number, other))
        if own != theirs and all(their <= my for their, my in zip(theirs, own, strict=True)):
            return other
    return None


def _merits(answer: Answer, price: float | None) -> tuple[Any, ...]:
    """The less, the better."""
    chance = answer.wanted_probability
    return (
        answer.estimated_on or date.max,
        answer.latest_on or date.max,
        0.0 if chance is None else -chance,
        price or 0.0,
    )
