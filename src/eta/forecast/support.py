"""How much evidence stands behind a forecast, and how far up the ladder one must climb to find enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from eta.journey.categories import MISSING, Labels, combinations
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.route import UNNAMED
from eta.journey.snapshots import PURCHASE

#: From the narrowest group of like parcels to the widest; even the last two are of one pair of
#: countries.
LADDER = ("service+lane+weight", "service+lane", "carrier+zone", "carrier", "calendar_only")
_OF_COUNTRIES = LADDER[-2:]
#: Parcels of one lane with any service: no rung of the ladder, for a model sees more than a lane.
LANE = "lane"
#: Parcels that make a rung hold.
ENOUGH = 30
WEIGHT_EDGES_KG = (0.5, 2.0, 10.0)
#: Names of the bands; the last is for parcels whose weight is not known.
_BANDS_BELOW_KG = np.array(WEIGHT_EDGES_KG)
_WEIGHT_BANDS = tuple(str(number) for number in range(len(WEIGHT_EDGES_KG) + 2))


@dataclass(frozen=True)
class Support:
    """How many parcels that arrived were learned from, by rung and group."""

    counts: Mapping[str, Mapping[str, int]]

    @classmethod
    def learn(cls, examples: Examples) -> Support:
        """Counts one example a parcel that arrived."""
        arrived = examples.take(np.flatnonzero((examples.kind == PURCHASE) & examples.arrived))
        combination, likes = alike(arrived.features)
        counts: dict[str, dict[str, int]] = {rung: {} for rung in LADDER}
        for texts, count in zip(likes, np.bincount(combination).tolist(), strict=True):
            group_of = groups(*texts)
            for rung in LADDER:
                counts[rung][group_of[rung]] = counts[rung].get(group_of[rung], 0) + count
        return cls(
            {
                rung: _with_any_origin(count) if rung in _OF_COUNTRIES else count
                for rung, count in counts.items()
            }
        )

    def of(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest rung of ``LADDER``, (N,), with at least ``ENOUGH`` parcels, and how many it has; else the widest."""
        combination, likes = alike(features)
        found = [self._climb(*texts) for texts in likes]
        levels = np.array([level for level, _ in found], dtype=object)
        return levels[combination], np.array([count for _, count in found], dtype=np.int64)[
            combination
        ]

    @cached_property
    def _climb(self) -> Callable[..., tuple[str, int]]:
        """From the texts of a parcel to the narrowest rung that holds, and its parcels; the same few are asked again and again."""

        @lru_cache(maxsize=10_000)
        def climb(*texts: str) -> tuple[str, int]:
            group_of = groups(*texts)
            found = [(rung, self.counts[rung].get(group_of[rung], 0)) for rung in LADDER]
            return next(((rung, count) for rung, count in found if count >= ENOUGH), found[-1])

        return climb


def alike(features: Features) -> tuple[NDArray[np.int64], list[tuple[str, ...]]]:
    """Which rows (N,) are alike, numbered as they first occur, and of each such number the texts that ``groups`` asks for."""
    weight = features.numbers["weight_kg"]
    # NaN sorts last, behind the heaviest.
    band = _BANDS_BELOW_KG.searchsorted(weight, side="right") + np.isnan(weight)
    places = (
        features.labels[name] for name in ("carrier", "service", "lane", "origin", "destination")
    )
    sources = [*places, Labels(band.astype(np.int32), _WEIGHT_BANDS)]
    combination, first = combinations(sources)
    return combination, list(_texts(sources, first))


def _texts(sources: Sequence[Labels], rows: NDArray[np.int64]) -> Iterator[tuple[str, ...]]:
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


def groups(
    carrier: str, service: str, lane: str, origin: str, destination: str, weight: str
) -> dict[str, str]:
    """The group of such parcels, by rung of ``LADDER`` and for ``LANE``; what is not known is a group of its own.

    AT-9 counts as AT among countries: what is known of one country says nothing about another.
    """
    service_lane, countries = (
        f"{service}|{lane}",
        f"{origin.partition('-')[0]}>{destination.partition('-')[0]}",
    )
    of_rung = (
        f"{service_lane}|{weight}",
        service_lane,
        f"{carrier}|{destination}",
        f"{carrier}|{countries}",
        countries,
    )
    return {**dict(zip(LADDER, of_rung, strict=True)), LANE: lane}


def from_anywhere(group: str) -> str:
    """The group of parcels between two countries that counts for one whose origin is not known."""
    head, bar, pair = group.rpartition("|")
    return f"{head}{bar}{UNNAMED}>{pair.partition('>')[2]}"


def _with_any_origin(counts: dict[str, int]) -> dict[str, int]:
    """The counts, and for a parcel whose origin is not known those of its destination from anywhere."""
    result = dict(counts)
    for name, count in counts.items():
        anywhere = from_anywhere(name)
        if anywhere != name:
            result[anywhere] = result.get(anywhere, 0) + count
    return result
