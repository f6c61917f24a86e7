"""What a model has learned from: carriers, services, lanes and regions, with their parcels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eta.forecast.seen_services import SeenServices
from eta.forecast.support import MIN_PARCELS, ServiceLane

#: The names of a group, and its parcels.
Group = tuple[tuple[str, ...], int]


@dataclass(frozen=True)
class GroupList:
    """Groups of at least ``MIN_PARCELS`` parcels, those with the most parcels first."""

    groups: Sequence[Group] = ()
    #: How many there are, also beyond the limit.
    total: int = 0
    #: How many groups have fewer parcels and are not named.
    left_out: int = 0


@dataclass(frozen=True)
class Coverage:
    """What a model has learned from; parcels that arrived in the training data."""

    #: All parcels; 0 if there are fewer than ``MIN_PARCELS``.
    parcels: int = 0
    carriers: GroupList = GroupList()
    #: Carrier, empty if the data do not name it, and service.
    services: GroupList = GroupList()
    #: Origin and destination, "country-region" or "country" each.
    lanes: GroupList = GroupList()
    #: Destinations.
    regions: GroupList = GroupList()


def read_coverage(seen: SeenServices, *, carrier: str | None, limit: int) -> Coverage:
    """The coverage of a model, or its part of one carrier, at most ``limit`` groups a list.

    Small groups are left out: they could tell of single parcels, and no forecast rests on them.
    """
    rows = [row for row in seen.service_lanes if carrier is None or row.carrier == carrier]
    parcels = sum(row.parcels for row in rows)
    counts: Mapping[str, Counter[tuple[str, ...]]] = {
        name: Counter() for name in ("carriers", "services", "lanes", "regions")
    }
    for row in rows:
        for name, group in _groups(row):
            counts[name][group] += row.parcels
    lists = {name: _group_list(count.items(), limit) for name, count in counts.items()}
    return Coverage(parcels=parcels if parcels >= MIN_PARCELS else 0, **lists)


def _groups(row: ServiceLane) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The groups of a service on a lane, by list; what the data do not name has none."""
    if row.carrier is not None:
        yield "carriers", (row.carrier,)
    if row.service_level is not None:
        yield "services", (row.carrier or "", row.service_level)
    if row.origin is not None and row.destination is not None:
        yield "lanes", (row.origin, row.destination)
        yield "regions", (row.destination,)


def _group_list(counts: Iterable[Group], limit: int) -> GroupList:
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    total = sum(parcels >= MIN_PARCELS for _, parcels in ordered)
    return GroupList(ordered[: min(total, limit)], total, len(ordered) - total)
