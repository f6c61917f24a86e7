"""Holidays by place, carrier and shop: the ``holidays`` library, changed by a shop's file.

Large carriers rest on days of their own (``carriers``). Other carriers, and shops, rest on the
public holidays of the country and region; holidays of a state of the United States close its
offices alone, so that there the national ones count.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import holidays
import numpy as np
from numpy.typing import NDArray

from eta.calendars.carriers import carrier_holidays, carrier_name
from eta.calendars.places import place_name, resolve_country, resolve_region
from eta.domain.errors import InvalidSetting, InvalidValue

_MAX_VERSION_LENGTH = 64
_Place = tuple[str | None, str | None]
_Days = Mapping[date, bool]
_ENTRY_KEYS = ("country", "region", "carrier", "shop", "closed", "open")
#: Countries whose regional holidays are those of offices.
_OFFICE_HOLIDAYS = frozenset({"US"})


class _Whose(NamedTuple):
    """Whose holidays they are: a place's, a carrier's, or those of a shop with a carrier."""

    #: Its ``carrier_name``; None for a place.
    carrier: str | None
    is_shop: bool = False


_PLACE, _UNKNOWN = _Whose(carrier=None), ""


class _Key(NamedTuple):
    """To what an entry of a calendar file applies; None for every place, or every carrier."""

    country: str | None
    region: str | None
    carrier: str | None
    is_shop: bool

    def __str__(self) -> str:
        whose = "the shop" if self.is_shop else self.carrier
        return " in ".join(filter(None, (whose, place_name(self.country, self.region))))


@dataclass(frozen=True)
class HolidayCalendar:
    """The days that are holidays: the library's and the carriers', changed by a calendar file.

    The file's days are holidays (True) or are not (False), by country and region, None for all.
    Those of the shop count before those of a carrier, and those before the ones of the place; a
    region's count before its country's.

    A file::

        version = "2026-11"
        [[places]]
        country = "AT"
        region = "9"            # left out: the whole country, all its regions
        closed = [2026-11-15]   # holidays in addition to the library's
        open = [2026-12-08]     # not holidays, although the library lists them
        [[places]]
        carrier = "ups"         # days of a carrier, of a place or everywhere
        closed = [2026-11-27]
        [[places]]
        shop = true             # days on which the shop handles no orders
        country = "AT"
        closed = [2026-12-24]
    """

    #: The version of the calendar file; None without a file.
    version: str | None = None
    places: Mapping[_Place, _Days] = field(default_factory=dict, hash=False)
    #: By ``carrier_name``.
    carriers: Mapping[str, Mapping[_Place, _Days]] = field(default_factory=dict, hash=False)
    #: The days on which the shop handles no orders, or does.
    shop: Mapping[_Place, _Days] = field(default_factory=dict, hash=False)

    @classmethod
    def from_toml(cls, text: str) -> HolidayCalendar:
        """The holidays of a calendar file.

        Raises:
            InvalidSetting: if the text is not TOML, has an unknown key, no version, an impossible
                place or carrier, a day that is not a date, a day both open and closed, or two
                entries for the same. It names the entry and how to fix it.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSetting(f"the calendar is not valid TOML: {error}") from None
        _reject_unknown_keys(values, ("version", "places"), "the calendar")
        version: Any = values.get("version")
        is_text = isinstance(version, str) and version.isprintable()
        if is_text and version.strip() and len(version) <= _MAX_VERSION_LENGTH:
            return cls._from_entries(version, _entries(values))
        raise InvalidSetting(
            f"the calendar has no version; write one of 1 to {_MAX_VERSION_LENGTH} characters, "
            'such as version = "2026-11"'
        )

    @classmethod
    def _from_entries(cls, version: str, entries: Mapping[_Key, _Days]) -> HolidayCalendar:
        places, shop = dict[_Place, _Days](), dict[_Place, _Days]()
        carriers: dict[str, dict[_Place, _Days]] = {}
        for key, days in entries.items():
            of_carrier = carriers.setdefault(key.carrier, {}) if key.carrier else places
            (shop if key.is_shop else of_carrier)[key.country, key.region] = days
        return cls(version, places, carriers, shop)

    def dates(
        self, country: str | None, region: str | None, first_year: int, last_year: int
    ) -> NDArray[np.datetime64]:
        """Sorted ``datetime64[D]`` holidays of a place, read-only; none if the country is unknown.

        A region that the library does not list has its country's holidays.
        """
        return self._dates(country, region, first_year, last_year, _PLACE)

    def closed_dates(
        self,
        country: str | None,
        region: str | None,
        first_year: int,
        last_year: int,
        carrier: str | None = None,
        *,
        is_shop: bool = False,
    ) -> NDArray[np.datetime64]:
        """As ``dates``, the days on which a carrier rests; it may be unknown.

        With ``is_shop`` they are those of a shop whose parcels it carries.
        """
        whose = _Whose(carrier_name(carrier) if carrier else _UNKNOWN, is_shop)
        return self._dates(country, region, first_year, last_year, whose)

    @lru_cache(maxsize=10_000)  # noqa: B019  # there are few calendars, and each is used as long as the program runs
    def _dates(
        self,
        country: str | None,
        region: str | None,
        first_year: int,
        last_year: int,
        whose: _Whose,
    ) -> NDArray[np.datetime64]:
        days = _holidays(country, region, first_year, last_year, whose.carrier)
        for day, is_holiday in self._overrides(country, region, whose).items():
            if is_holiday and first_year <= day.year <= last_year:
                days.add(day)
            elif not is_holiday:
                days.discard(day)
        dates = np.array(sorted(days), dtype="datetime64[D]")
        dates.flags.writeable = False
        return dates

    def _overrides(self, country: str | None, region: str | None, whose: _Whose) -> _Days:
        """The days of the calendar file, the most specific ones last."""
        days: dict[date, bool] = {}
        shop = self.shop if whose.is_shop else {}
        for entries in (self.places, self.carriers.get(whose.carrier or _UNKNOWN, {}), shop):
            for place in ((None, None), (country, None), (country, region)):
                days |= entries.get(place, {})
        return days


