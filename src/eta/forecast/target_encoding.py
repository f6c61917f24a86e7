"""Labels as numbers: how long parcels of a carrier, a service, a lane or at a place usually take, shrunk to what is known more widely.

A label's value is (sum + k base) / (count + k), with k parcels' worth of trust in the base
(empirical Bayes; Efron and Morris 1975). The base is the mean of all parcels; for a service on a
lane it is what the service and the lane say apart, for a place on the way to a destination what the
place says. A label never seen is worth its base. A row to learn from is valued without the parcels
of its own fold, or the forest would read its own answer in rare labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eta.journey.categories import lookup
from eta.journey.features import CATEGORICAL_COLUMNS, ROUTE_COLUMNS, Features

FOLDS = 5

#: Columns whose base is what others, valued before them, add to the mean; the rest stand alone.
_PARENTS = {"service_lane": ("service", "lane"), "place_lane": ("place",)}
_UNNESTED = tuple(column for column in CATEGORICAL_COLUMNS if column not in _PARENTS)


@dataclass(frozen=True, eq=False)
class HierarchicalTargetEncoder:
    """Sums and counts of log times by column and label, and by column the mean of all."""

    sums: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    prior: float

    @classmethod
    def fit(
        cls,
        features: Features,
        values: NDArray[np.float64],
        is_purchase: NDArray[np.bool_],
        prior: float,
    ) -> HierarchicalTargetEncoder:
        """From log times (N,) of purchases, one a parcel, and of scans.

        What is known at its purchase is valued by that alone, a place by every scan at it.
        """
        sums, counts, means = {}, {}, {}
        for column in CATEGORICAL_COLUMNS:
            labels = features.categoricals[column]
            rows = np.flatnonzero(is_purchase if column in ROUTE_COLUMNS else labels.codes >= 0)
            means[column] = float(values[rows].mean()) if len(rows) else 0.0
            labelled = rows[labels.codes[rows] >= 0]
            count = np.bincount(labels.codes[labelled], minlength=len(labels.names)).astype(
                np.float64
            )
            total = np.bincount(
                labels.codes[labelled], weights=values[labelled], minlength=len(labels.names)
            )
            present = np.flatnonzero(count)
            sums[column], counts[column] = (
                {labels.names[code]: float(totals[code]) for code in present}
                for totals in (total, count)
            )
        return cls(sums, counts, means, prior)

    def transform(self, features: Features) -> NDArray[np.float64]:
        """The value of every label, (N, columns)."""
        columns = (*_UNNESTED, *(column for pair in _PARENTS for column in (pair, pair)))
        looked_up_values = lookup(
            [features.categoricals[column] for column in columns], *self._tables
        )
        encoded = dict(zip(_UNNESTED, looked_up_values, strict=False))
        for place, (pair, parents) in enumerate(_PARENTS.items()):
            total, count = looked_up_values[
                len(_UNNESTED) + 2 * place : len(_UNNESTED) + 2 * place + 2
            ]
            base = self.means[pair] + sum(
                encoded[parent] - self.means[parent] for parent in parents
            )
            encoded[pair] = (total + self.prior * base) / (count + self.prior)
        return np.array([encoded[column] for column in CATEGORICAL_COLUMNS]).T

    @cached_property
    def _tables(self) -> tuple[list[Mapping[str, float]], list[float]]:
        """The value of each label that stands alone, then sums and counts of the others, with those of labels never seen."""
        tables: list[Mapping[str, float]] = []
        unseen = []
        for column in _UNNESTED:
            names, counts = (
                list(self.counts[column]),
                np.array([*self.counts[column].values(), 0.0]),
            )
            sums = np.array([*(self.sums[column][name] for name in names), 0.0])
            # Without a prior a label never seen is worth nothing that is known.
            with np.errstate(invalid="ignore"):
                *values, other = (
                    (sums + self.prior * self.means[column]) / (counts + self.prior)
                ).tolist()
            tables.append(dict(zip(names, values, strict=True)))
            unseen.append(other)
        return [*tables, *(part[pair] for pair in _PARENTS for part in (self.sums, self.counts))], [
            *unseen,
            *(0.0 for _ in range(2 * len(_PARENTS))),
        ]


def encode_out_of_fold(
    features: Features,
    parcel: NDArray[np.uint64],
    observed: Features,
    observed_parcel: NDArray[np.uint64],
    values: NDArray[np.float64],
    is_purchase: NDArray[np.bool_],
    prior: float,
) -> NDArray[np.float64]:
    """The labels (M, columns) of rows to learn from, each valued by what was ``observed`` (N,) of the other folds' parcels."""
    fold, observed_fold = (hashes % np.uint64(FOLDS) for hashes in (parcel, observed_parcel))
    result = np.empty((len(features), len(CATEGORICAL_COLUMNS)))
    for number in range(FOLDS):
        others, rows = np.flatnonzero(observed_fold != number), np.flatnonzero(fold == number)
        # With a single parcel there are no others: it is worth itself.
        others = others if is_purchase[others].any() else np.arange(len(values))
        result[rows] = HierarchicalTargetEncoder.fit(
            observed.take(others), values[others], is_purchase[others], prior
        ).transform(features.take(rows))
    return result
