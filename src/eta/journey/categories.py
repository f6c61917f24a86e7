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
FEW = 64


@dataclass(frozen=True, eq=False)
class Labels:
    """N texts as codes (N,) into sorted ``names``; a missing text is ``MISSING``."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str | None] | pd.Series) -> Labels:
        """Labels of texts; empty and missing texts are ``MISSING``."""
        if isinstance(texts, pd.Series):
            codes, names = pd.factorize(
                pd.Series(texts, dtype="str").replace("", np.nan), sort=True
            )
            return cls(codes.astype(np.int32), tuple(names))
        return _few(tuple(texts)) if len(texts) <= FEW else _labels(texts)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.integer]) -> Labels:
        """The labels of some rows; the names stay."""
        return Labels(self.codes[rows], self.names)

    def texts(self) -> NDArray[np.object_]:
        """The texts themselves, None where missing."""
        if len(self) <= FEW:
            return np.array(
                [None if code == MISSING else self.names[code] for code in self.codes.tolist()],
                dtype=object,
            )
        return np.array([*self.names, None], dtype=object)[self.codes]

    def translate(self, values: Mapping[str, float], missing: float) -> NDArray[np.float64]:
        """The number of each text, (N,), ``missing`` for texts that are missing or have none."""
        return np.array(_numbers(self, values, missing))


def looked_up(
    labels: Sequence[Labels], values: Sequence[Mapping[str, float]], missing: Sequence[float]
) -> NDArray[np.float64]:
    """The numbers, (C, N), of C labels of N rows each in C tables, ``missing`` for texts that are missing or not in them."""
    return np.array(
        [
            _numbers(own, table, other)
            for own, table, other in zip(labels, values, missing, strict=True)
        ]
    )


def _numbers(
    labels: Labels, values: Mapping[str, float], missing: float
) -> list[float] | NDArray[np.float64]:
    """Asked for text by text where there are few, else name by name."""
    names = labels.names
    if len(labels) <= FEW:
        return [
            missing if code == MISSING else values.get(names[code], missing)
            for code in labels.codes.tolist()
        ]
    return np.array([*(values.get(name, missing) for name in names), missing])[labels.codes]


def _labels(texts: Sequence[str | None]) -> Labels:
    names = tuple(sorted(filter(None, set(texts))))
    position: dict[str | None, int] = dict(zip(names, range(len(names)), strict=True))
    codes = np.array([position.get(text, MISSING) for text in texts], dtype=np.int32)
    return Labels(codes, names)


_few = lru_cache(maxsize=10_000)(_labels)


def derived(
    sources: Sequence[Labels], derive: Callable[..., Sequence[str | None]], names: Sequence[str]
) -> dict[str, Labels]:
    """Labels, by name, of texts that follow from others; ``derive`` is asked once for every combination that occurs.

    Args:
        sources: labels of N rows each.
        derive: from one text a source, None where missing, to the derived texts.
        names: of the derived texts.
    """
    group, first = combinations(sources)
    of_sources = (labels.take(first).texts().tolist() for labels in sources)
    table = Table([derive(*texts) for texts in zip(*of_sources, strict=True)], names)
    return {name: table[name].take(group) for name in names}


class Table(dict[str, Labels]):
    """Columns of a table of texts by name, each made labels when it is first asked for."""

    def __init__(self, rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> None:
        self._rows, self._place = rows, {name: place for place, name in enumerate(names)}

    def __missing__(self, name: str) -> Labels:
        """The labels of a column not asked for before."""
        place = self._place[name]
        return self.setdefault(name, Labels.of([row[place] for row in self._rows]))


def combinations(sources: Sequence[Labels]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The combination (N,) of labels in each row, numbered as they first occur, and the first row of each."""
    return _combinations(np.array([labels.codes for labels in sources]))


@njit(cache=True)
def _combinations(codes):  # type: ignore[no-untyped-def]  # compiled
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
