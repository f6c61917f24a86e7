"""The time zone of a place, and its source.

Zones of regions and postcodes are listed for the countries that have several. Without a region or
postcode such a country has the zone of the capital or of most people; the source says so.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo

from eta.calendars.place_tables import Prefixes, read_table
from eta.calendars.postcodes import compact, region_at, region_of_postcode
from eta.domain.shipment import Place
from eta.domain.vocabulary import TimezoneSource

_UTC = "UTC"
_ROWS = read_table("zones")

#: Zones by country and region.
REGION_ZONES: Mapping[tuple[str, str], str] = MappingProxyType(
    {(row["country"], region): row["zone"] for row in _ROWS for region in row["regions"].split()}
)

#: Countries with several zones: the default without a listed region.
COUNTRY_ZONES: Mapping[str, str] = MappingProxyType(
    {row["country"]: row["zone"] for row in _ROWS if not (row["regions"] or row["postcodes"])}
)


@cache
def _postcode_zones() -> Mapping[str, Prefixes]:
    """Country -> zones by the beginning of a postcode, where they differ within regions."""
    tables: dict[str, Prefixes] = {}
    for row in _ROWS:
        tables.setdefault(row["country"], Prefixes()).add(row["postcodes"], row["zone"])
    return tables


@cache
def _zones_by_country() -> Mapping[str, tuple[str, ...]]:
    """The zones of each country, from the time zone database's list."""
    zones: dict[str, tuple[str, ...]] = {}
    table = files("tzdata") / "zoneinfo" / "zone.tab"
    for line in table.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            zones[country] = (*zones.get(country, ()), zone)
    return MappingProxyType(zones)


@lru_cache(maxsize=100_000)
def zone_of(
    country: str | None, region: str | None, postcode: str | None = None
) -> tuple[str, TimezoneSource]:
    """The IANA zone of a place and its source.

    Args:
        country: ISO 3166-1 alpha-2, or None.
        region: the country's own short form, or None.
        postcode: it refines the region; one that lies in another region does not count.
    """
    by_postcode = region_of_postcode(country, postcode)
    place_region = region_at(country, region, postcode)
    zone, source = None, TimezoneSource.POSTAL_CODE
    if postcode and by_postcode in (None, place_region):
        table = _postcode_zones().get(country or "")
        zone = table.longest(compact(postcode)) if table else None
    if zone is None:
        zone = REGION_ZONES.get((country or "", place_region or ""))
        source = TimezoneSource.REGION if region else source
    if zone is None:
        zones = _zones_by_country().get(country or "", ())
        zone = COUNTRY_ZONES.get(country or "") or (zones[0] if len(zones) == 1 else _UTC)
        is_located = region is None and by_postcode is not None
        source = TimezoneSource.POSTAL_CODE if is_located else TimezoneSource.COUNTRY_DEFAULT
    return zone, TimezoneSource.ASSUMED_UTC if zone == _UTC else source


def zone_of_place(place: Place) -> str:
    """The IANA zone of one end of a route."""
    return zone_of(place.country, place.region, place.postcode)[0]


@cache
def has_one_time(country: str | None) -> bool:
    """Whether all clocks of the country have shown the same time since 2015, such as Germany's."""
    zones = [ZoneInfo(name) for name in _zones_by_country().get(country or "", ())]
    days = [datetime(2015, 1, 1, tzinfo=UTC) + timedelta(weeks=week) for week in range(52 * 20)]
    return all(
        day.astimezone(zone).utcoffset() == day.astimezone(zones[0]).utcoffset()
        for zone in zones[1:]
        for day in days
    ) and bool(zones)
