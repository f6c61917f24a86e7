"""The one name of a place: its country and its region."""

from __future__ import annotations


def place_name(country: str | None, region: str | None) -> str | None:
    """Country and region as "AT-9", or the country alone; None without a country."""
    if country and region:
        return f"{country}-{region}"
    return country or None
