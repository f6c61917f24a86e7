"""Text as integer codes, so that a million carriers cost no more than a million integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING = -1


@dataclass(frozen=True, eq=False)
class Labels:
    """N texts as codes (N,) into sorted ``names``; a missing text is ``MISSING``."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str | None] | pd.Series) -> Labels:
        """Labels of texts; empty and missing texts are ``MISSING``."""
        series = pd.Series(texts, dtype="str").replace("", np.nan)
        codes, names = pd.factorize(series, sort=True)
        return cls(codes.astype(np.int32), tuple(names))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.integer]) -> Labels:
        """The labels of some rows; the names stay."""
        return Labels(self.codes[rows], self.names)

    def texts(self) -> NDArray[np.object_]:
        """The texts themselves, None where missing."""
        return np.array([*self.names, None], dtype=object)[self.codes]

    def translate(self, values: Mapping[str, float], missing: float) -> NDArray[np.float64]:
        """The number of each text, ``missing`` for texts that are missing or have none."""
        return np.array([*(values.get(name, missing) for name in self.names), missing])[self.codes]

    def or_else(self, other: Labels) -> Labels:
        """These texts, and the other's where one is missing."""
        codes = np.where((self.codes == MISSING) & (other.codes != MISSING), other.codes + len(self.names), self.codes)
        names = Labels.of([*self.names, *other.names, None])
        return Labels(names.codes[codes], names.names)

    def filled(self, text: str) -> Labels:
        """These texts, and ``text`` where one is missing."""
        return self.or_else(Labels(np.zeros(len(self), dtype=np.int32), (text,)))

    def joined(self, other: Labels, separator: str) -> Labels:
        """Texts ``self + separator + other``; missing where either is."""
        pair = self.codes.astype(np.int64) * max(len(other.names), 1) + other.codes
        pair[(self.codes == MISSING) | (other.codes == MISSING)] = MISSING
        used, codes = np.unique(pair, return_inverse=True)
        texts = [None if code < 0 else self.names[code // len(other.names)] + separator + other.names[code % len(other.names)] for code in used]
        relabelled = Labels.of(texts)
        return Labels(relabelled.codes[codes], relabelled.names)
