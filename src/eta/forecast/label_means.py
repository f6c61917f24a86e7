"""Labels as numbers: how long parcels of a carrier, a service or a lane usually take, shrunk to what is known more widely.

A label's value is (sum + k base) / (count + k), with k parcels' worth of trust in the base (empirical Bayes; Efron and
Morris 1975). The base is the mean of all parcels; for a service on a lane it is what the service and the lane say apart.
A label never seen is worth its base. A row to learn from is valued without the parcels of its own fold, or the forest
would read its own answer in rare labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eta.journey.columns import looked_up
from eta.journey.features import LABEL_COLUMNS, Features

FOLDS = 5
#: The column whose base is what two others, valued before it, add to the mean; the rest stand alone.
_PAIR, _PARENTS = "service_lane", ("service", "lane")
_ALONE = tuple(column for column in LABEL_COLUMNS if column != _PAIR)


@dataclass(frozen=True, eq=False)
class LabelMeans:
    """Sums and counts of log times by column and label, and the mean of all."""

    sums: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, float]]
    mean: float
    prior: float

    @classmethod
    def learn(cls, features: Features, values: NDArray[np.float64], prior: float) -> LabelMeans:
        """From one row a parcel and its log time (N,)."""
        sums, counts = {}, {}
        for column in LABEL_COLUMNS:
            labels = features.labels[column]
            known = np.flatnonzero(labels.codes >= 0)
            count = np.bincount(labels.codes[known], minlength=len(labels.names)).astype(np.float64)
            total = np.bincount(labels.codes[known], weights=values[known], minlength=len(labels.names))
            seen = np.flatnonzero(count)
            sums[column], counts[column] = ({labels.names[code]: float(each[code]) for code in seen} for each in (total, count))
        return cls(sums, counts, float(values.mean()), prior)

    def encode(self, features: Features) -> NDArray[np.float64]:
        """The value of every label, (N, columns)."""
        columns = (*_ALONE, _PAIR, _PAIR)
        *alone, total, count = looked_up([features.labels[column] for column in columns], *self._tables)
        known = dict(zip(_ALONE, alone, strict=True))
        base = self.mean + sum(known[parent] - self.mean for parent in _PARENTS)
        known[_PAIR] = (total + self.prior * base) / (count + self.prior)
        return np.array([known[column] for column in LABEL_COLUMNS]).T

    @cached_property
    def _tables(self) -> tuple[list[Mapping[str, float]], list[float]]:
        """The value of each label that stands alone, then sums and counts of pairs, with those of labels never seen."""
        tables: list[Mapping[str, float]] = []
        unseen = []
        for column in _ALONE:
            names, counts = list(self.counts[column]), np.array([*self.counts[column].values(), 0.0])
            sums = np.array([*(self.sums[column][name] for name in names), 0.0])
            # Without a prior a label never seen is worth nothing that is known.
            with np.errstate(invalid="ignore"):
                *values, other = ((sums + self.prior * self.mean) / (counts + self.prior)).tolist()
            tables.append(dict(zip(names, values, strict=True)))
            unseen.append(other)
        return [*tables, self.sums[_PAIR], self.counts[_PAIR]], [*unseen, 0.0, 0.0]


def encode_out_of_fold(
    features: Features, parcel: NDArray[np.uint64], purchases: Features, purchase_parcel: NDArray[np.uint64], values: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """The labels (M, columns) of rows to learn from, each valued by the purchases (N,) of the other folds' parcels."""
    fold, purchase_fold = (hashes % np.uint64(FOLDS) for hashes in (parcel, purchase_parcel))
    result = np.empty((len(features), len(LABEL_COLUMNS)))
    for number in range(FOLDS):
        others, rows = np.flatnonzero(purchase_fold != number), np.flatnonzero(fold == number)
        # With a single parcel there are no others: it is worth itself.
        others = others if len(others) else np.arange(len(values))
        result[rows] = LabelMeans.learn(purchases.take(others), values[others], prior).encode(features.take(rows))
    return result
