"""What trees see: one matrix of numbers, the same for the model and for all that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.domain.errors import NoTrainingData
from eta.forecast.target_encoding import HierarchicalTargetEncoder, encode_out_of_fold
from eta.journey.examples import Examples
from eta.journey.features import (
    CATEGORICAL_COLUMNS,
    NUMBER_COLUMNS,
    PLACE_COLUMNS,
    PROMISE_COLUMN,
    ROUTE_COLUMNS,
    Features,
)
from eta.journey.snapshots import PURCHASE, SCAN


@dataclass(frozen=True, eq=False)
class Design:
    """Which numbers are taken, and what labels are worth."""

    labels: HierarchicalTargetEncoder
    columns: tuple[str, ...] = NUMBER_COLUMNS
    #: What labels are worth against the promise, where that is seen.
    against_promise: HierarchicalTargetEncoder | None = None

    @classmethod
    def fit(
        cls, examples: Examples, prior: float, *, columns: tuple[str, ...] = NUMBER_COLUMNS
    ) -> tuple[Design, NDArray[np.float32]]:
        """The design, and the rows (M, F) to learn from: there labels are valued without the parcel's own fold.

        Labels are valued by the log time of purchases and scans, those of open parcels included
        (``log_time_left``); where the promise is seen, also by how far beyond it parcels arrive
        (``days_past_promise``), all moments alike.

        Raises:
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        is_purchase = examples.moment == PURCHASE
        if not (examples.event_observed & is_purchase).any():
            raise NoTrainingData()
        rows = np.flatnonzero(is_purchase | (examples.moment == SCAN))
        observed, is_first = examples.take(rows), is_purchase[rows]
        values = log_time_left(observed)
        labels = encode_out_of_fold(
            examples.features,
            examples.parcel,
            observed.features,
            observed.parcel,
            values,
            is_first,
            prior,
        )
        means = HierarchicalTargetEncoder.fit(observed.features, values, is_first, prior)
        if PROMISE_COLUMN not in columns:
            design = cls(means, columns)
            return design, design.matrix(examples.features, labels)
        past_promise = days_past_promise(examples)
        promised = np.flatnonzero(~np.isnan(past_promise))
        observed, values, all_rows = (
            examples.take(promised),
            past_promise[promised],
            np.full(len(promised), True),
        )
        promise_labels = encode_out_of_fold(
            examples.features,
            examples.parcel,
            observed.features,
            observed.parcel,
            values,
            all_rows,
            prior,
        )
        design = cls(
            means,
            columns,
            HierarchicalTargetEncoder.fit(observed.features, values, all_rows, prior),
        )
        return design, design.matrix(examples.features, np.hstack([labels, promise_labels]))

    def rows(self, features: Features) -> NDArray[np.float32]:
        """The matrix (N, F) of moments to forecast."""
        return self.matrix(features, self.encode_labels(features))

    def encode_labels(self, features: Features) -> NDArray[np.float64]:
        """What labels are worth, (N, L), and next to it what they are against the promise, (N, 2 L), where that is seen."""
        labels = self.labels.transform(features)
        return (
            labels
            if self.against_promise is None
            else np.hstack([labels, self.against_promise.transform(features)])
        )

    def matrix(self, features: Features, labels: NDArray[np.float64]) -> NDArray[np.float32]:
        """Numbers and ``encode_labels`` labels side by side, (N, F); places have no column where no scan has told of one."""
        column_count = (
            len(CATEGORICAL_COLUMNS) if self.labels.counts[PLACE_COLUMNS[0]] else len(ROUTE_COLUMNS)
        )
        label_columns = [
            column
            for first in range(0, labels.shape[1], len(CATEGORICAL_COLUMNS))
            for column in labels.T[first : first + column_count]
        ]
        return np.array(
            [*(features.numbers[name] for name in self.columns), *label_columns], dtype=np.float32
        ).T.copy()


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """The log of 1 + days left (``_days_left``), (M,)."""
    return np.log1p(_days_left(examples))


def days_past_promise(examples: Examples) -> NDArray[np.float64]:
    """How many days after the promised day's end a parcel arrives, (M,), below 0 if before it; NaN without a promise.

    Given as the inverse hyperbolic sine, which counts hours near the end alike and weeks from it by
    their logarithm.
    """
    return np.arcsinh(_days_left(examples) - examples.features.numbers[PROMISE_COLUMN] - 1.0)


def _days_left(examples: Examples) -> NDArray[np.float64]:
    """Days left, (M,).

    A parcel still open stands at half as long again as it was seen to be, and at no less than 15
    days.
    """
    days = examples.duration_hours / 24.0
    return np.where(examples.event_observed, days, np.maximum(1.5 * days, 15.0))
