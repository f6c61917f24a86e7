"""Hierarchical target encoding: categories as numbers, each the typical time of its parcels.

The value of a category, such as a lane or a place, is (sum + k base) / (count + k), with k the
weight of the base in parcels (empirical Bayes; Efron and Morris 1975). The base is the overall
mean. For a service on a lane it is the sum of what the service and the lane add to the mean, for a
place on the way to a destination what the place adds. An unknown category has the value of its
base. In training, a row is encoded without the parcels of its own fold; otherwise the forest would
read the outcome of a row from a rare category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eta.journey.categories import Categorical, lookup
from eta.journey.features import CATEGORICAL_COLUMNS, ROUTE_COLUMNS

FOLDS = 5

#: Columns whose base is the sum of the effects of other columns. The others stand alone.
_PARENTS = {"service_lane": ("service", "lane"), "place_lane": ("place",)}
_UNNESTED = tuple(column for column in CATEGORICAL_COLUMNS if column not in _PARENTS)

#: The columns that ``lookup`` reads: nested ones twice, for their sums and their counts.
_LOOKUP_COLUMNS = (*_UNNESTED, *(column for nested in _PARENTS for column in (nested, nested)))


@dataclass(frozen=True, eq=False)
class HierarchicalTargetEncoder:
    """Sums and counts of log times by column and category, and the mean of each column."""

    sums: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    prior: float

    @classmethod
    def fit(
        cls,
        categoricals: Mapping[str, Categorical],
        values: NDArray[np.float64],
        is_purchase: NDArray[np.bool_],
        prior: float,
    ) -> HierarchicalTargetEncoder:
        """The encoder of log times (N,) at purchases, one a parcel, and at scans.

        Columns that a parcel has at its purchase count purchases only, places every scan there.
        """
        sums, counts, means = {}, {}, {}
        for column in CATEGORICAL_COLUMNS:
            labels = categoricals[column]
            is_used = is_purchase if column in ROUTE_COLUMNS else labels.codes >= 0
            rows = np.flatnonzero(is_used)
            means[column] = float(values[rows].mean()) if len(rows) else 0.0
            # Categories that occur.
            rows = rows[labels.codes[rows] >= 0]
            codes, categories = labels.codes[rows], len(labels.names)
            total = np.bincount(codes, weights=values[rows], minlength=categories)
            count = np.bincount(codes, minlength=categories)
            present = np.flatnonzero(count)
            sums[column] = {labels.names[code]: float(total[code]) for code in present}
            counts[column] = {labels.names[code]: float(count[code]) for code in present}
        return cls(sums, counts, means, prior)

    def transform(self, categoricals: Mapping[str, Categorical]) -> NDArray[np.float64]:
        """The value of every category, (N, columns)."""
        columns = [categoricals[column] for column in _LOOKUP_COLUMNS]
        looked_up = iter(lookup(columns, *self._tables))
        encoded = {column: next(looked_up) for column in _UNNESTED}
        for column, parents in _PARENTS.items():
            total, count = next(looked_up), next(looked_up)
            effects = sum(encoded[parent] - self.means[parent] for parent in parents)
            base = self.means[column] + effects
            shrunk_total = total + self.prior * base
            encoded[column] = shrunk_total / (count + self.prior)
        return np.array([encoded[column] for column in CATEGORICAL_COLUMNS]).T

    @cached_property
    def _tables(self) -> tuple[list[Mapping[str, float]], list[float]]:
        """A table for each of ``_LOOKUP_COLUMNS``, and its entry for unknown categories.

        Columns that stand alone have their final values, nested ones their sums and counts.
        """
        tables: list[Mapping[str, float]] = []
        unknown = []
        for column in _UNNESTED:
            names = list(self.counts[column])
            counts = np.array([*self.counts[column].values(), 0.0])
            sum_by_name = self.sums[column]
            sums = np.array([*(sum_by_name[name] for name in names), 0.0])
            # Without a prior an unknown category has no value.
            with np.errstate(invalid="ignore"):
                shrunk_sums = sums + self.prior * self.means[column]
                values = shrunk_sums / (counts + self.prior)
            *named_values, unknown_value = values.tolist()
            tables.append(dict(zip(names, named_values, strict=True)))
            unknown.append(unknown_value)
        for column in _PARENTS:
            tables += [self.sums[column], self.counts[column]]
            unknown += [0.0, 0.0]
        return tables, unknown


def encode_out_of_fold(
    categoricals: Mapping[str, Categorical],
    parcel: NDArray[np.uint64],
    observed: Mapping[str, Categorical],
    observed_parcel: NDArray[np.uint64],
    values: NDArray[np.float64],
    is_purchase: NDArray[np.bool_],
    prior: float,
) -> NDArray[np.float64]:
    """The categories (M, columns) of training rows, encoded by the ``observed`` of other folds.

    ``observed`` (N,) have the log times ``values`` (N,).
    """
    fold, observed_fold = parcel % np.uint64(FOLDS), observed_parcel % np.uint64(FOLDS)
    result = np.empty((len(parcel), len(CATEGORICAL_COLUMNS)))
    for number in range(FOLDS):
        others = np.flatnonzero(observed_fold != number)
        # A single parcel has no others: it is encoded by itself.
        if not is_purchase[others].any():
            others = np.arange(len(values))
        encoder = HierarchicalTargetEncoder.fit(
            take_rows(observed, others), values[others], is_purchase[others], prior
        )
        rows = np.flatnonzero(fold == number)
        result[rows] = encoder.transform(take_rows(categoricals, rows))
    return result


def take_rows(
    categoricals: Mapping[str, Categorical], rows: NDArray[np.integer]
) -> dict[str, Categorical]:
    """The encoded categories of some rows."""
    return {column: categoricals[column].take(rows) for column in CATEGORICAL_COLUMNS}
