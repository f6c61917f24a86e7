"""Public holidays by country and region, from the ``holidays`` library."""

from functools import lru_cache

import holidays
import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=10_000)
def holiday_dates(country: str | None, region: str | None, first_year: int, last_year: int) -> NDArray[np.datetime64]:
    """Sorted ``datetime64[D]`` public holidays; empty where the library knows no such country.

    A region that the library does not list has its country's holidays.
    """
    supported = holidays.list_supported_countries()
    if country not in supported:
        return np.empty(0, dtype="datetime64[D]")
    subdivision = region if region in supported[country] else None
    days = holidays.country_holidays(country, subdiv=subdivision, years=range(first_year, last_year + 1))
    return np.array(sorted(days), dtype="datetime64[D]")
