"""Holidays of large carriers where they differ from public ones, from ``carriers.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import holidays

_CATEGORIES = ("public", "government", "optional")
_WEEKEND = (6, 7)


@dataclass(frozen=True, kw_only=True)
class _Closure:
    """Holidays, by their names in the library, on which carriers neither pick up nor deliver."""

    carriers: tuple[str, ...]
    country: str
    #: Countries where the same days count, such as territories.
    also_in: tuple[str, ...] = ()
    holidays: tuple[str, ...]
    #: Only there; empty for the whole country.
    regions: tuple[str, ...] = ()
    #: The region of the library whose list has them all; None for the country's list.
    listed_in: str | None = None
    #: ISO weekdays whose holidays close the next day that is neither a holiday nor a weekend's too.
    moved_from: tuple[int, ...] = ()

    def applies(self, carrier: str, country: str) -> bool:
        """Whether it is one of the carrier's in the country."""
        return carrier in self.carriers and country in (self.country, *self.also_in)

    def dates(self, years: range) -> set[date]:
        """Every day of these years."""
        known = holidays.country_holidays(self.country).supported_categories
        listed = holidays.country_holidays(
            self.country,
            subdiv=self.listed_in,
            years=years,
            observed=False,
            language="en_US",
            categories=[name for name in _CATEGORIES if name in known],
        )
        days = {day for name in self.holidays for day in listed.get_named(name, lookup="exact")}
        for day in sorted(days):
            moved = day
            while day.isoweekday() in self.moved_from and (
                moved in days or moved.isoweekday() in _WEEKEND
            ):
                moved += timedelta(days=1)
            days.add(moved)
        return days


@lru_cache(maxsize=10_000)
def carrier_name(code: str) -> str:
    """The one name of a carrier, whatever its code's capitals, blanks and punctuation."""
    letters = "".join(filter(str.isalnum, code)).casefold()
    aliases: Mapping[str, list[str]] = _table()["aliases"]
    return next((name for name, others in aliases.items() if letters in others), letters)


@lru_cache(maxsize=10_000)
def has_own_holidays(carrier: str, country: str) -> bool:
    """Whether a carrier, by its ``carrier_name``, rests on other days than the public ones."""
    return any(closure.applies(carrier, country) for closure in _closures())


def carrier_holidays(
    carrier: str, country: str, region: str | None, first_year: int, last_year: int
) -> set[date] | None:
    """Days on which a carrier, by its ``carrier_name``, rests; None for the public holidays."""
    if not has_own_holidays(carrier, country):
        return None
    days: set[date] = set()
    for closure in _closures():
        is_there = not closure.regions or region in closure.regions
        if closure.applies(carrier, country) and is_there:
            days |= closure.dates(range(first_year, last_year + 1))
    return days


@cache
def _closures() -> tuple[_Closure, ...]:
    def as_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}

    return tuple(_Closure(**as_tuples(entry)) for entry in _table()["closures"])


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((files("eta.calendars") / "carriers.toml").read_text(encoding="utf-8"))
