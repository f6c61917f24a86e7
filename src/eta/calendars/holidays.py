"""Public holidays by country and region: those of the ``holidays`` library, and what a shop's calendar file changes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import holidays
import numpy as np
from numpy.typing import NDArray

from eta.calendars.zones import zone_of
from eta.domain.errors import InvalidSetting
from eta.domain.vocabulary import TimezoneSource

_MAX_VERSION_LENGTH = 64
_COUNTRY, _REGION = re.compile("[A-Z]{2}"), re.compile("[A-Z0-9]{1,3}")
_PLACE_KEYS = ("country", "region", "closed", "open")


@dataclass(frozen=True)
class HolidayCalendar:
    """The days that are holidays at each place: the library's, but where ``places`` says otherwise.

    ``places`` has, by country and region (None for the whole country), days that are holidays
    (True) or are not (False). A region's days count before its country's, and those before the
    library's.
    """

    #: What the calendar file calls itself; None where there is no file.
    version: str | None = None
    places: Mapping[tuple[str, str | None], Mapping[date, bool]] = field(
        default_factory=dict, hash=False
    )

    @classmethod
    def from_toml(cls, text: str) -> HolidayCalendar:
        """The holidays of a calendar file.

        Example::

            version = "2026-11"
            [[places]]
            country = "AT"
            region = "9"            # left out: the whole country, all its regions
            closed = [2026-11-15]   # holidays beside the library's
            open = [2026-12-08]     # none, although the library says so

        Raises:
            InvalidSetting: if the text is no TOML, has an unknown key, no version, an impossible
                place, a day that is no date, a day both open and closed, or the same place twice.
                It names the place and the mend.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSetting(f"the calendar is no TOML: {error}") from None
        _reject_unknown_keys(values, ("version", "places"), "the calendar")
        version = values.get("version")
        if not (
            isinstance(version, str)
            and version.strip()
            and version.isprintable()
            and len(version) <= _MAX_VERSION_LENGTH
        ):
            raise InvalidSetting(
                f'the calendar has no version; write one of 1 to {_MAX_VERSION_LENGTH} characters, such as version = "2026-11"'
            )
        entries = values.get("places", [])
        if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            raise InvalidSetting(
                "the calendar's places are no list of tables; start each with [[places]]"
            )
        places: dict[tuple[str, str | None], Mapping[date, bool]] = {}
        for number, entry in enumerate(entries, start=1):
            place = _place(entry, f"place {number} of the calendar")
            if place in places:
                raise InvalidSetting(
                    f"{_place_label(place)} is in the calendar twice; put all its days into one entry"
                )
            places[place] = _days(entry, _place_label(place))
        return cls(version, places)

    @lru_cache(maxsize=10_000)  # noqa: B019  # there are few calendars, and each is kept as long as the program runs
    def dates(
        self, country: str | None, region: str | None, first_year: int, last_year: int
    ) -> NDArray[np.datetime64]:
        """Sorted ``datetime64[D]`` holidays of a place, for reading only; none where nobody knows the country.

        A region that the library does not list has its country's holidays.
        """
        days = _library_days(country, region, first_year, last_year)
        overrides = (
            {**self.places.get((country, None), {}), **self.places.get((country, region), {})}
            if country
            else {}
        )
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


def _library_days(
    country: str | None, region: str | None, first_year: int, last_year: int
) -> set[date]:
    supported = holidays.list_supported_countries()
    if country not in supported:
        return set()
    subdivision = region if region in supported[country] else None
    return set(
        holidays.country_holidays(
            country, subdiv=subdivision, years=range(first_year, last_year + 1)
        )
    )


def _place(entry: Mapping[str, Any], where: str) -> tuple[str, str | None]:
    country, region = entry.get("country"), entry.get("region")
    if not (isinstance(country, str) and _COUNTRY.fullmatch(country)):
        raise InvalidSetting(
            f'{where} has no country; write its ISO 3166-1 code in two capital letters, such as country = "AT"'
        )
    if (
        zone_of(country, None)[1] is TimezoneSource.ASSUMED_UTC
        and country not in holidays.list_supported_countries()
    ):
        raise InvalidSetting(
            f"{where}: there is no country {country}; write its ISO 3166-1 code, such as AT"
        )
    if not (region is None or (isinstance(region, str) and _REGION.fullmatch(region))):
        raise InvalidSetting(
            f'{where}, {country}: {region!r} is no region; write the country\'s own short form, such as region = "9", or leave it out'
        )
    _reject_unknown_keys(entry, _PLACE_KEYS, f"{_place_label((country, region))} in the calendar")
    return country, region


def _days(entry: Mapping[str, Any], place: str) -> dict[date, bool]:
    """The days of one place that are holidays, and those that are not."""
    days: dict[date, bool] = {}
    for key, is_holiday in (("closed", True), ("open", False)):
        entry_days = entry.get(key, [])
        if not isinstance(entry_days, list):
            raise InvalidSetting(
                f"{key} of {place} in the calendar is no list; write {key} = [2026-12-08]"
            )
        for day in entry_days:
            # A date with a time of day is a date to Python too.
            if type(day) is not date:
                raise InvalidSetting(
                    f"{key} of {place} in the calendar holds {day!r}, which is no date; write it without quotes, as 2026-12-08"
                )
            if days.setdefault(day, is_holiday) is not is_holiday:
                raise InvalidSetting(
                    f"{place} is both open and closed on {day} in the calendar; leave the day in one of the two lists"
                )
    return days


def _reject_unknown_keys(values: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        raise InvalidSetting(
            f"{where} has the unknown key {unknown[0]!r}; there are {', '.join(allowed)}"
        )


def _place_label(place: tuple[str, str | None]) -> str:
    country, region = place
    return f"{country}-{region}" if region else country
