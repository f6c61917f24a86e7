"""Support: how many similar parcels a forecast was learned from."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, TypeAdapter

from eta.journey.categories import MISSING, Categorical, group_rows
from eta.journey.examples import Examples
from eta.journey.features import Features
from eta.journey.route import UNNAMED
from eta.journey.snapshots import PURCHASE
from eta.stored_values import Count, Name, check_values

#: Groups of similar parcels, from the narrowest to the widest. Even the last two hold parcels of
#: one pair of countries only.
SUPPORT_LEVELS = ("service+lane+weight", "service+lane", "carrier+zone", "carrier", "calendar_only")
_COUNTRY_PAIR_LEVELS = SUPPORT_LEVELS[-2:]
_SERVICE_LANE, _CARRIER = SUPPORT_LEVELS[1], SUPPORT_LEVELS[3]

#: Parcels of one lane with any service. No support level, because a model sees more than the lane.
LANE = "lane"

#: Parcels that a group needs for its level to count.
MIN_PARCELS = 30
WEIGHT_EDGES_KG = (0.5, 2.0, 10.0)
_EDGES_KG = np.array(WEIGHT_EDGES_KG)

#: Names of the weight bands; the last is for parcels of unknown weight.
_WEIGHT_BANDS = tuple(str(number) for number in range(len(WEIGHT_EDGES_KG) + 2))

#: The columns that ``groups_by_level`` reads, without the weight band.
_GROUP_COLUMNS = ("carrier", "service", "lane", "origin", "destination")


class ServiceLane(NamedTuple):
    """Parcels of one service on one lane that arrived in the training data.

    None if the data do not name it. Both ends are categories, "country-region" or "country".
    """

    carrier: str | None
    service_level: str | None
    origin: str | None
    destination: str | None
    parcels: int


@dataclass(frozen=True)
class Support:
    """Parcels that arrived in the training data, by support level and group."""

    counts: Mapping[str, Mapping[str, int]]

    @classmethod
    def fit(cls, examples: Examples) -> Support:
        """Counts one example a parcel that arrived."""
        is_arrival = (examples.moment == PURCHASE) & examples.event_observed
        arrived = examples.take(np.flatnonzero(is_arrival))
        combination, keys = group_keys(arrived.features)
        counts: dict[str, dict[str, int]] = {support_level: {} for support_level in SUPPORT_LEVELS}
        for texts, count in zip(keys, np.bincount(combination).tolist(), strict=True):
            group_of = groups_by_level(*texts)
            for support_level, by_group in counts.items():
                group = group_of[support_level]
                by_group[group] = by_group.get(group, 0) + count
        for support_level in _COUNTRY_PAIR_LEVELS:
            # For parcels of unknown origin, those of their destination from anywhere.
            by_group = counts[support_level]
            for group, count in list(by_group.items()):
                anywhere = from_any_origin(group)
                if anywhere != group:
                    by_group[anywhere] = by_group.get(anywhere, 0) + count
        return cls(counts)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Support:
        """The support with stored counts.

        Raises:
            ModelCorrupted: if a value is missing, unknown, of another type or out of range.
        """
        counts = check_values("the support", _STORED_SUPPORT, values)
        return cls(counts)

    @cached_property
    def service_lanes(self) -> tuple[ServiceLane, ...]:
        """Every service and lane of the training data, those with the most parcels first."""
        # Names may contain the separator; the groups of carriers say where theirs end.
        groups = (group.rpartition("|") for group in self.counts[_CARRIER])
        carriers = {carrier for carrier, _, _ in groups}
        counts = self.counts[_SERVICE_LANE]
        rows = [_service_lane(group, carriers, parcels) for group, parcels in counts.items()]
        return tuple(sorted(rows, key=lambda row: (-row.parcels, [name or "" for name in row[:4]])))

    def lookup(self, features: Features) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """The narrowest support level, (N,), with ``MIN_PARCELS`` parcels or more, and its parcels.

        Without such a level it is the widest.
        """
        combination, keys = group_keys(features)
        levels_and_counts = [self._narrowest_level(*texts) for texts in keys]
        levels = np.array([level for level, _ in levels_and_counts], dtype=object)
        counts = np.array([count for _, count in levels_and_counts], dtype=np.int64)
        return levels[combination], counts[combination]

    @cached_property
    def _narrowest_level(self) -> Callable[..., tuple[str, int]]:
        """The function from a parcel's texts to its support level and the parcels there; cached."""

        @lru_cache(maxsize=10_000)
        def narrowest_level(*texts: str) -> tuple[str, int]:
            group_of = groups_by_level(*texts)
            count = 0
            for support_level in SUPPORT_LEVELS:
                count = self.counts[support_level].get(group_of[support_level], 0)
                if count >= MIN_PARCELS:
                    return support_level, count
            return SUPPORT_LEVELS[-1], count

        return narrowest_level


