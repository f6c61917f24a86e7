"""What follows from a shipment's carrier and its two ends: route categories and time zones."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from eta.calendars.carriers import carrier_name, has_own_holidays
from eta.calendars.places import place_name
from eta.calendars.postcodes import region_at
from eta.calendars.zones import zone_of

EARTH_RADIUS_KM = 6371.0

#: In a combined category, the name of an unknown carrier or service level.
UNNAMED = "?"


class End(NamedTuple):
    """What follows from one end of a route."""

    #: "country-region", or the country alone; None without a country.
    place: str | None
    #: IANA name of its zone, and where it comes from, a ``TimezoneSource``.
    zone: str
    zone_source: str
    #: "country|postcode", letters and digits only; None if either is missing.
    postal: str | None


class Route(NamedTuple):
    """The derived texts, None where a part that is needed is missing."""

    origin: str | None
    destination: str | None
    #: "origin>destination".
    lane: str | None
    #: "carrier|service level".
    service: str
    #: "carrier|service level|lane".
    service_lane: str | None
    #: The destination's zone, and where it comes from.
    zone: str
    zone_source: str
    #: The origin's zone; the destination's if no origin is given.
    origin_zone: str
    #: Whose holidays count: "destination|carrier" if the carrier has its own there.
    calendar: str | None


@lru_cache(maxsize=100_000)
def end_of(country: str | None, region: str | None, postcode: str | None) -> End:
    """The end of a route at a place; without a region, that of the postcode counts."""
    zone, zone_source = zone_of(country, region, postcode)
    letters = "".join(filter(str.isalnum, postcode or "")).upper()
    return End(
        place=place_name(country, region_at(country, region, postcode)),
        zone=zone,
        zone_source=str(zone_source),
        postal=f"{country}|{letters}" if country and letters else None,
    )


@lru_cache(maxsize=10_000)
def route_of(
    carrier: str | None,
    service_level: str | None,
    origin: str | None,
    origin_zone: str,
    destination: str | None,
    zone: str,
    zone_source: str,
) -> Route:
    """The route of a shipment between two ends."""
    lane = f"{origin}>{destination}" if origin and destination else None
    service = f"{carrier or UNNAMED}|{service_level or UNNAMED}"
    return Route(
        origin=origin,
        destination=destination,
        lane=lane,
        service=service,
        service_lane=f"{service}|{lane}" if lane else None,
        zone=zone,
        zone_source=zone_source,
        origin_zone=origin_zone if origin else zone,
        calendar=_calendar(carrier, destination),
    )


def _calendar(carrier: str | None, destination: str | None) -> str | None:
    country = (destination or "").partition("-")[0]
    if carrier and country and has_own_holidays(name := carrier_name(carrier), country):
        return f"{destination}|{name}"
    return destination


def great_circle_km(
    latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike
) -> NDArray[np.float64]:
    """Great-circle distance of points in degrees (haversine formula, Sinnott 1984)."""
    points = np.broadcast_arrays(latitude, longitude, to_latitude, to_longitude)
    columns = [np.ravel(values).astype(np.float64) for values in points]
    return _distances_km(*columns).reshape(points[0].shape)


@njit(cache=True)
def _distances_km(latitude, longitude, to_latitude, to_longitude):  # type: ignore[no-untyped-def]  # compiled
    """The distances (N,) of N pairs of points."""
    result = np.empty(len(latitude))
    for i in range(len(result)):
        result[i] = distance_km(latitude[i], longitude[i], to_latitude[i], to_longitude[i])
    return result


@njit(cache=True)
def distance_km(latitude, longitude, to_latitude, to_longitude):  # type: ignore[no-untyped-def]  # compiled
    """The great-circle distance of two points in degrees."""
    start = np.radians(latitude)
    end = np.radians(to_latitude)
    half_width = np.radians(to_longitude - longitude) / 2
    north = np.sin((end - start) / 2) ** 2
    east = np.cos(start) * np.cos(end) * np.sin(half_width) ** 2
    haversine = np.minimum(north + east, 1.0)
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(haversine))
