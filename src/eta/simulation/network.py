"""The invented network: its cities, its carriers, and how reliably each carrier reports.

Carriers are invented; cities, zones and coordinates are real. Every table is literal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class City:
    """A city that represents its region, with an outbound hub, an inbound hub and a depot."""

    country: str
    #: The country's own short form; no two cities share a region.
    region: str
    name: str
    postcode: str
    latitude: float
    longitude: float
    #: Share of the country's parcels.
    weight: float


@dataclass(frozen=True)
class Carrier:
    """A carrier, its services, and how it reports."""

    name: str
    #: Countries in which it collects.
    countries: tuple[str, ...]
    #: Service level -> how long its hubs and trucks take, relative to a standard service.
    services: Mapping[str, float]
    delivers_on_saturday: bool
    #: Share of its events that are never received.
    missing: float
    #: Share of its events that are received with the night's batch instead of at once.
    slow: float
    #: Share of its parcels that go to a counter or a locker.
    counter: float


#: The first city of each country is its gateway for parcels across the border.
CITIES = (
    City("DE", "HE", "Frankfurt", "60", 50.11, 8.68, 1.0),
    City("DE", "NW", "Köln", "50", 50.94, 6.96, 1.6),
    City("DE", "BY", "München", "80", 48.14, 11.58, 1.2),
    City("DE", "BE", "Berlin", "10", 52.52, 13.40, 1.1),
    City("DE", "HH", "Hamburg", "20", 53.55, 9.99, 0.8),
    City("DE", "SN", "Leipzig", "04", 51.34, 12.37, 0.6),
    City("AT", "9", "Wien", "10", 48.21, 16.37, 1.5),
    City("AT", "6", "Graz", "80", 47.07, 15.44, 0.6),
    City("AT", "5", "Salzburg", "50", 47.80, 13.04, 0.5),
    City("AT", "8", "Bregenz", "69", 47.50, 9.75, 0.3),
    City("FR", "IDF", "Paris", "75", 48.86, 2.35, 2.0),
    City("FR", "ARA", "Lyon", "69", 45.76, 4.84, 0.9),
    City("FR", "PAC", "Marseille", "13", 43.30, 5.37, 0.8),
    City("FR", "NAQ", "Bordeaux", "33", 44.84, -0.58, 0.6),
    City("FR", "HDF", "Lille", "59", 50.63, 3.06, 0.6),
    City("PL", "MZ", "Warszawa", "00", 52.23, 21.01, 1.4),
    City("PL", "MA", "Kraków", "30", 50.06, 19.94, 0.7),
    City("PL", "WP", "Poznań", "60", 52.41, 16.93, 0.7),
    City("PL", "PM", "Gdańsk", "80", 54.35, 18.65, 0.5),
    City("US", "IL", "Chicago", "606", 41.88, -87.63, 1.0),
    City("US", "NY", "New York", "100", 40.71, -74.01, 1.5),
    City("US", "TX", "Dallas", "752", 32.78, -96.80, 1.2),
    City("US", "CA", "Los Angeles", "900", 34.05, -118.24, 1.6),
    City("US", "GA", "Atlanta", "303", 33.75, -84.39, 0.8),
    City("US", "CO", "Denver", "802", 39.74, -104.99, 0.5),
    City("US", "WA", "Seattle", "981", 47.61, -122.33, 0.6),
    City("BR", "SP", "São Paulo", "01", -23.55, -46.63, 2.2),
    City("BR", "RJ", "Rio de Janeiro", "20", -22.91, -43.17, 1.0),
    City("BR", "MG", "Belo Horizonte", "30", -19.92, -43.94, 0.8),
    City("BR", "RS", "Porto Alegre", "90", -30.03, -51.23, 0.6),
    City("BR", "BA", "Salvador", "40", -12.97, -38.50, 0.5),
    City("BR", "AM", "Manaus", "69", -3.12, -60.02, 0.2),
)
#: Share of each country in parcels sent, and in orders from abroad.
COUNTRY_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"DE": 0.3, "AT": 0.12, "FR": 0.16, "PL": 0.12, "US": 0.18, "BR": 0.12}
)
#: Countries without customs between them.
CUSTOMS_UNION = frozenset({"DE", "AT", "FR", "PL"})

CARRIERS = (
    Carrier(
        "rhinefast",
        ("DE", "AT", "FR"),
        {"express": 0.6, "standard": 0.95, "economy": 1.35},
        True,
        0.03,
        0.12,
        0.05,
    ),
    Carrier("alpenpost", ("AT", "DE"), {"priority": 0.8, "standard": 1.05}, True, 0.04, 0.15, 0.10),
    Carrier(
        "hexapost",
        ("FR",),
        {"express": 0.65, "standard": 1.0, "economy": 1.5},
        True,
        0.06,
        0.20,
        0.08,
    ),
    Carrier("wislapak", ("PL", "DE"), {"standard": 0.9, "locker": 1.0}, False, 0.04, 0.10, 0.30),
    Carrier("unionline", ("US",), {"ground": 1.0, "two_day": 0.6}, False, 0.02, 0.10, 0.03),
    Carrier("prairie", ("US",), {"ground": 1.15, "saver": 1.5}, True, 0.07, 0.25, 0.04),
    Carrier("azulog", ("BR",), {"express": 0.7, "standard": 1.1}, True, 0.05, 0.20, 0.04),
    Carrier("bandeira", ("BR",), {"standard": 1.2, "economy": 1.6}, False, 0.10, 0.30, 0.10),
)
#: The carrier that takes over a parcel once it has crossed the border, by country.
PARTNERS: Mapping[str, str] = MappingProxyType(
    {
        "DE": "rhinefast",
        "AT": "alpenpost",
        "FR": "hexapost",
        "PL": "wislapak",
        "US": "unionline",
        "BR": "azulog",
    }
)

#: Months in which the weather is bad more often.
NORTHERN_WINTER, SOUTHERN_RAINS = (12, 1, 2), (12, 1, 2, 3)
