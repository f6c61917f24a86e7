"""What is said where no model answers: how long parcels of a lane usually take, with a margin.

Plain data without a model: laws of the days from order to arrival, by lane. They know nothing of
weekdays, of scans or of how fast the network runs this week, so their dates are shown rather late
than early.
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
from eta.forecast.base import HORIZON_DAYS
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

#: From the narrowest group of like parcels to the widest: a service on a lane, the lane, the two
#: countries. There is none of all parcels: what is known of one country says nothing about another.
FALLBACK_LEVELS = (SUPPORT_LEVELS[1], LANE, SUPPORT_LEVELS[-1])
_COUNTRY_PAIR = FALLBACK_LEVELS[-1]

#: Every law is kept as its quantiles at these levels.
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97)

#: What is added to a law from its median on: a tenth, and half a day. Towards its beginning it
#: fades to nothing, so that the first day of a window stays as early as parcels do come. Without
#: it, of the days promised at 0.9 to simulated parcels in two spells of eight weeks 88 and 92 %
#: were kept (81 and 86 % three days after the hand-over), with it 94 and 96 % (90 and 92 %).
MARGIN_SHARE, MARGIN_HOURS = 0.1, 12.0
_GRID_HOURS = np.arange(0.0, HORIZON_DAYS * 24.0 + 1.0, 6.0)
_KNOT_LEVELS = np.array([0.0, *LEVELS, 1.0])


@dataclass(frozen=True)
class LaneDistribution:
    """How long parcels of a group take from order to arrival.

    ``days`` are the quantiles at ``LEVELS``, no later than ``last_days``, by which a share
    ``reached`` has arrived; of the rest nothing is known. ``parcels`` had arrived.
    """

    parcels: int
    reached: float
    last_days: float
    days: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class LaneQuantiles:
    """Laws by rung of ``FALLBACK_LEVELS`` and group, of all groups with at least ``MIN_PARCELS`` parcels that arrived.

    Example:
        >>> law = LaneLaw(parcels=40, reached=0.97, last_days=8.0, days=(2.0,) * len(LEVELS))
        >>> medians = LaneMedians({"lane": {"AT-9>AT-8": law}},
        datetime.fromisoformat("2026-05-10T00:00:00+00:00")) >>>
        LaneMedians.from_json(medians.to_json()).laws == medians.laws True
    """

    distributions: Mapping[str, Mapping[str, LaneDistribution]]
    #: The moment up to which they have learned, aware.
    data_through: datetime

    @classmethod
    def fit(cls, examples: Examples) -> LaneQuantiles:
        """From the examples at purchase, by Kaplan and Meier: parcels still on their way count for as long as they have taken."""
        purchases = examples.take(np.flatnonzero(examples.moment == PURCHASE))
        # The order may have been told a while after it was placed.
        hours = purchases.duration_hours + _elapsed_hours(purchases.features)
        combination, keys = group_keys(purchases.features)
        groups_by_key = [_groups_by_level(*texts) for texts in keys]
        # For parcels whose origin is not known.
        anywhere = [from_any_origin(group_of[_COUNTRY_PAIR]) for group_of in groups_by_key]
        distributions = {}
        for support_level in FALLBACK_LEVELS:
            parts = [[group_of.get(support_level) for group_of in groups_by_key]]
            if support_level == _COUNTRY_PAIR:
                parts.append(
                    [
                        group if group != group_of[support_level] else None
                        for group, group_of in zip(anywhere, groups_by_key, strict=True)
                    ]
                )
            distributions[support_level] = _fit_distributions(
                hours, purchases.event_observed, combination, parts
            )
        return cls(
            distributions,
            from_microseconds(
                int(examples.known_through.astype("datetime64[us]").astype(np.int64))
            ),
        )

    def predict_curves(self, features: Features) -> Curves:
        """The laws of the time left, (N,), with the margin; where nothing is known nothing ever arrives."""
        hours, cdf = self._knots
        row = self._rows(features)
        return Curves.from_knots(hours[row], cdf[row]).remaining_after(_elapsed_hours(features))

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest rung of ``FALLBACK_LEVELS``, (N,), with a law, and the parcels behind it; else the widest, and 0."""
        row = self._rows(features)
        levels = np.array(
            [*(support_level for support_level, _, _ in self._flat), _COUNTRY_PAIR], dtype=object
        )
        return levels[row], np.array(
            [*(distribution.parcels for _, _, distribution in self._flat), 0], dtype=np.int64
        )[row]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        distributions = {
            support_level: {
                group: [
                    distribution.parcels,
                    distribution.reached,
                    distribution.last_days,
                    *distribution.days,
                ]
                for group, distribution in by_group.items()
            }
            for support_level, by_group in self.distributions.items()
        }
        return {
            "data_through": self.data_through.isoformat(),
            "levels": list(LEVELS),
            "distributions": distributions,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LaneQuantiles:
        """The inverse of ``to_json``.

        Raises:
            ModelCorrupted: if these are no laws of ours.
        """
        try:
            if tuple(values["levels"]) != LEVELS or not values["distributions"].keys() <= set(
                FALLBACK_LEVELS
            ):
                raise ValueError(values["levels"])
            distributions = {
                support_level: {
                    group: _parse_distribution(*stored) for group, stored in by_group.items()
                }
                for support_level, by_group in values["distributions"].items()
            }
            medians = cls(distributions, datetime.fromisoformat(values["data_through"]))
            if medians.data_through.tzinfo is None:
                raise ValueError(medians.data_through)
            # A law that is none is found here, not by who asks for a date.
            Curves.from_knots(*medians._knots)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, EtaError):
            raise ModelCorrupted("the lane medians are none of ours; train again") from None
        return medians

    @cached_property
    def _flat(self) -> list[tuple[str, str, LaneDistribution]]:
        return [
            (support_level, group, distribution)
            for support_level in FALLBACK_LEVELS
            for group, distribution in self.distributions.get(support_level, {}).items()
        ]

    @cached_property
    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hours and probabilities, (laws + 1, K), with the margin; on the last row nothing ever arrives."""
        distributions = [distribution for _, _, distribution in self._flat]
        hours = 24.0 * np.array(
            [
                *(
                    [0.0, *distribution.days, distribution.last_days]
                    for distribution in distributions
                ),
                np.zeros(len(_KNOT_LEVELS)),
            ]
        )
        reached = np.array([*(distribution.reached for distribution in distributions), 0.0])
        share = np.minimum(_KNOT_LEVELS / 0.5, 1.0)
        return hours + share * (MARGIN_SHARE * hours + MARGIN_HOURS), np.minimum(
            _KNOT_LEVELS, reached[:, None]
        )

    def _rows(self, features: Features) -> NDArray[np.int64]:
        combination, keys = group_keys(features)
        return np.array([self._narrowest_level(*texts) for texts in keys], dtype=np.int64)[
            combination
        ]

    @cached_property
    def _narrowest_level(self) -> Callable[..., int]:
        """From the texts of a parcel to the row of the law on the narrowest rung; the same few are asked again and again."""
        row_of = {
            (support_level, group): row for row, (support_level, group, _) in enumerate(self._flat)
        }

        @lru_cache(maxsize=10_000)
        def narrowest_level(*texts: str) -> int:
            group_of = _groups_by_level(*texts)
            return next(
                (
                    row_of[support_level, group_of[support_level]]
                    for support_level in FALLBACK_LEVELS
                    if (support_level, group_of.get(support_level)) in row_of
                ),
                len(row_of),
            )

        return narrowest_level


def _elapsed_hours(features: Features) -> NDArray[np.float64]:
    return features.numbers["order_elapsed_days"] * 24.0


def _groups_by_level(*texts: str) -> dict[str, str]:
    """The groups on ``FALLBACK_LEVELS``; a lane of which an end is not known is none."""
    group_of = groups_by_level(*texts)
    return {
        support_level: group_of[support_level]
        for support_level in FALLBACK_LEVELS
        if support_level == _COUNTRY_PAIR or group_of[LANE] != UNNAMED
    }


def _fit_distributions(
    hours: NDArray[np.float64],
    arrived: NDArray[np.bool_],
    combination: NDArray[np.int64],
    group_of: list[list[str | None]],
) -> dict[str, LaneDistribution]:
    """The laws of groups; each part of ``group_of`` puts the combinations into groups, or not."""
    names = sorted({group for part in group_of for group in part if group is not None})
    number = {group: place for place, group in enumerate(names)}
    code = [
        np.array([-1 if group is None else number[group] for group in part], dtype=np.int64)[
            combination
        ]
        for part in group_of
    ]
    row = np.concatenate([np.flatnonzero(part >= 0) for part in code])
    group = np.concatenate([part[part >= 0] for part in code])
    parcels = np.bincount(group[arrived[row]], minlength=len(names))
    group_rows = np.flatnonzero(parcels >= MIN_PARCELS)
    place = np.full(len(names), -1)
    place[group_rows] = np.arange(len(group_rows))
    has_enough = place[group] >= 0
    row, group = row[has_enough], place[group][has_enough]
    cdf = kaplan_meier(hours[row], arrived[row], group, len(group_rows), _GRID_HOURS)
    last = _GRID_HOURS[(cdf >= cdf[:, -1:]).argmax(axis=1)]
    days = (
        np.minimum(
            Curves.from_grid(_GRID_HOURS, cdf).quantile_table(np.array([LEVELS])), last[:, None]
        )
        / 24.0
    )
    # The next parcel may be slower than all that were seen.
    reached = np.minimum(cdf[:, -1], parcels[group_rows] / (parcels[group_rows] + 1.0))
    columns = (
        group_rows.tolist(),
        reached.round(6).tolist(),
        (last / 24.0).tolist(),
        days.round(4).tolist(),
    )
    return {
        names[at]: LaneDistribution(int(parcels[at]), share, until, tuple(quantiles))
        for at, share, until, quantiles in zip(*columns, strict=True)
    }


def _parse_distribution(
    parcels: int, reached: float, last_days: float, *days: float
) -> LaneDistribution:
    """A stored law.

    Raises:
        ValueError: if a number is out of range.
    """
    if (
        len(days) != len(LEVELS)
        or type(parcels) is not int
        or parcels < MIN_PARCELS
        or not 0.0 < reached < 1.0
    ):
        raise ValueError(parcels)
    return LaneDistribution(parcels, float(reached), float(last_days), tuple(map(float, days)))
