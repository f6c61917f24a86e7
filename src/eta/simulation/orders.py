"""Simulated orders: shipments with what a shop knows at purchase, and the promise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eta.calendars.local_time import declared_zone_to_utc, local_dates
from eta.calendars.zones import zone_of
from eta.journey.timeline_builders import SHIPMENT_COLUMNS
from eta.simulation.network import CARRIERS, CITIES, COUNTRY_WEIGHTS
from eta.simulation.scenario import Scenario
from eta.simulation.stages import Floats, Ints, Parcels

#: Orders by local hour of the day and by weekday from Monday on.
_BY_HOUR = np.array(
    [2, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 8, 9, 9, 7, 4], dtype=np.float64
)
_BY_WEEKDAY = np.array([1.1, 1.05, 1.0, 1.0, 0.95, 0.85, 1.05])
_CHRISTMAS_SALES = 1.5
_COUNTRIES = tuple(COUNTRY_WEIGHTS)
_COUNTRY = np.array([city.country for city in CITIES], dtype=object)
_REGION = np.array([city.region for city in CITIES], dtype=object)
_POSTCODE = np.array([city.postcode for city in CITIES], dtype=object)
_LATITUDE = np.array([city.latitude for city in CITIES])
_LONGITUDE = np.array([city.longitude for city in CITIES])
_ZONES = tuple(sorted({zone_of(city.country, city.region)[0] for city in CITIES}))
_ZONE = np.array([_ZONES.index(zone_of(city.country, city.region)[0]) for city in CITIES])
#: The shop promises so many days plus a factor times the rule of thumb, up to a working day.
PROMISE_DAYS, PROMISE_PAD = 1.3, 1.45


def draw_orders(scenario: Scenario, shipments: int, random: np.random.Generator) -> pd.DataFrame:
    """Shipments in ``SHIPMENT_COLUMNS`` without a promise, sorted by ``ordered_at`` and by id."""
    origin, destination = _routes(scenario, shipments, random)
    ordered = _order_times(scenario, destination, random)
    by_time = np.argsort(ordered.to_numpy(), kind="stable")
    origin, destination = origin[by_time], destination[by_time]
    carrier, service = _services(origin, random)
    parcel_columns = _weights_and_sizes(shipments, random)
    origin_columns = _place(origin, "origin", random)
    destination_columns = _place(destination, "destination", random)
    positions = pd.Series(np.arange(shipments))
    number = positions.astype("str").str.zfill(7)
    shipment_id, order_id = "sim" + number, "ord" + number
    ordered_at = ordered.iloc[by_time].reset_index(drop=True)
    log_price = 3.6 + 0.8 * random.standard_normal(shipments)
    price = np.exp(log_price).round(2)
    columns = {
        "shipment_id": shipment_id,
        "order_id": order_id,
        "carrier": carrier,
        "service_level": service,
        **origin_columns,
        **destination_columns,
        **parcel_columns,
        "ordered_at": ordered_at,
        "promised_on": np.datetime64("NaT", "s"),
        "price": price,
        "package_count": 1,
        "has_several_origins": False,
    }
    return pd.DataFrame({name: columns[name] for name in SHIPMENT_COLUMNS if name in columns})


def _weights_and_sizes(shipments: int, random: np.random.Generator) -> dict[str, Floats]:
    """The columns of weight and size."""
    log_weight = 0.2 + 1.0 * random.standard_normal(shipments)
    weight_kg = np.exp(log_weight).clip(0.05, 30.0).round(2)
    density = np.exp(0.4 * random.standard_normal(shipments))
    side_cm = np.cbrt(weight_kg * 4000.0 * density)
    long, wide = np.exp(0.3 * random.standard_normal((2, shipments)))
    length_cm = (side_cm * long).clip(5.0)
    width_cm = (side_cm * wide).clip(5.0)
    height_cm = (side_cm / long / wide).clip(1.0)
    return {
        "weight_kg": weight_kg,
        "length_cm": length_cm.round(1),
        "width_cm": width_cm.round(1),
        "height_cm": height_cm.round(1),
    }


def promise(shipments: pd.DataFrame, parcels: Parcels) -> pd.Series:
    """The promised local date of each shipment, (N,), with padding and never on a weekend."""
    utc = shipments["ordered_at"].dt.tz_localize(None)
    ordered = utc.to_numpy().astype("datetime64[us]")
    ordered_on = local_dates(ordered, _ZONE[parcels.destination], _ZONES)
    padded_days = PROMISE_DAYS + PROMISE_PAD * parcels.expected_days
    days = np.ceil(padded_days).astype(np.int64)
    promised_on = np.busday_offset(ordered_on + days, 0, roll="forward")
    return pd.Series(promised_on.astype("datetime64[s]"))


def _routes(scenario: Scenario, shipments: int, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Cities (N,) of origin and destination."""
    share = np.array([COUNTRY_WEIGHTS[country] for country in _COUNTRIES])
    at_home = random.choice(len(_COUNTRIES), shipments, p=share / share.sum())
    crosses = random.random(shipments) < scenario.cross_border
    abroad = np.empty_like(at_home)
    for country in range(len(_COUNTRIES)):
        is_home = np.arange(len(_COUNTRIES)) == country
        others = np.where(is_home, 0.0, share)
        rows = np.flatnonzero(at_home == country)
        abroad[rows] = random.choice(len(_COUNTRIES), len(rows), p=others / others.sum())
    destination = np.where(crosses, abroad, at_home)
    return _cities(at_home, random), _cities(destination, random)


