"""What trees see: one matrix of numbers, the same for the model and for all that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.domain.errors import NothingToLearn
from eta.forecast.label_means import LabelMeans, encode_out_of_fold
from eta.journey.features import NUMBER_COLUMNS, Features
from eta.journey.snapshots import PURCHASE, Examples


@dataclass(frozen=True, eq=False)
class Design:
    """Which numbers are taken, and what labels are worth."""

    labels: LabelMeans
    columns: tuple[str, ...] = NUMBER_COLUMNS

    @classmethod
    def learn(cls, examples: Examples, prior: float, *, columns: tuple[str, ...] = NUMBER_COLUMNS) -> tuple[Design, NDArray[np.float32]]:
        """The design, and the rows (M, F) to learn from: there labels are valued without the parcel's own fold.

        Labels are valued by the log time of one example a parcel, open parcels included (``log_time_left``).

        Raises:
            NothingToLearn: if no parcel that was seen at its purchase arrived.
        """
        is_purchase = examples.kind == PURCHASE
        if not (examples.arrived & is_purchase).any():
            raise NothingToLearn()
        purchases = examples.take(np.flatnonzero(is_purchase))
        values = log_time_left(purchases)
        labels = encode_out_of_fold(examples.features, examples.parcel, purchases.features, purchases.parcel, values, prior)
        return cls(LabelMeans.learn(purchases.features, values, prior), columns), matrix(examples.features, labels, columns)

    def rows(self, features: Features) -> NDArray[np.float32]:
        """The matrix (N, F) of moments to forecast."""
        return matrix(features, self.labels.encode(features), self.columns)


def matrix(features: Features, labels: NDArray[np.float64], columns: tuple[str, ...] = NUMBER_COLUMNS) -> NDArray[np.float32]:
    """Numbers and valued labels (N, L) side by side, (N, F)."""
    return np.column_stack([*(features.numbers[name] for name in columns), labels]).astype(np.float32)


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """The log of 1 + days left, (M,).

    A parcel still open stands at half as long again as it was seen to be, and at no less than 15 days.
    """
    days = examples.hours / 24.0
    return np.log1p(np.where(examples.arrived, days, np.maximum(1.5 * days, 15.0)))
