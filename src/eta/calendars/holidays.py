"""Public holidays by country and region: the ``holidays`` library, changed by a shop's file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import holidays
import numpy as np
from numpy.typing import NDArray

from eta.calendars.places import place_name, resolve_country, resolve_region
from eta.calendars.zones import REGION_ZONES
from eta.domain.errors import InvalidSetting, InvalidValue

_MAX_VERSION_LENGTH = 64
_Place = tuple[str, str | None]
_PLACE_KEYS = ("country", "region", "closed", "open")


@dataclass(frozen=True)
class HolidayCalendar:
    """The days that are holidays at each place: the library's, changed by ``places``.

    ``places`` has, by country and region (None for the whole country), days that are holidays
    (True) or are not (False). A region's days count before its country's, and those before the
    library's.
    """

    #: The version of the calendar file; None without a file.
    version: str | None = None
    places: Mapping[_Place, Mapping[date, bool]] = field(default_factory=dict, hash=False)

    @classmethod
    def from_toml(cls, text: str) -> HolidayCalendar:
        """The holidays of a calendar file.

        Example::

            version = "2026-11"
            [[places]]
            country = "AT"
            region = "9"            # left out: the whole country, all its regions
            closed = [2026-11-15]   # holidays in addition to the library's
            open = [2026-12-08]     # not holidays, although the library lists them

        Raises:
            InvalidSetting: if the text is not TOML, has an unknown key, no version, an impossible
                place, a day that is not a date, a day both open and closed, or the same place
                twice. It names the place and how to fix it.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSetting(f"the calendar is not valid TOML: {error}") from None
        _reject_unknown_keys(values, ("version", "places"), "the calendar")
        version: Any = values.get("version")
        is_text = isinstance(version, str) and version.isprintable()
        if is_text and version.strip() and len(version) <= _MAX_VERSION_LENGTH:
            return cls(version, _places(values))
        raise InvalidSetting(
            f"the calendar has no version; write one of 1 to {_MAX_VERSION_LENGTH} characters, "
            'such as version = "2026-11"'
        )

    @lru_cache(maxsize=10_000)  # noqa: B019  # there are few calendars, and each is used as long as the program runs
    def dates(
        self, country: str | None, region: str | None, first_year: int, last_year: int
    ) -> NDArray[np.datetime64]:
        """Sorted ``datetime64[D]`` holidays of a place, read-only; none if the country is unknown.

        A region that the library does not list has its country's holidays.
        """
        days: set[date] = set()
        supported = holidays.list_supported_countries()
        if country in supported:
            subdivision = region if region in supported[country] else None
            years = range(first_year, last_year + 1)
            days.update(holidays.country_holidays(country, subdiv=subdivision, years=years))
        # The days of the calendar file; the region's come before the country's.
        overrides: dict[date, bool] = {}
        if country:
            overrides |= self.places.get((country, None), {})
            overrides |= self.places.get((country, region), {})
        for day, is_holiday in overrides.items():
            if is_holiday and first_year <= day.year <= last_year:
                days.add(day)
            elif not is_holiday:
                days.discard(day)
        dates = np.array(sorted(days), dtype="datetime64[D]")
        dates.flags.writeable = False
        return dates


#: The holidays of the library alone.
PUBLIC_HOLIDAYS = HolidayCalendar()


def has_region(country: str, region: str | None) -> bool:
    """Whether the country has a region with this short form."""
    return (country, region) in REGION_ZONES or region in holidays.list_supported_countries().get(
        country, ()
    )


def _places(values: Mapping[str, Any]) -> dict[_Place, Mapping[date, bool]]:
    """The days of every place of the calendar file."""
    entries = values.get("places", [])
    is_list_of_tables = isinstance(entries, list) and all(
        isinstance(item, dict) for item in entries
    )
    if not is_list_of_tables:
        raise InvalidSetting(
            "the calendar's places are not a list of tables; start each with [[places]]"
        )
    places: dict[_Place, Mapping[date, bool]] = {}
    for number, entry in enumerate(entries, start=1):
        place = _place(entry, f"place {number} of the calendar")
        label = f"{place_name(*place)}"
        if place in places:
            raise InvalidSetting(
                f"{label} is in the calendar twice; put all its days into one entry"
            )
        places[place] = _days(entry, label)
    return places


def _place(entry: Mapping[str, Any], where: str) -> _Place:
    country, region = entry.get("country"), entry.get("region")
    if not isinstance(country, str):
        raise InvalidSetting(
            f'{where} has no country; write its ISO 3166-1 code, such as country = "AT"'
        )
    if region is not None and not isinstance(region, str):
        raise InvalidSetting(
            f"{where}, {country}: {region!r} is not a region; write the country's own short form, "
            'such as region = "9", or leave it out'
        )
    try:
        country = resolve_country(country)
        region = None if region is None else resolve_region(country, region)
    except InvalidValue as error:
        raise InvalidSetting(f"{where}: {error.problem}; {error.hint}") from None
    label = place_name(country, region)
    _reject_unknown_keys(entry, _PLACE_KEYS, f"{label} in the calendar")
    return country, region


def _days(entry: Mapping[str, Any], place: str) -> dict[date, bool]:
    """The days of one place that are holidays (True), and those that are not."""
    days: dict[date, bool] = {}
    for key, is_holiday in (("closed", True), ("open", False)):
        listed = entry.get(key, [])
        where = f"{key} of {place} in the calendar"
        if not isinstance(listed, list):
            raise InvalidSetting(f"{where} is not a list; write {key} = [2026-12-08]")
        for day in listed:
            # A date with a time of day is a date to Python too.
            if type(day) is not date:
                raise InvalidSetting(
                    f"{where} holds {day!r}, which is not a date; write it without quotes, "
                    "as 2026-12-08"
                )
        for day in listed:
            if days.setdefault(day, is_holiday) is not is_holiday:
                raise InvalidSetting(
                    f"{place} is both open and closed on {day} in the calendar; "
                    "leave the day in one of the two lists"
                )
    return days


def _reject_unknown_keys(values: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        raise InvalidSetting(
            f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(allowed)}"
        )
