"""Categoricals: columns of texts as integer codes into a list of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

MISSING = -1

#: A column with up to so many texts is cached and read text by text: the services of a shop, and
#: its lanes, are the same in request after request.
SMALL_BATCH = 64


@dataclass(frozen=True, eq=False)
class Categorical:
    """N texts as codes (N,) into sorted ``names``; a missing text is ``MISSING``."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def from_texts(cls, texts: Sequence[str | None] | pd.Series) -> Categorical:
        """The categorical of texts; empty and missing texts are ``MISSING``."""
        if isinstance(texts, pd.Series):
            without_empty = pd.Series(texts, dtype="str").replace("", np.nan)
            codes, names = pd.factorize(without_empty, sort=True)
            return Categorical(codes.astype(np.int32), tuple(names))
        if len(texts) <= SMALL_BATCH:
            return _cached_categorical(tuple(texts))
        return _categorical(texts)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.integer]) -> Categorical:
        """The categories of some rows; the names stay."""
        return Categorical(self.codes[rows], self.names)

    def texts(self) -> NDArray[np.object_]:
        """The texts, None where missing."""
        names = self.names
        if len(self) <= SMALL_BATCH:
            texts = [None if code == MISSING else names[code] for code in self.codes.tolist()]
            return np.array(texts, dtype=object)
        # A missing text, -1, is the last one.
        return np.array([*names, None], dtype=object)[self.codes]

    def translate(self, values: Mapping[str, float], missing: float) -> NDArray[np.float64]:
        """The number of each text, (N,); ``missing`` for missing texts and those without one."""
        return np.array(_numbers(self, values, missing))


def lookup(
    categoricals: Sequence[Categorical],
    values: Sequence[Mapping[str, float]],
    missing: Sequence[float],
) -> NDArray[np.float64]:
    """The numbers, (C, N), of C categoricals of N rows, each looked up in its own table.

    ``missing`` has the numbers of texts that are missing or not in the table.
    """
    rows = [
        _numbers(categorical, table, default)
        for categorical, table, default in zip(categoricals, values, missing, strict=True)
    ]
    return np.array(rows)


def _numbers(
    categorical: Categorical, values: Mapping[str, float], missing: float
) -> list[float] | NDArray[np.float64]:
    """Looks up text by text if there are few, else name by name."""
    names = categorical.names
    if len(categorical) <= SMALL_BATCH:
        return [
            missing if code == MISSING else values.get(names[code], missing)
            for code in categorical.codes.tolist()
        ]
    numbers = [values.get(name, missing) for name in names]
    return np.array([*numbers, missing])[categorical.codes]


def _categorical(texts: Sequence[str | None]) -> Categorical:
    names = tuple(sorted(filter(None, set(texts))))
    code_of: dict[str | None, int] = {name: code for code, name in enumerate(names)}
    codes = [code_of.get(text, MISSING) for text in texts]
    return Categorical(np.array(codes, dtype=np.int32), names)


_cached_categorical = lru_cache(maxsize=10_000)(_categorical)


def derive(
    sources: Sequence[Categorical],
    derive_row: Callable[..., Sequence[str | None]],
    names: Sequence[str],
) -> dict[str, Categorical]:
    """Categoricals, by name, of texts that follow from others.

    Args:
        sources: categoricals of N rows each.
        derive_row: from one text a source, None where missing, to the derived texts; called once
            for every combination that occurs.
        names: of the derived texts.
    """
    group, first = group_rows(sources)
    source_texts = [categorical.take(first).texts().tolist() for categorical in sources]
    derived = [derive_row(*texts) for texts in zip(*source_texts, strict=True)]
    table = LazyCategoricals(derived, names)
    return {name: table[name].take(group) for name in names}


class LazyCategoricals(dict[str, Categorical]):
    """Columns of a table of texts by name, each a categorical made when first read."""

    def __init__(self, rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> None:
        self._rows = rows
        self._column_of = {name: column for column, name in enumerate(names)}

    def __missing__(self, name: str) -> Categorical:
        """The categorical of a column that has not been read before."""
        column = self._column_of[name]
        texts = [row[column] for row in self._rows]
        return self.setdefault(name, Categorical.from_texts(texts))


def group_rows(sources: Sequence[Categorical]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The combination (N,) of categories in each row, and the first row of each combination.

    Combinations are numbered as they first occur.
    """
    return _group_rows(np.array([categorical.codes for categorical in sources]))


@njit(cache=True)
def _group_rows(codes):  # type: ignore[no-untyped-def]  # compiled
    """``group_rows`` of codes (C, N), by an open hash table, which is faster than a sort."""
    rows = codes.shape[1]
    slots = np.full(_table_size(rows), -1, dtype=np.int64)
    group = np.empty(rows, dtype=np.int64)
    first = np.empty(rows, dtype=np.int64)
    count = 0
    for i in range(rows):
        slot = np.int64(_mixed(codes, i) & np.uint64(len(slots) - 1))
        while slots[slot] >= 0 and not _is_same(codes, first[slots[slot]], i):
            slot = (slot + 1) % len(slots)
        if slots[slot] < 0:
            slots[slot] = count
            first[count] = i
            count += 1
        group[i] = slots[slot]
    return group, first[:count].copy()


@njit(cache=True)
def _table_size(rows):  # type: ignore[no-untyped-def]  # compiled
    """A power of two, at most half full of so many rows."""
    size = 16
    while size < 2 * rows:
        size *= 2
    return size


@njit(cache=True)
def _mixed(codes, row):  # type: ignore[no-untyped-def]  # compiled
    """A hash of the codes of a row."""
    mixed = np.uint64(0)
    for c in range(len(codes)):
        mixed ^= np.uint64(codes[c, row] + 1)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed


@njit(cache=True)
def _is_same(codes, one, other):  # type: ignore[no-untyped-def]  # compiled
    is_same = True
    for c in range(len(codes)):
        is_same &= codes[c, one] == codes[c, other]
    return is_same
