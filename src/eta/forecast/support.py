"""How much evidence stands behind a forecast, and how far up the ladder one must climb to find enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from eta.journey.columns import MISSING, Labels, combinations
from eta.journey.features import Features
from eta.journey.route import UNNAMED
from eta.journey.snapshots import PURCHASE, Examples

#: From the narrowest group of like parcels to the widest; even the last two are of one pair of countries.
LADDER = ("service+lane+weight", "service+lane", "carrier+zone", "carrier", "calendar_only")
_OF_COUNTRIES = LADDER[-2:]
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
        sources = _sources(arrived.features)
        combination, first = combinations(sources)
        counts: dict[str, dict[str, int]] = {rung: {} for rung in LADDER}
        for texts, count in zip(_texts(sources, first), np.bincount(combination).tolist(), strict=True):
            for rung, group in zip(LADDER, _groups(*texts), strict=True):
                counts[rung][group] = counts[rung].get(group, 0) + count
        return cls({rung: _with_any_origin(count) if rung in _OF_COUNTRIES else count for rung, count in counts.items()})

    def of(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest rung of ``LADDER``, (N,), with at least ``ENOUGH`` parcels, and how many it has; else the widest."""
        sources = _sources(features)
        combination, first = combinations(sources)
        found = [self._climb(*texts) for texts in _texts(sources, first)]
        levels = np.array([level for level, _ in found], dtype=object)
        return levels[combination], np.array([count for _, count in found], dtype=np.int64)[combination]

    @cached_property
    def _climb(self) -> Callable[..., tuple[str, int]]:
        """From the texts of a parcel to the narrowest rung that holds, and its parcels; the same few are asked again and again."""

        @lru_cache(maxsize=10_000)
        def climb(*texts: str) -> tuple[str, int]:
            found = [(rung, self.counts[rung].get(group, 0)) for rung, group in zip(LADDER, _groups(*texts), strict=True)]
            return next(((rung, count) for rung, count in found if count >= ENOUGH), found[-1])

        return climb


def _sources(features: Features) -> list[Labels]:
    """What the groups of parcels follow from; the last are bands of weight."""
    weight = features.numbers["weight_kg"]
    # NaN sorts last, behind the heaviest.
    band = _BANDS_BELOW_KG.searchsorted(weight, side="right") + np.isnan(weight)
    places = (features.labels[name] for name in ("carrier", "service", "lane", "origin", "destination"))
    return [*places, Labels(band.astype(np.int32), _WEIGHT_BANDS)]


def _texts(sources: Sequence[Labels], rows: NDArray[np.int64]) -> Iterator[tuple[str, ...]]:
    """The texts of some rows, ``UNNAMED`` where one is missing."""
    return zip(*([UNNAMED if code == MISSING else labels.names[code] for code in labels.codes[rows].tolist()] for labels in sources), strict=True)


def _groups(carrier: str, service: str, lane: str, origin: str, destination: str, weight: str) -> tuple[str, ...]:
    """The group of such parcels on every rung; what is not known is a group of its own.

    AT-9 counts as AT among countries: what is known of one country says nothing about another.
    """
    service_lane, countries = f"{service}|{lane}", f"{origin.partition('-')[0]}>{destination.partition('-')[0]}"
    return f"{service_lane}|{weight}", service_lane, f"{carrier}|{destination}", f"{carrier}|{countries}", countries


def _with_any_origin(counts: dict[str, int]) -> dict[str, int]:
    """The counts, and for a parcel whose origin is not known those of its destination from anywhere."""
    result = dict(counts)
    for name, count in counts.items():
        head, bar, pair = name.rpartition("|")
        anywhere = f"{head}{bar}{UNNAMED}>{pair.partition('>')[2]}"
        if anywhere != name:
            result[anywhere] = result.get(anywhere, 0) + count
    return result
