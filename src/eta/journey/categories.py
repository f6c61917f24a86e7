"""Text as integer codes, so that a million carriers cost no more than a million integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

MISSING = -1

#: Up to so many texts are remembered together: the services of a shop, and its lanes, are the same
#: in request after request.
SMALL_BATCH = 64


@dataclass(frozen=True, eq=False)
class Categorical:
    """N texts as codes (N,) into sorted ``names``; a missing text is ``MISSING``."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def from_texts(cls, texts: Sequence[str | None] | pd.Series) -> Categorical:
        """Labels of texts; empty and missing texts are ``MISSING``."""
        if isinstance(texts, pd.Series):
            codes, names = pd.factorize(
                pd.Series(texts, dtype="str").replace("", np.nan), sort=True
            )
            return cls(codes.astype(np.int32), tuple(names))
        return (
            _cached_categorical(tuple(texts)) if len(texts) <= SMALL_BATCH else _categorical(texts)
        )

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.integer]) -> Categorical:
        """The labels of some rows; the names stay."""
        return Categorical(self.codes[rows], self.names)

    def texts(self) -> NDArray[np.object_]:
        """The texts themselves, None where missing."""
        if len(self) <= SMALL_BATCH:
            return np.array(
                [None if code == MISSING else self.names[code] for code in self.codes.tolist()],
                dtype=object,
            )
        return np.array([*self.names, None], dtype=object)[self.codes]

    def translate(self, values: Mapping[str, float], missing: float) -> NDArray[np.float64]:
        """The number of each text, (N,), ``missing`` for texts that are missing or have none."""
        return np.array(_numbers(self, values, missing))


def lookup(
    categoricals: Sequence[Categorical],
    values: Sequence[Mapping[str, float]],
    missing: Sequence[float],
) -> NDArray[np.float64]:
    """The numbers, (C, N), of C labels of N rows each in C tables, ``missing`` for texts that are missing or not in them."""
    return np.array(
        [
            _numbers(categorical, table, default)
            for categorical, table, default in zip(categoricals, values, missing, strict=True)
        ]
    )


def _numbers(
    categorical: Categorical, values: Mapping[str, float], missing: float
) -> list[float] | NDArray[np.float64]:
    """Asked for text by text where there are few, else name by name."""
    names = categorical.names
    if len(categorical) <= SMALL_BATCH:
        return [
            missing if code == MISSING else values.get(names[code], missing)
            for code in categorical.codes.tolist()
        ]
    return np.array([*(values.get(name, missing) for name in names), missing])[categorical.codes]


def _categorical(texts: Sequence[str | None]) -> Categorical:
    names = tuple(sorted(filter(None, set(texts))))
    position: dict[str | None, int] = dict(zip(names, range(len(names)), strict=True))
    codes = np.array([position.get(text, MISSING) for text in texts], dtype=np.int32)
    return Categorical(codes, names)


_cached_categorical = lru_cache(maxsize=10_000)(_categorical)


def derive(
    sources: Sequence[Categorical],
    derive_row: Callable[..., Sequence[str | None]],
    names: Sequence[str],
) -> dict[str, Categorical]:
    """Labels, by name, of texts that follow from others; ``derive_row`` is asked once for every combination that occurs.

    Args:
        sources: labels of N rows each.
        derive_row: from one text a source, None where missing, to the derived texts.
        names: of the derived texts.
    """
    group, first = group_rows(sources)
    source_texts = (categorical.take(first).texts().tolist() for categorical in sources)
    table = LazyCategoricals(
        [derive_row(*texts) for texts in zip(*source_texts, strict=True)], names
    )
    return {name: table[name].take(group) for name in names}


class LazyCategoricals(dict[str, Categorical]):
    """Columns of a table of texts by name, each made labels when it is first asked for."""

    def __init__(self, rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> None:
        self._rows, self._place = rows, {name: place for place, name in enumerate(names)}

    def __missing__(self, name: str) -> Categorical:
        """The labels of a column not asked for before."""
        place = self._place[name]
        return self.setdefault(name, Categorical.from_texts([row[place] for row in self._rows]))


def group_rows(sources: Sequence[Categorical]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The combination (N,) of labels in each row, numbered as they first occur, and the first row of each."""
    return _group_rows(np.array([categorical.codes for categorical in sources]))


@njit(cache=True)
def _group_rows(codes):  # type: ignore[no-untyped-def]  # compiled
    """The same of ``codes`` (C, N), by an open hash table: what a sort would cost is spared."""
    size = 16
    while size < 2 * codes.shape[1]:
        size *= 2
    slots = np.full(size, -1, dtype=np.int64)
    group, first = (
        np.empty(codes.shape[1], dtype=np.int64),
        np.empty(codes.shape[1], dtype=np.int64),
    )
    count = 0
    for i in range(codes.shape[1]):
        mixed = np.uint64(0)
        for c in range(len(codes)):
            mixed = (mixed ^ np.uint64(codes[c, i] + 1)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(32)
        slot = np.int64(mixed & np.uint64(size - 1))
        while slots[slot] >= 0 and not _is_same(codes, first[slots[slot]], i):
            slot = (slot + 1) % size
        if slots[slot] < 0:
            slots[slot], first[count] = count, i
            count += 1
        group[i] = slots[slot]
    return group, first[:count].copy()


@njit(cache=True)
def _is_same(codes, one, other):  # type: ignore[no-untyped-def]  # compiled
    is_same = True
    for c in range(len(codes)):
        is_same &= codes[c, one] == codes[c, other]
    return is_same
