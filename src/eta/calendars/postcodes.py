"""Postcodes as people and systems write them, and the regions that follow from them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from eta.calendars.place_tables import (
    PostcodeFormat,
    countries,
    larger_regions,
    postcode_formats,
    postcode_regions,
)
from eta.calendars.places import shown
from eta.domain.errors import InvalidValue
from eta.domain.shipment import Place

_MAX_LENGTH = 16


@lru_cache(maxsize=100_000)
def resolve_postcode(country: str, text: str) -> str:
    """The canonical form of a postcode: capitals and digits, without blanks and hyphens.

    Leading zeros that a spreadsheet has lost are added where the country has such codes, the
    country's sign before the code and the last four digits of a ZIP+4 are left out.

    Args:
        country: ISO 3166-1 alpha-2.
        text: the postcode; in countries without a known pattern, any letters and digits.

    Raises:
        InvalidValue: if the country has no such postcodes.
    """
    code = compact(text)
    code_format = postcode_formats().get(country)
    if code_format is None:
        if code and len(code) <= _MAX_LENGTH:
            return code
    else:
        for candidate in _candidates(code, code_format):
            if match := code_format.pattern.fullmatch(candidate):
                return next(filter(None, match.groups()), candidate)
    problem = f"{shown(text)} is not a postcode of {countries().name_of.get(country, country)}"
    raise InvalidValue("postcode", problem, "correct it, with its leading zeros, or leave it out")


def resolve_postcode_or_area(country: str, text: str) -> str:
    """The canonical form of a postcode, or of the beginning that stands for an area, such as 606.

    Raises:
        InvalidValue: if it is neither.
    """
    code = compact(text)
    code_format = postcode_formats().get(country)
    is_area = code_format and code.isdigit() and len(code) == code_format.area_length
    return code if is_area else resolve_postcode(country, text)


def compact(text: str) -> str:
    """A postcode in capitals, without blanks and punctuation; empty if it has other letters."""
    plain = unicodedata.normalize("NFKC", text).upper()
    code = "".join(filter(str.isalnum, plain))
    return code if code.isascii() else ""


def region_of_postcode(country: str | None, postcode: str | None) -> str | None:
    """The region in which a postcode lies; None if that is not known, or there are several."""
    table = postcode_regions().get(country or "")
    return table.longest(compact(postcode)) if table and postcode else None


@lru_cache(maxsize=100_000)
def region_at(country: str | None, region: str | None, postcode: str | None) -> str | None:
    """The region of a place: as it is given, else as it follows from the postcode.

    A postcode in a part of the region names that part. One in another region does not count.
    """
    by_postcode = region_of_postcode(country, postcode)
    if region is None or by_postcode is None:
        return region or by_postcode
    is_part = larger_regions().get((country or "", by_postcode)) == region
    return by_postcode if is_part else region


def region_of_place(place: Place) -> str | None:
    """The region of one end of a route, as ``region_at`` finds it."""
    return region_at(place.country, place.region, place.postcode)


def _candidates(code: str, code_format: PostcodeFormat) -> Iterator[str]:
    """The code, and what it may have been before a sign was added or zeros were lost."""
    written = [code.removeprefix(sign) for sign in code_format.signs if code.startswith(sign)]
    for zeros in range(code_format.lost_zeros + 1):
        for digits in (code, *written):
            if not zeros or digits.isdigit():
                yield "0" * zeros + digits
