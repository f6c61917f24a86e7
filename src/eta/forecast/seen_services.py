"""The carriers, services and lanes that a model has learned from, and the nearest to others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import NamedTuple

from eta.forecast.support import MIN_PARCELS, ServiceLane, Support

#: Names that are compared with one that was not seen: those with the most parcels.
_MAX_COMPARED_NAMES = 200
#: How alike two names must be, 0 to 1.
_SIMILARITY = 0.6

_Choice = tuple[str | None, str | None, str | None, str | None]


class UnseenKind(StrEnum):
    """What of a choice was not seen."""

    CARRIER = "carrier"
    SERVICE = "service"


class UnseenName(NamedTuple):
    """A carrier, or a service of a carrier, that is not in the training data."""

    kind: UnseenKind
    name: str
    #: The carrier of the service; None for a carrier, and for a service without a carrier.
    carrier: str | None
    #: The most similar name with at least ``MIN_PARCELS`` parcels, if one is similar enough.
    nearest: str | None

    def describe(self, hint: str = "check the spelling") -> str:
        """What is unknown, what follows, and the nearest known name; without one the ``hint``."""
        of_carrier = f" of carrier {self.carrier!r}" if self.carrier else ""
        if self.nearest == self.name:
            hint = "it is known with a carrier, so name the carrier too"
        elif self.nearest is not None:
            hint = f"the nearest known is {self.nearest!r}"
        return (
            f"the model has not seen {self.kind} {self.name!r}{of_carrier},"
            f" so the answer rests on other parcels; {hint}"
        )


@dataclass(frozen=True)
class SeenServices:
    """The services and lanes of the parcels that arrived in the training data."""

    service_lanes: tuple[ServiceLane, ...]

    @classmethod
    def from_support(cls, support: Support) -> SeenServices:
        """Those of a model version."""
        return cls(support.service_lanes)

    @cached_property
    def carriers(self) -> Mapping[str, int]:
        """Parcels by carrier."""
        counts = Counter[str]()
        for row in self.service_lanes:
            if row.carrier is not None:
                counts[row.carrier] += row.parcels
        return counts

    @cached_property
    def services(self) -> Mapping[tuple[str | None, str], int]:
        """Parcels by carrier, None if the data do not name it, and service."""
        counts = Counter[tuple[str | None, str]]()
        for row in self.service_lanes:
            if row.service_level is not None:
                counts[row.carrier, row.service_level] += row.parcels
        return counts

    def unseen_names(
        self, carrier: str | None, service: str | None, *, finds_nearest: bool = True
    ) -> tuple[UnseenName, ...]:
        """What of a choice is not in the training data; a part that is not stated is no choice.

        To find the nearest name takes a few milliseconds for each.
        """
        is_seen = carrier is None or carrier in self.carriers
        if is_seen and (service is None or (carrier, service) in self.services):
            return ()
        return self._compare(carrier, service, finds_nearest)

    def is_choice_seen(
        self, carrier: str | None, service: str | None, origin: str, destination: str
    ) -> bool:
        """Whether a parcel went with this choice on this lane.

        Both ends are "country-region" or "country". A country alone holds all of its regions, and
        parcels of which only the country is known count for each of them.
        """
        origins, destinations = _widening(origin), _widening(destination)
        if (carrier, service, origin, destination) in self._choices:
            return True
        recorded = self._recorded_choices
        return any(
            (carrier, service, start, end) in recorded for start in origins for end in destinations
        )

    @cached_property
    def _recorded_choices(self) -> frozenset[_Choice]:
        """Choices with both ends as recorded."""
        return frozenset(
            (*choice, row.origin, row.destination)
            for row in self.service_lanes
            for choice in _stated(row)
        )

    @cached_property
    def _choices(self) -> frozenset[_Choice]:
        """The same with both ends as recorded, and with their countries."""
        return frozenset(
            (*choice, origin, destination)
            for row in self.service_lanes
            if row.origin is not None and row.destination is not None
            for choice in _stated(row)
            for origin in _widening(row.origin)
            for destination in _widening(row.destination)
        )

    @cached_property
    def _compare(self) -> Callable[[str | None, str | None, bool], tuple[UnseenName, ...]]:
        """The function from a choice to its unseen names; cached."""

        @lru_cache(maxsize=1_000)
        def compare(
            carrier: str | None, service: str | None, finds_nearest: bool
        ) -> tuple[UnseenName, ...]:
            names = self._unseen_names(carrier, service)
            if not finds_nearest:
                return tuple(names)
            return tuple(name._replace(nearest=self._nearest(name, carrier)) for name in names)

        return compare

    def _unseen_names(self, carrier: str | None, service: str | None) -> Iterator[UnseenName]:
        """The unseen names, without the nearest ones."""
        is_carrier_seen = carrier is None or carrier in self.carriers
        if carrier is not None and not is_carrier_seen:
            yield UnseenName(UnseenKind.CARRIER, carrier, None, None)
        if service is None or (carrier, service) in self.services:
            return
        if is_carrier_seen or service not in self._service_names:
            yield UnseenName(
                UnseenKind.SERVICE, service, carrier if is_carrier_seen else None, None
            )

    @cached_property
    def _service_names(self) -> frozenset[str]:
        """The services of all carriers."""
        return frozenset(name for _, name in self.services)

    def _nearest(self, unseen: UnseenName, carrier: str | None) -> str | None:
        """The known name that is most like an unseen one."""
        if unseen.kind is UnseenKind.CARRIER:
            return _nearest(unseen.name, self.carriers.items())
        # Without a carrier that is known, the services of all carriers are compared.
        counts = Counter[str]()
        for (its_carrier, name), parcels in self.services.items():
            if unseen.carrier is None or its_carrier == carrier:
                counts[name] += parcels
        return _nearest(unseen.name, counts.items())


def _stated(row: ServiceLane) -> Iterator[tuple[str | None, str | None]]:
    """The choices that a parcel of a service stands for: the service, and any of its carrier."""
    yield row.carrier, row.service_level
    if row.service_level is not None:
        yield row.carrier, None


def _widening(place: str) -> tuple[str, ...]:
    """A place, and its country."""
    country, _, region = place.partition("-")
    return (place, country) if region else (place,)


def _nearest(name: str, counts: Iterable[tuple[str, int]]) -> str | None:
    """The most similar name, whatever its case."""
    common = [(known, parcels) for known, parcels in counts if parcels >= MIN_PARCELS]
    common.sort(key=lambda item: (-item[1], item[0]))
    by_text: dict[str, str] = {}
    for known, _ in common[:_MAX_COMPARED_NAMES]:
        by_text.setdefault(known.casefold(), known)
    matches = get_close_matches(name.casefold(), by_text, n=1, cutoff=_SIMILARITY)
    return by_text[matches[0]] if matches else None
