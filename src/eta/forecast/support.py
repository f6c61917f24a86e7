"""How much evidence stands behind a forecast, and how far up the ladder one must climb to find enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from eta.journey.categories import MISSING, Categorical, group_rows
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.route import UNNAMED
from eta.journey.snapshots import PURCHASE

#: From the narrowest group of like parcels to the widest; even the last two are of one pair of
#: countries.
SUPPORT_LEVELS = ("service+lane+weight", "service+lane", "carrier+zone", "carrier", "calendar_only")
_COUNTRY_PAIR_LEVELS = SUPPORT_LEVELS[-2:]
#: Parcels of one lane with any service: no rung of the ladder, for a model sees more than a lane.
LANE = "lane"
#: Parcels that make a rung hold.
MIN_PARCELS = 30
WEIGHT_EDGES_KG = (0.5, 2.0, 10.0)
#: Names of the bands; the last is for parcels whose weight is not known.
_BANDS_BELOW_KG = np.array(WEIGHT_EDGES_KG)
_WEIGHT_BANDS = tuple(str(number) for number in range(len(WEIGHT_EDGES_KG) + 2))


@dataclass(frozen=True)
class Support:
    """How many parcels that arrived were learned from, by rung and group."""

    counts: Mapping[str, Mapping[str, int]]

    @classmethod
    def fit(cls, examples: Examples) -> Support:
        """Counts one example a parcel that arrived."""
        arrived = examples.take(
            np.flatnonzero((examples.moment == PURCHASE) & examples.event_observed)
        )
        combination, keys = group_keys(arrived.features)
        counts: dict[str, dict[str, int]] = {support_level: {} for support_level in SUPPORT_LEVELS}
        for texts, count in zip(keys, np.bincount(combination).tolist(), strict=True):
            group_of = groups_by_level(*texts)
            for support_level in SUPPORT_LEVELS:
                counts[support_level][group_of[support_level]] = (
                    counts[support_level].get(group_of[support_level], 0) + count
                )
        return cls(
            {
                support_level: _with_any_origin(count)
                if support_level in _COUNTRY_PAIR_LEVELS
                else count
                for support_level, count in counts.items()
            }
        )

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest rung of ``SUPPORT_LEVELS``, (N,), with at least ``MIN_PARCELS`` parcels, and how many it has; else the widest."""
        combination, keys = group_keys(features)
        levels_and_counts = [self._narrowest_level(*texts) for texts in keys]
        levels = np.array([level for level, _ in levels_and_counts], dtype=object)
        return levels[combination], np.array(
            [count for _, count in levels_and_counts], dtype=np.int64
        )[combination]

    @cached_property
    def _narrowest_level(self) -> Callable[..., tuple[str, int]]:
        """From the texts of a parcel to the narrowest rung that holds, and its parcels; the same few are asked again and again."""

        @lru_cache(maxsize=10_000)
        def narrowest_level(*texts: str) -> tuple[str, int]:
            group_of = groups_by_level(*texts)
            counts = [
                (support_level, self.counts[support_level].get(group_of[support_level], 0))
                for support_level in SUPPORT_LEVELS
            ]
            return next(
                ((support_level, count) for support_level, count in counts if count >= MIN_PARCELS),
                counts[-1],
            )

        return narrowest_level


def group_keys(features: Features) -> tuple[NDArray[np.int64], list[tuple[str, ...]]]:
    """Which rows (N,) are alike, numbered as they first occur, and of each such number the texts that ``groups_by_level`` asks for."""
    weight = features.numbers["weight_kg"]
    # NaN sorts last, behind the heaviest.
    band = _BANDS_BELOW_KG.searchsorted(weight, side="right") + np.isnan(weight)
    places = (
        features.categoricals[name]
        for name in ("carrier", "service", "lane", "origin", "destination")
    )
    sources = [*places, Categorical(band.astype(np.int32), _WEIGHT_BANDS)]
    combination, first = group_rows(sources)
    return combination, list(_texts(sources, first))


def _texts(sources: Sequence[Categorical], rows: NDArray[np.int64]) -> Iterator[tuple[str, ...]]:
    """The texts of some rows, ``UNNAMED`` where one is missing."""
    return zip(
        *(
            [
                UNNAMED if code == MISSING else labels.names[code]
                for code in labels.codes[rows].tolist()
            ]
            for labels in sources
        ),
        strict=True,
    )


def groups_by_level(
    carrier: str, service: str, lane: str, origin: str, destination: str, weight: str
) -> dict[str, str]:
    """The group of such parcels, by rung of ``SUPPORT_LEVELS`` and for ``LANE``; what is not known is a group of its own.

    AT-9 counts as AT among countries: what is known of one country says nothing about another.
    """
    service_lane, countries = (
        f"{service}|{lane}",
        f"{origin.partition('-')[0]}>{destination.partition('-')[0]}",
    )
    group_names = (
        f"{service_lane}|{weight}",
        service_lane,
        f"{carrier}|{destination}",
        f"{carrier}|{countries}",
        countries,
    )
    return {**dict(zip(SUPPORT_LEVELS, group_names, strict=True)), LANE: lane}


def from_any_origin(group: str) -> str:
    """The group of parcels between two countries that counts for one whose origin is not known."""
    head, bar, pair = group.rpartition("|")
    return f"{head}{bar}{UNNAMED}>{pair.partition('>')[2]}"


def _with_any_origin(counts: dict[str, int]) -> dict[str, int]:
    """The counts, and for a parcel whose origin is not known those of its destination from anywhere."""
    result = dict(counts)
    for name, count in counts.items():
        anywhere = from_any_origin(name)
        if anywhere != name:
            result[anywhere] = result.get(anywhere, 0) + count
    return result
