"""How much evidence stands behind a forecast, and how far up the ladder one must climb to find enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.journey.columns import Labels
from eta.journey.features import UNNAMED, Features
from eta.journey.snapshots import PURCHASE, Examples

#: From the narrowest group of like parcels to the widest; even the last two are of one pair of countries.
LADDER = ("service+lane+weight", "service+lane", "carrier+zone", "carrier", "calendar_only")
_OF_COUNTRIES = LADDER[-2:]
#: Parcels that make a rung hold.
ENOUGH = 30
WEIGHT_EDGES_KG = (0.5, 2.0, 10.0)


@dataclass(frozen=True)
class Support:
    """How many parcels that arrived were learned from, by rung and group."""

    counts: Mapping[str, Mapping[str, int]]

    @classmethod
    def learn(cls, examples: Examples) -> Support:
        """Counts one example a parcel that arrived."""
        arrived = examples.take(np.flatnonzero((examples.kind == PURCHASE) & examples.arrived))
        counts = {rung: _count(labels) for rung, labels in _groups(arrived.features).items()}
        return cls({rung: _with_any_origin(count) if rung in _OF_COUNTRIES else count for rung, count in counts.items()})

    def of(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest rung of ``LADDER``, (N,), with at least ``ENOUGH`` parcels, and how many it has; else the widest."""
        groups = _groups(features)
        found = {rung: groups[rung].translate({name: float(n) for name, n in self.counts[rung].items()}, 0.0) for rung in LADDER}
        holds = [found[rung] >= ENOUGH for rung in LADDER]
        level = np.select(holds, [np.full(len(features), rung, dtype=object) for rung in LADDER], LADDER[-1])
        return level, np.select(holds, [found[rung] for rung in LADDER], found[LADDER[-1]]).astype(np.int64)


def _groups(features: Features) -> dict[str, Labels]:
    """The group of each parcel on every rung; what is not known is a group of its own."""
    carrier, lane, zone = (features.labels[name].filled(UNNAMED) for name in ("carrier", "lane", "destination"))
    weight = features.numbers["weight_kg"]
    band = np.where(np.isnan(weight), len(WEIGHT_EDGES_KG) + 1, np.digitize(np.nan_to_num(weight), WEIGHT_EDGES_KG)).astype(np.int32)
    weights = Labels(band, tuple(str(number) for number in range(len(WEIGHT_EDGES_KG) + 2)))
    service_lane = features.labels["service"].joined(lane, "|")
    destination = _countries(zone)
    countries = _countries(features.labels["origin"].filled(UNNAMED)).joined(destination, ">")
    rungs = (service_lane.joined(weights, "|"), service_lane, carrier.joined(zone, "|"), carrier.joined(countries, "|"), countries)
    return dict(zip(LADDER, rungs, strict=True))


def _countries(places: Labels) -> Labels:
    """AT-9 as AT: what is known of one country says nothing about another."""
    countries = Labels.of([name.partition("-")[0] for name in places.names])
    return Labels(countries.codes[places.codes], countries.names)


def _with_any_origin(counts: dict[str, int]) -> dict[str, int]:
    """The counts, and for a parcel whose origin is not known those of its destination from anywhere."""
    result = dict(counts)
    for name, count in counts.items():
        head, bar, pair = name.rpartition("|")
        anywhere = f"{head}{bar}{UNNAMED}>{pair.partition('>')[2]}"
        if anywhere != name:
            result[anywhere] = result.get(anywhere, 0) + count
    return result


def _count(labels: Labels) -> dict[str, int]:
    counts = np.bincount(labels.codes, minlength=len(labels.names))
    return {name: int(count) for name, count in zip(labels.names, counts, strict=True) if count}