def _holidays(
    country: str | None, region: str | None, first_year: int, last_year: int, carrier: str | None
) -> set[date]:
    """The holidays of a carrier, or else those of the place by the library."""
    if country and carrier:
        own = carrier_holidays(carrier, country, region, first_year, last_year)
        if own is not None:
            return own
    supported = holidays.list_supported_countries()
    if country not in supported:
        return set()
    is_office = carrier is not None and country in _OFFICE_HOLIDAYS
    subdivision = region if region in supported[country] and not is_office else None
    years = range(first_year, last_year + 1)
    return set(holidays.country_holidays(country, subdiv=subdivision, years=years))


#: The holidays of the library alone.
PUBLIC_HOLIDAYS = HolidayCalendar()


def _entries(values: Mapping[str, Any]) -> dict[_Key, _Days]:
    """The days of every entry of the calendar file."""
    listed = values.get("places", [])
    is_list_of_tables = isinstance(listed, list) and all(isinstance(item, dict) for item in listed)
    if not is_list_of_tables:
        raise InvalidSetting(
            "the calendar's places are not a list of tables; start each with [[places]]"
        )
    entries: dict[_Key, _Days] = {}
    for number, entry in enumerate(listed, start=1):
        key = _key(entry, f"place {number} of the calendar")
        if key in entries:
            raise InvalidSetting(f"{key} is in the calendar twice; put all its days into one entry")
        entries[key] = _days(entry, str(key))
    return entries


def _key(entry: Mapping[str, Any], where: str) -> _Key:
    carrier, is_shop = entry.get("carrier"), entry.get("shop", False)
    if carrier is not None and not (isinstance(carrier, str) and carrier_name(carrier)):
        raise InvalidSetting(f'{where}: {carrier!r} is not a carrier; write carrier = "ups"')
    if not isinstance(is_shop, bool):
        raise InvalidSetting(f"{where}: shop is {is_shop!r}; write shop = true, or leave it out")
    if carrier and is_shop:
        raise InvalidSetting(f"{where} names a carrier and the shop; write one entry for each")
    is_everywhere = (carrier or is_shop) and not {"country", "region"} & set(entry)
    country, region = (None, None) if is_everywhere else _place(entry, where)
    key = _Key(country, region, carrier_name(carrier) if carrier else None, is_shop)
    _reject_unknown_keys(entry, _ENTRY_KEYS, f"{key} in the calendar")
    return key


def _place(entry: Mapping[str, Any], where: str) -> tuple[str, str | None]:
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
