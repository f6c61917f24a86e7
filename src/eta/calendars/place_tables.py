"""The tables of countries, regions, postcodes and zones: data files beside this module."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

#: Letters that do not decompose into a plain letter and an accent.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "æ": "ae",
        "œ": "oe",
        "ð": "d",
        "þ": "th",
    }
)


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a table, by column; lines that begin with # are comments."""
    path = files("eta.calendars") / "tables" / f"{name}.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def folded(text: str) -> str:
    """A name without case, accents, blanks and punctuation, as names are compared."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(filter(str.isalnum, plain)).casefold().translate(_LETTERS)


class NamedPlaces(NamedTuple):
    """Codes by their names, and the name of each code for messages."""

    #: Folded name or code -> code.
    code_of: Mapping[str, str]
    #: Code -> English name.
    name_of: Mapping[str, str]


def named_places(rows: Iterable[tuple[str, str, Iterable[str]]]) -> NamedPlaces:
    """The places of rows with a code, a name, and other names; an earlier row's names win."""
    code_of: dict[str, str] = {}
    name_of: dict[str, str] = {}
    for code, name, others in rows:
        name_of[code] = name
        for key in map(folded, (code, name, *others)):
            if key:
                code_of.setdefault(key, code)
    return NamedPlaces(code_of, name_of)


@cache
def countries() -> NamedPlaces:
    """All countries by their codes and names."""
    rows = read_table("countries")
    return named_places(
        (row["country"], row["name"], (row["alpha3"], *row["other_names"].split("|")))
        for row in rows
    )


@cache
def regions() -> Mapping[str, NamedPlaces]:
    """Country -> its regions; countries without listed regions are left out."""
    rows: dict[str, list[tuple[str, str, Iterable[str]]]] = {}
    for row in read_table("regions"):
        others = row["other_names"].split("|")
        rows.setdefault(row["country"], []).append((row["region"], row["name"], others))
    return {country: named_places(listed) for country, listed in rows.items()}


@cache
def larger_regions() -> Mapping[tuple[str, str], str]:
    """Country and region -> the larger region of which it is a part, such as 25 of IT and MI."""
    rows = read_table("regions")
    return {(row["country"], row["region"]): row["part_of"] for row in rows if row["part_of"]}


@cache
def region_words() -> frozenset[str]:
    """Words that the name of a region can be written with or without."""
    return frozenset(row["word"] for row in read_table("region_words"))


class Prefixes:
    """Values by the beginnings of a code; the longest beginning counts."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._lengths: list[int] = []

    def add(self, tokens: str, value: str) -> None:
        """Adds beginnings such as "10" and ranges such as "350-369", separated by blanks."""
        for prefix in _expanded(tokens):
            self._values[prefix] = value
        self._lengths = sorted({len(prefix) for prefix in self._values}, reverse=True)

    def longest(self, code: str) -> str | None:
        """The value of the longest beginning of a code; None without any."""
        for length in self._lengths:
            if len(code) >= length and (value := self._values.get(code[:length])) is not None:
                return value or None
        return None


def _expanded(tokens: str) -> Iterator[str]:
    for token in tokens.split():
        first, _, last = token.partition("-")
        if not last:
            yield first
            continue
        for number in range(int(first), int(last) + 1):
            yield str(number).zfill(len(first))


class PostcodeFormat(NamedTuple):
    """How a country writes postcodes, in capitals without blanks and hyphens."""

    pattern: re.Pattern[str]
    #: So many leading zeros can a spreadsheet lose.
    lost_zeros: int
    #: Length of a beginning that stands for an area; 0 if none is in use.
    area_length: int
    #: Signs of the country that are written before the code.
    signs: tuple[str, ...]


@cache
def postcode_formats() -> Mapping[str, PostcodeFormat]:
    """Country -> its postcodes; a country that is not listed has no known pattern."""
    formats = {}
    for row in read_table("postcode_formats"):
        signs = (*row["signs"].split(), row["country"])
        pattern = re.compile(row["pattern"], re.ASCII)
        lengths = int(row["lost_zeros"]), int(row["area_length"])
        formats[row["country"]] = PostcodeFormat(pattern, *lengths, signs)
    return formats


@cache
def postcode_regions() -> Mapping[str, Prefixes]:
    """Country -> regions by the beginning of a postcode."""
    tables: dict[str, Prefixes] = {}
    for row in read_table("postcode_regions"):
        tables.setdefault(row["country"], Prefixes()).add(row["postcodes"], row["region"])
    return tables
