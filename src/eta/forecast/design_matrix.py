"""What trees see: one matrix of numbers, the same for the model and for all that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.domain.errors import NothingToLearn
from eta.forecast.target_encoding import LabelMeans, encode_out_of_fold
from eta.journey.examples import Examples
from eta.journey.features import (
    LABEL_COLUMNS,
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

    labels: LabelMeans
    columns: tuple[str, ...] = NUMBER_COLUMNS
    #: What labels are worth against the promise, where that is seen.
    against_promise: LabelMeans | None = None

    @classmethod
    def learn(
        cls, examples: Examples, prior: float, *, columns: tuple[str, ...] = NUMBER_COLUMNS
    ) -> tuple[Design, NDArray[np.float32]]:
        """The design, and the rows (M, F) to learn from: there labels are valued without the parcel's own fold.

        Labels are valued by the log time of purchases and scans, those of open parcels included
        (``log_time_left``); where the promise is seen, also by how far beyond it parcels arrive
        (``beyond_promise``), all moments alike.

        Raises:
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        is_purchase = examples.kind == PURCHASE
        if not (examples.arrived & is_purchase).any():
            raise NothingToLearn()
        rows = np.flatnonzero(is_purchase | (examples.kind == SCAN))
        seen, is_first = examples.take(rows), is_purchase[rows]
        values = log_time_left(seen)
        labels = encode_out_of_fold(
            examples.features, examples.parcel, seen.features, seen.parcel, values, is_first, prior
        )
        means = LabelMeans.learn(seen.features, values, is_first, prior)
        if PROMISE_COLUMN not in columns:
            design = cls(means, columns)
            return design, design.matrix(examples.features, labels)
        beyond = beyond_promise(examples)
        known = np.flatnonzero(~np.isnan(beyond))
        seen, values, everything = examples.take(known), beyond[known], np.full(len(known), True)
        against = encode_out_of_fold(
            examples.features,
            examples.parcel,
            seen.features,
            seen.parcel,
            values,
            everything,
            prior,
        )
        design = cls(means, columns, LabelMeans.learn(seen.features, values, everything, prior))
        return design, design.matrix(examples.features, np.hstack([labels, against]))

    def rows(self, features: Features) -> NDArray[np.float32]:
        """The matrix (N, F) of moments to forecast."""
        return self.matrix(features, self.valued(features))

    def valued(self, features: Features) -> NDArray[np.float64]:
        """What labels are worth, (N, L), and next to it what they are against the promise, (N, 2 L), where that is seen."""
        labels = self.labels.encode(features)
        return (
            labels
            if self.against_promise is None
            else np.hstack([labels, self.against_promise.encode(features)])
        )

    def matrix(self, features: Features, labels: NDArray[np.float64]) -> NDArray[np.float32]:
        """Numbers and ``valued`` labels side by side, (N, F); places have no column where no scan has told of one."""
        shown = len(LABEL_COLUMNS) if self.labels.counts[PLACE_COLUMNS[0]] else len(ROUTE_COLUMNS)
        told = [
            column
            for first in range(0, labels.shape[1], len(LABEL_COLUMNS))
            for column in labels.T[first : first + shown]
        ]
        return np.array(
            [*(features.numbers[name] for name in self.columns), *told], dtype=np.float32
        ).T.copy()


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """The log of 1 + days left (``_days_left``), (M,)."""
    return np.log1p(_days_left(examples))


def beyond_promise(examples: Examples) -> NDArray[np.float64]:
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
    days = examples.hours / 24.0
    return np.where(examples.arrived, days, np.maximum(1.5 * days, 15.0))
