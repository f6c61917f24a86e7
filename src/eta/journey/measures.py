"""Places, sizes and worth of shipments as numbers.

A number of a shipment is added in ``Number``, a measure that follows from numbers in ``Measure``
and ``compute_measures``.
"""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np
from numba import njit

from eta.journey.route import distance_km


class Number(IntEnum):
    """Rows of ``Timelines.numbers``; the names are the columns of a frame of shipments."""

    ORIGIN_LATITUDE = 0
    ORIGIN_LONGITUDE = auto()
    DESTINATION_LATITUDE = auto()
    DESTINATION_LONGITUDE = auto()
    WEIGHT_KG = auto()
    LENGTH_CM = auto()
    WIDTH_CM = auto()
    HEIGHT_CM = auto()
    PRICE = auto()
    PACKAGE_COUNT = auto()


class Measure(IntEnum):
    """Rows of ``Timelines.measures``: what a model may use of a shipment's numbers."""

    DISTANCE_KM = 0
    ORIGIN_LATITUDE = auto()
    ORIGIN_LONGITUDE = auto()
    DESTINATION_LATITUDE = auto()
    DESTINATION_LONGITUDE = auto()
    WEIGHT_KG = auto()
    VOLUME_L = auto()
    PRICE = auto()
    PACKAGE_COUNT = auto()


#: Columns of a frame of shipments that hold a ``Number``, in its order.
NUMBER_FIELDS = tuple(number.name.lower() for number in Number)
#: Names of the measures, in the order of ``Measure``.
MEASURES = tuple(measure.name.lower() for measure in Measure)

_MEASURE_COUNT = len(Measure)
_CUBIC_CM_PER_LITRE = 1000.0


@njit(cache=True)
def compute_measures(numbers):  # type: ignore[no-untyped-def]  # compiled
    """The measures, (9, N), of the numbers (10, N) of N shipments."""
    result = np.empty((_MEASURE_COUNT, numbers.shape[1]))
    for i in range(numbers.shape[1]):
        latitude = numbers[Number.ORIGIN_LATITUDE, i]
        longitude = numbers[Number.ORIGIN_LONGITUDE, i]
        to_latitude = numbers[Number.DESTINATION_LATITUDE, i]
        to_longitude = numbers[Number.DESTINATION_LONGITUDE, i]
        result[Measure.DISTANCE_KM, i] = distance_km(latitude, longitude, to_latitude, to_longitude)
        result[Measure.ORIGIN_LATITUDE, i] = latitude
        result[Measure.ORIGIN_LONGITUDE, i] = longitude
        result[Measure.DESTINATION_LATITUDE, i] = to_latitude
        result[Measure.DESTINATION_LONGITUDE, i] = to_longitude
        area = numbers[Number.LENGTH_CM, i] * numbers[Number.WIDTH_CM, i]
        volume = area * numbers[Number.HEIGHT_CM, i]
        result[Measure.VOLUME_L, i] = volume / _CUBIC_CM_PER_LITRE
        result[Measure.WEIGHT_KG, i] = numbers[Number.WEIGHT_KG, i]
        result[Measure.PRICE, i] = numbers[Number.PRICE, i]
        result[Measure.PACKAGE_COUNT, i] = numbers[Number.PACKAGE_COUNT, i]
    return result
