"""Lane quantiles: the fallback without a model. How long parcels of a lane take, with a margin.

Plain data without a model: distributions of the days from order to arrival, by lane. They depend
neither on weekdays and scans nor on the current speed of the network, so their dates err on the
late side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import from_microseconds
from eta.curves import Curves, kaplan_meier
from eta.domain.errors import EtaError, ModelCorrupted
from eta.forecast.base import HORIZON_DAYS, elapsed_hours, hours_from_order
from eta.forecast.support import (
    LANE,
    MIN_PARCELS,
    SUPPORT_LEVELS,
    from_any_origin,
    group_keys,
    groups_by_level,
)
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.route import UNNAMED
from eta.journey.snapshots import PURCHASE
from eta.stored_values import MAX_COUNT, parse_utc

#: Groups of similar parcels, from the narrowest to the widest: a service on a lane, the lane, the
#: two countries. No level holds all parcels: data of one country say nothing about another.
FALLBACK_LEVELS = (SUPPORT_LEVELS[1], LANE, SUPPORT_LEVELS[-1])
_COUNTRY_PAIR = FALLBACK_LEVELS[-1]

#: The levels of the quantiles that represent a distribution.
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97)

#: The safety margin from the median on: a tenth, and half a day. Below the median it shrinks to
#: nothing, so that the first day of a window stays as early as parcels arrive. Of the days promised
#: at 0.9 to simulated parcels in two periods of eight weeks, 88 and 92 % were met without it (81
#: and 86 % three days after the hand-over), and 94 and 96 % with it (90 and 92 %).
MARGIN_SHARE, MARGIN_HOURS = 0.1, 12.0
_MARGIN_FROM_LEVEL = 0.5
_GRID_HOURS = np.arange(0.0, HORIZON_DAYS * 24.0 + 1.0, 6.0)
_KNOT_LEVELS = np.array([0.0, *LEVELS, 1.0])

#: The error of every invalid file.
_CORRUPTED = "the lane quantiles are invalid or of another release; train the model again"


@dataclass(frozen=True)
class LaneDistribution:
    """How long parcels of a group take from order to arrival.

    ``days`` are the quantiles at ``LEVELS``, at most ``last_days``. By then a share ``reached`` has
    arrived; nothing is known about the rest. ``parcels`` is the number that had arrived.
    """

    parcels: int
    reached: float
    last_days: float
    days: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class LaneQuantiles:
    """Distributions by level of ``FALLBACK_LEVELS`` and group.

    They include every group with at least ``MIN_PARCELS`` parcels that arrived.

    Example:
        >>> days = (2.0,) * len(LEVELS)
        >>> distribution = LaneDistribution(parcels=40, reached=0.97, last_days=8.0, days=days)
        >>> data_through = datetime.fromisoformat("2026-05-10T00:00:00+00:00")
        >>> quantiles = LaneQuantiles({"lane": {"AT-9>AT-8": distribution}}, data_through)
        >>> LaneQuantiles.from_json(quantiles.to_json()).distributions == quantiles.distributions
        True
    """

    distributions: Mapping[str, Mapping[str, LaneDistribution]]
    #: The end of the training data, aware.
    data_through: datetime

    @classmethod
    def fit(cls, examples: Examples) -> LaneQuantiles:
        """The Kaplan-Meier quantiles of examples at purchase; open parcels are censored."""
        purchases = examples.take(np.flatnonzero(examples.moment == PURCHASE))
        combination, keys = group_keys(purchases.features)
        groups_by_key = [_groups_by_level(*texts) for texts in keys]
        distributions = {}
        for support_level in FALLBACK_LEVELS:
            groups = [group_of.get(support_level) for group_of in groups_by_key]
            groupings = [groups]
            if support_level == _COUNTRY_PAIR:
                # Parcels of unknown origin have a group in which all others count too.
                others = []
                for group in groups:
                    anywhere = None if group is None else from_any_origin(group)
                    others.append(None if anywhere == group else anywhere)
                groupings.append(others)
            distributions[support_level] = _fit_distributions(purchases, combination, groupings)
        known_through = examples.known_through.astype("datetime64[us]").astype(np.int64)
        return cls(distributions, from_microseconds(int(known_through)))

    def predict_curves(self, features: Features) -> Curves:
        """The distributions of the time left, (N,), with the margin.

        A parcel without any distribution never arrives.
        """
        hours, cdf = self._knots
        row = self._rows(features)
        return Curves.from_knots(hours[row], cdf[row]).remaining_after(elapsed_hours(features))

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest level, (N,), with a distribution, and its parcels; or the widest and 0."""
        row = self._rows(features)
        levels = [support_level for support_level, _, _ in self._flat]
        parcels = [distribution.parcels for _, _, distribution in self._flat]
        level_of_row = np.array([*levels, _COUNTRY_PAIR], dtype=object)
        parcels_of_row = np.array([*parcels, 0], dtype=np.int64)
        return level_of_row[row], parcels_of_row[row]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        distributions: dict[str, dict[str, list[float]]] = {}
        for support_level, by_group in self.distributions.items():
            stored = distributions[support_level] = {}
            for group, part in by_group.items():
                stored[group] = [part.parcels, part.reached, part.last_days, *part.days]
        return {
            "data_through": self.data_through.isoformat(),
            "levels": list(LEVELS),
            "distributions": distributions,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LaneQuantiles:
        """The inverse of ``to_json``.

        Raises:
            ModelCorrupted: if the values are invalid or of another release.
        """
        try:
            stored, levels = values["distributions"], tuple(values["levels"])
            if levels != LEVELS or not stored.keys() <= set(FALLBACK_LEVELS):
                raise ValueError(levels)
            data_through = parse_utc(values["data_through"])
            distributions = {}
            for support_level, by_group in stored.items():
                parsed = {group: _parse_distribution(*row) for group, row in by_group.items()}
                distributions[support_level] = parsed
            quantiles = cls(distributions, data_through)
            # Check every distribution now rather than at the first forecast.
            Curves.from_knots(*quantiles._knots)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, EtaError):
            raise ModelCorrupted(_CORRUPTED) from None
        return quantiles

    @cached_property
    def _flat(self) -> list[tuple[str, str, LaneDistribution]]:
        return [
            (support_level, group, distribution)
            for support_level in FALLBACK_LEVELS
            for group, distribution in self.distributions.get(support_level, {}).items()
        ]

    @cached_property
    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours and probabilities, (distributions + 1, K), with the margin.

        The last row is of parcels that never arrive.
        """
        days, reached = [], []
        for _, _, distribution in self._flat:
            days.append([0.0, *distribution.days, distribution.last_days])
            reached.append([distribution.reached])
        hours = 24.0 * np.array([*days, np.zeros(len(_KNOT_LEVELS))])
        cdf = np.minimum(_KNOT_LEVELS, np.array([*reached, [0.0]]))
        margin = MARGIN_SHARE * hours + MARGIN_HOURS
        share_of_margin = np.minimum(_KNOT_LEVELS / _MARGIN_FROM_LEVEL, 1.0)
        return hours + share_of_margin * margin, cdf

    def _rows(self, features: Features) -> NDArray[np.int64]:
        """The row of ``_knots``, (N,), of each parcel."""
        combination, keys = group_keys(features)
        rows = [self._narrowest_level(*texts) for texts in keys]
        return np.array(rows, dtype=np.int64)[combination]

    @cached_property
    def _narrowest_level(self) -> Callable[..., int]:
        """The function from a parcel's texts to its row of ``_knots``; cached."""
        row_of = {
            (support_level, group): row for row, (support_level, group, _) in enumerate(self._flat)
        }

        @lru_cache(maxsize=10_000)
        def narrowest_level(*texts: str) -> int:
            for level_and_group in _groups_by_level(*texts).items():
                if level_and_group in row_of:
                    return row_of[level_and_group]
            return len(row_of)

        return narrowest_level


