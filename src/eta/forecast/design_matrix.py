"""The design matrix: the numbers that trees read, the same for ``eta`` and its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.domain.errors import NoTrainingData
from eta.forecast.target_encoding import (
    HierarchicalTargetEncoder,
    encode_out_of_fold,
    take_rows,
)
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

#: Rows of a matrix that are filled together, which bounds the memory that it takes.
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Design:
    """The columns of a design matrix, and the encoders of its categories."""

    labels: HierarchicalTargetEncoder
    columns: tuple[str, ...] = NUMBER_COLUMNS
    #: Encodes categories by the time past the promise, if the model reads the promised date.
    against_promise: HierarchicalTargetEncoder | None = None

    @classmethod
    def fit(
        cls, examples: Examples, prior: float, *, columns: tuple[str, ...] = NUMBER_COLUMNS
    ) -> tuple[Design, NDArray[np.float32]]:
        """The design, and its matrix (M, F) of the training rows.

        In that matrix a category is encoded without the parcel's own fold. The target is the log
        time left at purchases and scans, also of open parcels (``log_time_left``). If the columns
        include the promise, a second target is the time past it (``days_past_promise``), at all
        moments alike.

        Raises:
            NoTrainingData: if no parcel with an example at its purchase arrived.
        """
        is_purchase = examples.moment == PURCHASE
        if not (examples.event_observed & is_purchase).any():
            raise NoTrainingData()
        rows = np.flatnonzero(is_purchase | (examples.moment == SCAN))
        values = log_time_left(examples)[rows]
        encoder, labels = _fit_encoder(examples, rows, values, is_purchase[rows], prior)
        if PROMISE_COLUMN not in columns:
            design = cls(encoder, columns)
            return design, design.matrix(examples.features, labels)
        past_promise = days_past_promise(examples)
        promised = np.flatnonzero(~np.isnan(past_promise))
        is_counted = np.full(len(promised), True)
        against_promise, promise_labels = _fit_encoder(
            examples, promised, past_promise[promised], is_counted, prior
        )
        design = cls(encoder, columns, against_promise)
        return design, design.matrix(examples.features, np.hstack([labels, promise_labels]))

    def rows(self, features: Features) -> NDArray[np.float32]:
        """The matrix (N, F) of moments to forecast."""
        return self.matrix(features, self.encode_labels(features))

    def encode_labels(self, features: Features) -> NDArray[np.float64]:
        """Encoded categories, (N, L), or (N, 2 L) with those against the promise."""
        labels = self.labels.transform(features.categoricals)
        if self.against_promise is None:
            return labels
        return np.hstack([labels, self.against_promise.transform(features.categoricals)])

    def matrix(self, features: Features, labels: NDArray[np.float64]) -> NDArray[np.float32]:
        """Numbers and encoded categories side by side, (N, F).

        Places have no column if no scan of the training data named one.
        """
        has_places = bool(self.labels.counts[PLACE_COLUMNS[0]])
        used = len(CATEGORICAL_COLUMNS) if has_places else len(ROUTE_COLUMNS)
        columns = [features.numbers[name] for name in self.columns]
        for first in range(0, labels.shape[1], len(CATEGORICAL_COLUMNS)):
            columns += list(labels.T[first : first + used])
        return _side_by_side(columns)


def _side_by_side(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """F columns (N,) as a matrix (N, F), ``_BLOCK_ROWS`` rows at a time."""
    count = len(columns[0])
    if count <= _BLOCK_ROWS:
        return np.array(columns, dtype=np.float32).T.copy()
    result = np.empty((count, len(columns)), dtype=np.float32)
    for first in range(0, count, _BLOCK_ROWS):
        rows = slice(first, first + _BLOCK_ROWS)
        result[rows] = np.array([column[rows] for column in columns], dtype=np.float32).T
    return result


def _fit_encoder(
    examples: Examples,
    rows: NDArray[np.integer],
    values: NDArray[np.float64],
    is_purchase: NDArray[np.bool_],
    prior: float,
) -> tuple[HierarchicalTargetEncoder, NDArray[np.float64]]:
    """The encoder of the examples ``rows`` (N,) with the targets ``values`` (N,).

    Beside it all examples, (M, L), encoded without their own fold.
    """
    categoricals = examples.features.categoricals
    observed = take_rows(categoricals, rows)
    labels = encode_out_of_fold(
        categoricals,
        examples.parcel,
        observed,
        examples.parcel[rows],
        values,
        is_purchase,
        prior,
    )
    encoder = HierarchicalTargetEncoder.fit(observed, values, is_purchase, prior)
    return encoder, labels


def log_time_left(examples: Examples) -> NDArray[np.float64]:
    """The log of 1 + days left (``_days_left``), (M,)."""
    return np.log1p(_days_left(examples))


def days_past_promise(examples: Examples) -> NDArray[np.float64]:
    """Days, (M,), from the end of the promised day to the arrival; below 0 if early.

    NaN without a promise. Given as the inverse hyperbolic sine, which is linear for hours near the
    end of the day and logarithmic for weeks.
    """
    days = _days_left(examples) - examples.features.numbers[PROMISE_COLUMN]
    return np.arcsinh(days - 1.0)


def _days_left(examples: Examples) -> NDArray[np.float64]:
    """Days left, (M,).

    A parcel that is still open counts as 1.5 times the days observed, and at least 15 days.
    """
    days = examples.duration_hours / 24.0
    return np.where(examples.event_observed, days, np.maximum(1.5 * days, 15.0))