def _cities(country: Ints, random: np.random.Generator) -> Ints:
    result = np.empty_like(country)
    for number, name in enumerate(_COUNTRIES):
        cities = [n for n, city in enumerate(CITIES) if city.country == name]
        weight = np.array([CITIES[n].weight for n in cities])
        rows = np.flatnonzero(country == number)
        result[rows] = random.choice(cities, len(rows), p=weight / weight.sum())
    return result


def _order_times(scenario: Scenario, destination: Ints, random: np.random.Generator) -> pd.Series:
    """Aware instants, (N,): customers order by the local time of their zone."""
    first = np.datetime64(scenario.first_day, "D")
    days = first + np.arange(scenario.days)
    is_sale = [(11, 20) <= (day.month, day.day) <= (12, 20) for day in days.tolist()]
    sales = np.where(is_sale, _CHRISTMAS_SALES, 1.0)
    weekday = (days.astype(np.int64) + 3) % 7
    rate = _BY_WEEKDAY[weekday] * sales
    day = random.choice(scenario.days, len(destination), p=rate / rate.sum())
    hour = random.choice(24, len(destination), p=_BY_HOUR / _BY_HOUR.sum())
    second = random.integers(0, 3600, len(destination))
    time_of_day = (hour * 3600 + second).astype("timedelta64[s]")
    wall_times = days[day].astype("datetime64[s]") + time_of_day
    wall = pd.Series(wall_times.astype("datetime64[us]"))
    ordered = pd.Series(pd.NaT, index=wall.index, dtype="datetime64[us, UTC]")
    for number, zone in enumerate(_ZONES):
        rows = _ZONE[destination] == number
        ordered[rows] = declared_zone_to_utc(wall[rows], zone)[0]
    return ordered


def _services(origin: Ints, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A carrier of the country of origin and one of its services, (N,) each."""
    carrier = np.empty(len(origin), dtype=object)
    service = np.empty(len(origin), dtype=object)
    country = _COUNTRY[origin]
    for name in _COUNTRIES:
        carriers, services = list[str](), list[str]()
        for candidate in CARRIERS:
            if name in candidate.countries:
                carriers += [candidate.name] * len(candidate.services)
                services += candidate.services
        rows = np.flatnonzero(country == name)
        chosen = random.integers(0, len(services), len(rows))
        carrier[rows] = np.array(carriers, dtype=object)[chosen]
        service[rows] = np.array(services, dtype=object)[chosen]
    return carrier, service


def _place(city: Ints, end: str, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The columns of one end; destinations are scattered around their city."""
    scatter = np.zeros((2, len(city)))
    if end == "destination":
        scatter = 0.2 * random.standard_normal((2, len(city)))
    latitude = _LATITUDE[city] + scatter[0]
    longitude = _LONGITUDE[city] + scatter[1]
    columns = {
        "country": _COUNTRY[city],
        "region": _REGION[city],
        "postcode": _POSTCODE[city],
        "latitude": latitude.round(3),
        "longitude": longitude.round(3),
    }
    return {f"{end}_{name}": values for name, values in columns.items()}
