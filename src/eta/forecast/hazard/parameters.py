"""Parameters of the hazard model: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from eta.domain.errors import InvalidValue
from eta.journey.features import NUMBER_COLUMNS, PROMISE_COLUMN

#: The smallest valid value of a parameter. Other numbers must be above 0.
_MINIMA = {
    "trees": 1,
    "leaves": 2,
    "leaf_rows": 1,
    "smoothing_bins": 0,
    "seed": 0,
    "label_prior": 0,
}

#: The largest value of a parameter, by name, and of all others.
_MAXIMA = {"trees": 10_000, "leaves": 10_000}
_MAXIMUM = 1e12


@dataclass(frozen=True, kw_only=True)
class HazardParameters:
    """Parameters of the hazard model; the defaults are those of ``eta``."""

    #: Trees of the structure.
    trees: int = 150
    #: Learning rate of the structure.
    structure_rate: float = 0.08
    #: Leaves a tree.
    leaves: int = 48
    #: Minimum rows a leaf.
    leaf_rows: int = 100
    #: Share of a leaf's Newton step that is taken.
    leaf_rate: float = 0.1
    #: Curvature, in expected arrivals, that shrinks a leaf to 0.
    ridge: float = 15.0
    #: Largest log-hazard of a leaf.
    cap: float = 0.5
    #: Standard deviation, in bins, of the Gaussian smoother over bins; 0 for none.
    smoothing_bins: float = 0.7
    #: Weight, in parcels, of the overall mean against a category's own mean.
    label_prior: float = 20.0
    #: Reads the promised date. For flags only: a promise must not depend on itself.
    uses_promise: bool = False
    #: Follows the current speed of the network.
    tracks_drift: bool = True
    #: Learns from open parcels too. Switched off only to measure what that costs.
    includes_censored: bool = True
    #: Seed of the structure.
    seed: int = 0

    def validate(self) -> None:
        """Checks the range of every parameter.

        Raises:
            InvalidValue: if a parameter is out of range.
        """
        for name, value in sorted(vars(self).items()):
            if name in _MINIMA:
                is_invalid = value < _MINIMA[name]
                hint = f"give at least {_MINIMA[name]}"
            else:
                is_invalid = not isinstance(value, bool) and value <= 0
                hint = "give a number above 0"
            maximum = _MAXIMA.get(name, _MAXIMUM)
            if not is_invalid and not (isfinite(value) and value <= maximum):
                is_invalid, hint = True, f"give at most {maximum:,.0f}"
            if is_invalid:
                raise InvalidValue(name, f"{value!r} is out of range", hint)

    @property
    def columns(self) -> tuple[str, ...]:
        """The number columns that the model reads."""
        return (*NUMBER_COLUMNS, PROMISE_COLUMN) if self.uses_promise else NUMBER_COLUMNS