def _are_our_levels(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The counts, if their levels are those of this release."""
    if set(counts) != set(SUPPORT_LEVELS):
        raise ValueError(f"the levels are not {', '.join(SUPPORT_LEVELS)}")
    return counts


_STORED_SUPPORT: TypeAdapter[dict[str, dict[str, int]]] = TypeAdapter(
    Annotated[dict[str, dict[Name, Count]], AfterValidator(_are_our_levels)]
)


def _service_lane(group: str, carriers: Container[str], parcels: int) -> ServiceLane:
    """The parts of a group of ``_SERVICE_LANE``."""
    service, _, lane = group.rpartition("|")
    carrier, _, service_level = service.rpartition("|")
    while carrier not in carriers and "|" in carrier:
        carrier, _, rest = carrier.rpartition("|")
        service_level = f"{rest}|{service_level}"
    origin, _, destination = lane.partition(">")
    return ServiceLane(
        _named(carrier), _named(service_level), _named(origin), _named(destination), parcels
    )


def _named(text: str) -> str | None:
    return None if text in ("", UNNAMED) else text


def group_keys(features: Features) -> tuple[NDArray[np.int64], list[tuple[str, ...]]]:
    """The number of each row's group, (N,), and the arguments of ``groups_by_level`` by group.

    Groups are numbered as they first occur.
    """
    weight = features.numbers["weight_kg"]
    # NaN sorts last, behind the heaviest.
    band = _EDGES_KG.searchsorted(weight, side="right") + np.isnan(weight)
    sources = [features.categoricals[name] for name in _GROUP_COLUMNS]
    sources.append(Categorical(band.astype(np.int32), _WEIGHT_BANDS))
    combination, first = group_rows(sources)
    texts = []
    for labels in sources:
        names = labels.names
        codes = labels.codes[first].tolist()
        texts.append([UNNAMED if code == MISSING else names[code] for code in codes])
    return combination, list(zip(*texts, strict=True))


def groups_by_level(
    carrier: str, service: str, lane: str, origin: str, destination: str, weight: str
) -> dict[str, str]:
    """The group of such parcels, by support level and for ``LANE``.

    Unknown texts form a group of their own. In pairs of countries AT-9 counts as AT; data of one
    country say nothing about another.
    """
    origin_country, _, _ = origin.partition("-")
    destination_country, _, _ = destination.partition("-")
    countries = f"{origin_country}>{destination_country}"
    service_lane = f"{service}|{lane}"
    group_names = (
        f"{service_lane}|{weight}",
        service_lane,
        f"{carrier}|{destination}",
        f"{carrier}|{countries}",
        countries,
    )
    groups = dict(zip(SUPPORT_LEVELS, group_names, strict=True))
    groups[LANE] = lane
    return groups


def from_any_origin(group: str) -> str:
    """The group of parcels from anywhere, for parcels of unknown origin, of a pair of countries."""
    head, bar, pair = group.rpartition("|")
    _, _, destination = pair.partition(">")
    return f"{head}{bar}{UNNAMED}>{destination}"
