"""What all forecasts of an arrival share."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eta.curves import Curves
from eta.domain.errors import InvalidValue
from eta.journey.examples import Examples
from eta.journey.features import Features

#: Named arrays of a fitted model; with ``get_params()`` they are the whole model.
Arrays = Mapping[str, NDArray[Any]]

HORIZON_DAYS = 60


@runtime_checkable
class ArrivalModel(Protocol):
    """A forecast in scikit-learn's manner: parameters in, ``fit``, then curves out."""

    #: Whether backtest and service refit it every midnight, because a fit costs next to nothing.
    refits_daily: ClassVar[bool]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as given."""
        ...

    def fit(self, examples: Examples) -> Self:
        """Fits the model to examples.

        Raises:
            NoTrainingData: if no example arrived.
        """
        ...

    def predict_curves(self, features: Features) -> Curves:
        """The distributions of the time left, (N,).

        Raises:
            NotFitted: before ``fit``.
        """
        ...


class Estimator:
    """The parameters of an estimator, with the methods that scikit-learn calls.

    scikit-learn's own ``BaseEstimator`` does the same but takes a second to import, which would
    delay every start of the service.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # scikit-learn passes it; there are no nested estimators
        """The parameters of the constructor, by name."""
        return {name: getattr(self, name) for name in sorted(signature(type(self)).parameters)}

    def set_params(self, **parameters: Any) -> Self:
        """Sets parameters of the constructor.

        Raises:
            InvalidValue: if a name is unknown.
        """
        self._check_names(parameters)
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def _check_names(self, parameters: Mapping[str, Any]) -> None:
        valid_names = self.get_params()
        for name in parameters:
            if name not in valid_names:
                raise InvalidValue(
                    name, "unknown parameter", f"use one of {', '.join(valid_names)}"
                )

    def __repr__(self) -> str:
        parameters = self.get_params().items()
        arguments = ", ".join(f"{name}={value!r}" for name, value in parameters)
        return f"{type(self).__name__}({arguments})"


def elapsed_hours(features: Features) -> NDArray[np.float64]:
    """Hours from the order to ``as_of``, (N,)."""
    return features.numbers["order_elapsed_days"] * 24.0


def hours_from_order(examples: Examples) -> NDArray[np.float64]:
    """Hours, (M,), from the order to the arrival, or to the last moment at which a parcel was open.

    An order may be received some time after it was placed, so this may be more than the hours from
    its first example.
    """
    return examples.duration_hours + elapsed_hours(examples.features)


def group_quantiles(
    values: NDArray[np.float64],
    groups: NDArray[np.integer],
    count: int,
    levels: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Quantiles (count, K) at ``levels`` (K,) of the values of each group.

    Empty groups have NaN. Linear between order statistics (Hyndman and Fan's type 7, as in
    ``numpy.quantile``).
    """
    order = np.lexsort((values, groups))
    ranked = values[order]
    sizes = np.bincount(groups, minlength=count)
    result = np.full((count, len(levels)), np.nan)
    filled = np.flatnonzero(sizes)
    start = (np.cumsum(sizes) - sizes)[filled, None]
    last = sizes[filled, None] - 1
    position = levels[None, :] * last
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, last)
    low, high = ranked[start + below], ranked[start + above]
    result[filled] = low + (position - below) * (high - low)
    return result
