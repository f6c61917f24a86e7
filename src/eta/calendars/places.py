"""Names and codes of countries and regions, as people and systems write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import lru_cache, partial

from eta.calendars.place_tables import (
    NamedPlaces,
    countries,
    folded,
    read_table,
    region_words,
    regions,
)
from eta.domain.errors import InvalidValue

#: Longer texts are not names of places.
MAX_NAME_LENGTH = 100
_SHORT_REGION = re.compile("[A-Z0-9]{1,3}")
_SIMILARITY = 0.7

#: How many characters a name and a misspelling of it differ in length.
_LENGTH_DIFFERENCE = 4


def place_name(country: str | None, region: str | None) -> str | None:
    """Country and region as "AT-9", or the country alone; None without a country."""
    if country and region:
        return f"{country}-{region}"
    return country or None


@lru_cache(maxsize=10_000)
def resolve_country(text: str) -> str:
    """The ISO 3166-1 alpha-2 code of a country.

    Args:
        text: a code of two or three letters, or a name in English or another language; case,
            accents, blanks and punctuation do not matter. ``UK``, ``EL`` and ``XK`` are codes too.

    Raises:
        InvalidValue: if it is not a country; the hint names the nearest one.
    """
    code = countries().code_of.get(folded(text)) if len(text) <= MAX_NAME_LENGTH else None
    if code is None:
        problem = f"{shown(text)} is not a country"
        raise InvalidValue("country", problem, partial(_country_hint, text))
    return code


@lru_cache(maxsize=10_000)
def resolve_region(country: str, text: str) -> str:
    """The canonical short form of a region, such as ``BY``: one for each region of a country.

    It is the form that the ``holidays`` library uses, else that of ISO 3166-2. A province whose
    holidays are those of a larger region becomes that region.

    Args:
        country: ISO 3166-1 alpha-2.
        text: a code with or without the country before it, or a name.

    Raises:
        InvalidValue: if the country has no such region; the hint names the nearest one. If no
            regions of the country are listed, a short form of up to three letters or digits is
            accepted as it is.
    """
    listed = regions().get(country)
    if len(text) <= MAX_NAME_LENGTH:
        spellings = list(_spellings(country, text))
        for name in spellings:
            if listed is None and _SHORT_REGION.fullmatch(short := name.strip().upper()):
                return short
        if listed and (region := _lookup(listed, spellings)):
            return region
    problem = f"{shown(text)} is not a region of {countries().name_of.get(country, country)}"
    raise InvalidValue("region", problem, partial(_region_hint, country, text))


def known_region(country: str, text: str) -> str | None:
    """The canonical short form of a region; None if the country has none of that name."""
    with suppress(InvalidValue):
        return resolve_region(country, text) if has_listed_regions(country) else None
    return None


def has_listed_regions(country: str) -> bool:
    """Whether the regions of a country are known, with their holidays and zones."""
    return country in regions()


def shown(text: str) -> str:
    """A text from outside, quoted and shortened for a message."""
    return repr(text if len(text) <= MAX_NAME_LENGTH else f"{text[:MAX_NAME_LENGTH]}...")


def _spellings(country: str, text: str) -> Iterator[str]:
    """The text, and what is left of it without the country before it, or a note after it."""
    yield text
    before, separator, after = re.sub(r"[\s_/]+", "-", text.strip()).partition("-")
    if separator and countries().code_of.get(folded(before)) == country:
        yield after
    if "(" in text:
        yield text.partition("(")[0]


def _lookup(listed: NamedPlaces, spellings: Sequence[str]) -> str | None:
    keys = list(map(folded, spellings))
    # A spreadsheet makes 1 of 01.
    keys += [f"0{key}" for key in keys if key.isdigit()]
    for name in spellings:
        words = re.findall(r"\w+", name.casefold())
        keys.append("".join(folded(word) for word in words if word not in region_words()))
    return next((listed.code_of[key] for key in keys if key in listed.code_of), None)


def _country_hint(text: str) -> str:
    code = text.strip().upper()
    for row in read_table("withdrawn_countries"):
        if row["code"] == code:
            meant = " or ".join(row["countries"].split()) or "a country's own code, such as AT"
            return f"the code is withdrawn or reserved; send {meant}"
    return _nearest(countries(), text) or "send its ISO 3166-1 code, such as AT, or its name"


def _region_hint(country: str, text: str) -> str:
    listed = regions().get(country)
    nearest = _nearest(listed, text) if listed else None
    return nearest or "send its ISO 3166-2 code or its name, or leave it out"


def _nearest(places: NamedPlaces, text: str) -> str | None:
    """A question for the place whose name is most like a text; None if none is like it."""
    key = folded(text[:MAX_NAME_LENGTH])
    # Only names that begin alike and are about as long: comparing all takes longer than an answer.
    length = len(key)
    alike = [
        name
        for name in places.code_of
        if name[:1] == key[:1] and abs(len(name) - length) <= _LENGTH_DIFFERENCE
    ]
    matches = get_close_matches(key, alike, n=1, cutoff=_SIMILARITY)
    if not matches:
        return None
    code = places.code_of[matches[0]]
    return f"did you mean {places.name_of[code]} ({code})?"
