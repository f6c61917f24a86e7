"""What follows from a shipment's carrier and its two ends: the labels of its route, and whose clock counts."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from eta.calendars.zones import zone_of

EARTH_RADIUS_KM = 6371.0

#: Stands in a combined label for a carrier or a service level that is not known.
UNNAMED = "?"


class Route(NamedTuple):
    """The derived texts, None where a part that is needed is missing."""

    #: "country-region", or the country alone.
    origin: str | None
    destination: str | None
    #: "origin>destination".
    lane: str | None
    #: "carrier|service level".
    service: str
    #: "carrier|service level|lane".
    service_lane: str | None
    #: IANA name of the destination's zone, and how it was found, a ``TimezoneSource``.
    zone: str
    zone_source: str
    #: IANA name of the origin's zone; the destination's where no origin is known.
    origin_zone: str


@lru_cache(maxsize=10_000)
def route_of(
    carrier: str | None,
    service_level: str | None,
    origin_country: str | None,
    origin_region: str | None,
    destination_country: str | None,
    destination_region: str | None,
) -> Route:
    """The route of a shipment with these facts."""
    origin, destination = (
        place_name(origin_country, origin_region),
        place_name(destination_country, destination_region),
    )
    lane = f"{origin}>{destination}" if origin and destination else None
    service = f"{carrier or UNNAMED}|{service_level or UNNAMED}"
    zone, source = zone_of(destination_country, destination_region)
    origin_zone = zone_of(origin_country, origin_region)[0] if origin_country else zone
    return Route(
        origin,
        destination,
        lane,
        service,
        f"{service}|{lane}" if lane else None,
        zone,
        str(source),
        origin_zone,
    )


def postal_name(country: str | None, postcode: str | None) -> str | None:
    """Country and postcode as "AT|1010", in capitals, without spaces and signs; None where either is not known."""
    letters = "".join(filter(str.isalnum, postcode or "")).upper()
    return f"{country}|{letters}" if country and letters else None


def place_name(country: str | None, region: str | None) -> str | None:
    """Country and region as "AT-9", or the country alone; None where that is not known."""
    return f"{country}-{region}" if country and region else country or None


def great_circle_km(
    latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike
) -> NDArray[np.float64]:
    """Great-circle distance of points in degrees (haversine formula, Sinnott 1984)."""
    points = np.broadcast_arrays(latitude, longitude, to_latitude, to_longitude)
    return distances_km(np.array(points, dtype=np.float64).reshape(4, -1)).reshape(points[0].shape)


@njit(cache=True)
def distances_km(points):  # type: ignore[no-untyped-def]  # compiled
    """The distances (N,) of pairs of points (4, N): latitude and longitude of the one, then of the other."""
    result = np.empty(points.shape[1])
    for i in range(len(result)):
        a, b = np.radians(points[0, i]), np.radians(points[2, i])
        half = (
            np.sin((b - a) / 2) ** 2
            + np.cos(a) * np.cos(b) * np.sin(np.radians(points[3, i] - points[1, i]) / 2) ** 2
        )
        result[i] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return result
