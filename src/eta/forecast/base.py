"""What every forecast of an arrival has in common."""

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

#: Named arrays of a fitted model; with ``get_params()`` they are all there is to keep.
Arrays = Mapping[str, NDArray[Any]]

HORIZON_DAYS = 60


@runtime_checkable
class ArrivalModel(Protocol):
    """A forecast in scikit-learn's manner: parameters in, ``fit``, then curves out."""

    #: Refitted every midnight in replay and service, on what was known then, because that costs
    #: next to nothing.
    refits_daily: ClassVar[bool]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, as given."""
        ...

    def fit(self, examples: Examples) -> Self:
        """Learns from examples.

        Raises:
            NothingToLearn: if no example arrived.
        """
        ...

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,).

        Raises:
            NotFitted: before ``fit``.
        """
        ...


class Estimator:
    """The parameters of an estimator, as scikit-learn wants them (its ``clone`` and searches take it for one of theirs).

    Its own ``BaseEstimator`` does the same and takes a second to import, which every start of the
    service would wait for.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # scikit-learn asks with it; ours hold no estimators
        """The parameters of the constructor, by name."""
        return {name: getattr(self, name) for name in sorted(signature(type(self)).parameters)}

    def set_params(self, **parameters: Any) -> Self:
        """Sets parameters of the constructor.

        Raises:
            InvalidValue: if there is no such parameter.
        """
        for name, value in parameters.items():
            if name not in self.get_params():
                raise InvalidValue(
                    name, "there is no such parameter", f"use one of {', '.join(self.get_params())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"


def group_quantiles(
    values: NDArray[np.float64],
    groups: NDArray[np.integer],
    count: int,
    levels: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Quantiles (count, K) at ``levels`` (K,) of the values of each group; NaN rows for empty groups.

    Linear between order statistics (Hyndman and Fan's type 7, as in ``numpy.quantile``).
    """
    order = np.lexsort((values, groups))
    ranked = values[order]
    sizes = np.bincount(groups, minlength=count)
    result = np.full((count, len(levels)), np.nan)
    filled = np.flatnonzero(sizes)
    start = (np.cumsum(sizes) - sizes)[filled]
    position = levels[None, :] * (sizes[filled, None] - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, sizes[filled, None] - 1)
    low, high = ranked[start[:, None] + below], ranked[start[:, None] + above]
    result[filled] = low + (position - below) * (high - low)
    return result