def _groups_by_level(*texts: str) -> dict[str, str]:
    """The groups by ``FALLBACK_LEVELS``, in their order; an unknown lane has no group."""
    group_of = groups_by_level(*texts)
    return {
        support_level: group_of[support_level]
        for support_level in FALLBACK_LEVELS
        if support_level == _COUNTRY_PAIR or group_of[LANE] != UNNAMED
    }


def _fit_distributions(
    purchases: Examples, combination: NDArray[np.int64], groupings: list[list[str | None]]
) -> dict[str, LaneDistribution]:
    """The distributions of groups with enough parcels.

    Each of the ``groupings`` names the group of each combination, or None.
    """
    all_names = {group for groups in groupings for group in groups}
    names = sorted(name for name in all_names if name is not None)
    row, group = _members(combination, groupings, names)
    hours = hours_from_order(purchases)[row]
    arrived = purchases.event_observed[row]
    arrivals = np.bincount(group[arrived], minlength=len(names))
    enough = np.flatnonzero(arrivals >= MIN_PARCELS)
    number = np.full(len(names), -1)
    number[enough] = np.arange(len(enough))
    is_used = number[group] >= 0
    hours, arrived = hours[is_used], arrived[is_used]
    group = number[group[is_used]]
    cdf = kaplan_meier(hours, arrived, group, len(enough), _GRID_HOURS)
    has_reached_end = cdf >= cdf[:, -1:]
    last_hours = _GRID_HOURS[has_reached_end.argmax(axis=1)]
    curves = Curves.from_grid(_GRID_HOURS, cdf)
    quantiles = curves.quantile_table(np.array([LEVELS]))
    days = np.minimum(quantiles, last_hours[:, None]) / 24.0
    days = days.round(4)
    # The next parcel may be slower than all before it.
    parcels = arrivals[enough]
    max_reached = parcels / (parcels + 1.0)
    reached = np.minimum(cdf[:, -1], max_reached).round(6)
    distributions = {}
    for place, name_number in enumerate(enough):
        distributions[names[name_number]] = LaneDistribution(
            parcels=int(parcels[place]),
            reached=float(reached[place]),
            last_days=float(last_hours[place] / 24.0),
            days=tuple(days[place].tolist()),
        )
    return distributions


def _members(
    combination: NDArray[np.int64], groupings: list[list[str | None]], names: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows in any group, and the number of their group; a row may be in several groups."""
    number_of = {name: number for number, name in enumerate(names)}
    rows, numbers = [], []
    for groups in groupings:
        codes = [-1 if group is None else number_of[group] for group in groups]
        code = np.array(codes, dtype=np.int64)[combination]
        rows.append(np.flatnonzero(code >= 0))
        numbers.append(code[code >= 0])
    return np.concatenate(rows), np.concatenate(numbers)


def _parse_distribution(
    parcels: int, reached: float, last_days: float, *days: float
) -> LaneDistribution:
    """The distribution that ``to_json`` wrote.

    Raises:
        ValueError: if a number is out of range.
    """
    has_parcels = type(parcels) is int and MIN_PARCELS <= parcels <= MAX_COUNT
    if len(days) != len(LEVELS) or not has_parcels or not 0.0 < reached < 1.0:
        raise ValueError(parcels)
    return LaneDistribution(parcels, float(reached), float(last_days), tuple(map(float, days)))
