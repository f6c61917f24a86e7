"""The time zone of a place, and its source.

Regions are listed for the large countries whose domestic parcels cross zones. The other countries
have the zone of the capital or of most people; the source says so.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo

from eta.domain.vocabulary import TimezoneSource

_BRAZIL = {
    "America/Rio_Branco": "AC",
    "America/Manaus": "AM",
    "America/Porto_Velho": "RO",
    "America/Boa_Vista": "RR",
    "America/Cuiaba": "MT",
    "America/Campo_Grande": "MS",
    "America/Belem": "AP PA",
    "America/Araguaina": "TO",
    "America/Maceio": "AL SE",
    "America/Bahia": "BA",
    "America/Fortaleza": "CE MA PB PI RN",
    "America/Recife": "PE",
    "America/Sao_Paulo": "DF ES GO MG PR RJ RS SC SP",
}
_UNITED_STATES = {
    "America/New_York": "CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV",
    "America/Chicago": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
    "America/Denver": "CO ID MT NM UT WY",
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA NV OR WA",
    "America/Anchorage": "AK",
    "Pacific/Honolulu": "HI",
    "America/Puerto_Rico": "PR VI",
}
_CANADA = {
    "America/St_Johns": "NL",
    "America/Halifax": "NB NS PE",
    "America/Toronto": "ON QC NU",
    "America/Winnipeg": "MB",
    "America/Regina": "SK",
    "America/Edmonton": "AB NT",
    "America/Vancouver": "BC",
    "America/Whitehorse": "YT",
}
_AUSTRALIA = {
    "Australia/Sydney": "ACT NSW",
    "Australia/Melbourne": "VIC",
    "Australia/Hobart": "TAS",
    "Australia/Brisbane": "QLD",
    "Australia/Adelaide": "SA",
    "Australia/Darwin": "NT",
    "Australia/Perth": "WA",
}

REGION_ZONES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (country, region): zone
        for country, zones in {
            "BR": _BRAZIL,
            "US": _UNITED_STATES,
            "CA": _CANADA,
            "AU": _AUSTRALIA,
        }.items()
        for zone, regions in zones.items()
        for region in regions.split()
    }
)

#: Countries with several zones: the default without a listed region.
COUNTRY_ZONES: Mapping[str, str] = MappingProxyType(
    {
        "AQ": "Antarctica/McMurdo",
        "AR": "America/Argentina/Buenos_Aires",
        "AU": "Australia/Sydney",
        "BR": "America/Sao_Paulo",
        "CA": "America/Toronto",
        "CD": "Africa/Kinshasa",
        "CL": "America/Santiago",
        "CN": "Asia/Shanghai",
        "CY": "Asia/Nicosia",
        "DE": "Europe/Berlin",
        "EC": "America/Guayaquil",
        "ES": "Europe/Madrid",
        "FM": "Pacific/Pohnpei",
        "GL": "America/Nuuk",
        "ID": "Asia/Jakarta",
        "KI": "Pacific/Tarawa",
        "KZ": "Asia/Almaty",
        "MH": "Pacific/Majuro",
        "MN": "Asia/Ulaanbaatar",
        "MX": "America/Mexico_City",
        "MY": "Asia/Kuala_Lumpur",
        "NZ": "Pacific/Auckland",
        "PF": "Pacific/Tahiti",
        "PG": "Pacific/Port_Moresby",
        "PS": "Asia/Hebron",
        "PT": "Europe/Lisbon",
        "RU": "Europe/Moscow",
        "UA": "Europe/Kyiv",
        "UM": "Pacific/Wake",
        "US": "America/New_York",
        "UZ": "Asia/Tashkent",
        "VN": "Asia/Ho_Chi_Minh",
    }
)


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


@lru_cache(maxsize=10_000)
def zone_of(country: str | None, region: str | None) -> tuple[str, TimezoneSource]:
    """The IANA zone of a place and its source.

    Args:
        country: ISO 3166-1 alpha-2, or None.
        region: the country's own short form, or None.
    """
    if country and region and (country, region) in REGION_ZONES:
        return REGION_ZONES[country, region], TimezoneSource.REGION
    zones = _zones_by_country().get(country or "", ())
    zone = COUNTRY_ZONES.get(country or "") or (zones[0] if len(zones) == 1 else None)
    if zone:
        return zone, TimezoneSource.COUNTRY_DEFAULT
    return "UTC", TimezoneSource.ASSUMED_UTC


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
