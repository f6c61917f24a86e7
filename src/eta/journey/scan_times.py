"""The instant of a scan whose local time came without an offset: where the parcel was by then.

The zone is the one that the sender declares, else that of the scan's own place, else that of the
end of the route where the parcel was. Codes such as ``accepted`` belong to the origin, and codes
such as ``out_for_delivery`` to the destination. All others belong to the origin until the parcel
has left it, and to the destination once it has arrived there. In between the end is a guess.

An international parcel leaves its country when it is cleared for export or departs. A domestic
parcel can be anywhere on its route from the hand-over on, so that the zone is a guess until the
last mile if its ends have different times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from eta.calendars.local_time import wall_to_instant
from eta.calendars.places import known_region
from eta.calendars.postcodes import resolve_postcode_or_area
from eta.calendars.zones import has_one_time, zone_of
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import HANDOVER_CODES, PHASE_OF, EventCode, Phase, TimezoneSource


def _codes_of(*phases: Phase) -> frozenset[EventCode]:
    return frozenset(code for code, phase in PHASE_OF.items() if phase in phases)


#: Scans that happen at the origin, and those that happen at the destination.
_AT_ORIGIN = _codes_of(Phase.ORDER_HANDLING, Phase.FIRST_MILE, Phase.EXPORT_CUSTOMS) | {
    EventCode.DEPARTED_ORIGIN_COUNTRY,
    EventCode.RETURN_DELIVERED,
}
_AT_DESTINATION = _codes_of(Phase.IMPORT_CUSTOMS, Phase.LAST_MILE, Phase.POST_DELIVERY) | {
    EventCode.ARRIVED_DESTINATION_COUNTRY
}
#: With these an international parcel leaves the origin's country, and a domestic one the origin.
_EXPORT = frozenset({EventCode.EXPORT_CUSTOMS_CLEARED, EventCode.DEPARTED_ORIGIN_COUNTRY})
_DEPARTURES = frozenset(
    {EventCode.DEPARTED_FACILITY, EventCode.LINEHAUL_DEPARTED, EventCode.LINEHAUL_ARRIVED}
)

#: Announcements about the destination, made while the parcel may be anywhere.
_ANNOUNCEMENTS = frozenset({EventCode.DELIVERY_SCHEDULED, EventCode.DELIVERY_RESCHEDULED})
_RETURNS = frozenset({EventCode.RETURN_STARTED})
_SOURCES_OF_PLACES = (
    TimezoneSource.POSTAL_CODE,
    TimezoneSource.REGION,
    TimezoneSource.COUNTRY_DEFAULT,
)


class ScanPlace(NamedTuple):
    """A place of a scan or an end of a route, as far as it is given."""

    country: str | None = None
    region: str | None = None
    postcode: str | None = None


NOWHERE = ScanPlace()


class LocalScan(NamedTuple):
    """A scan whose time is a wall-clock time."""

    event_code: EventCode
    wall: datetime
    #: The IANA name of the zone that the sender declares.
    zone: str | None = None
    place: ScanPlace = NOWHERE


class ScanTime(NamedTuple):
    """When a scan occurred, and how its zone was found."""

    #: Aware, with the offset of its zone.
    occurred_at: datetime
    source: TimezoneSource
    #: The time occurs twice or is skipped when clocks change, or its zone is a guess.
    is_ambiguous: bool

    def differs_from(self, place: ScanPlace) -> bool:
        """Whether its place is known, and the clocks there differ from those of ``place``."""
        is_placed = self.source in _SOURCES_OF_PLACES and not self.is_ambiguous
        zone, _ = zone_of(*place)
        there = self.occurred_at.astimezone(ZoneInfo(zone))
        return is_placed and there.utcoffset() != self.occurred_at.utcoffset()


class DatedScan(NamedTuple):
    """A scan whose time is known."""

    event_code: EventCode
    time: ScanTime


class _Position(NamedTuple):
    """Where a parcel is, and whether that is a guess."""

    place: ScanPlace
    is_guess: bool


@dataclass(frozen=True)
class ParcelClock:
    """Reads the local times of one parcel's scans, by its route and its other scans.

    Only scans at or before the one that is read count, in whatever order they are given. Without a
    route, as for a tracking number that nobody registered, scans without a country are read in UTC.
    The times are aware, and None if there is no such scan.
    """

    origin: ScanPlace = NOWHERE
    destination: ScanPlace = NOWHERE
    handed_over_at: datetime | None = None
    #: The first departure from the origin.
    left_at: datetime | None = None
    #: The first scan at the destination.
    arrived_at: datetime | None = None
    returned_at: datetime | None = None

    @classmethod
    def from_scans(
        cls,
        origin: ScanPlace,
        destination: ScanPlace,
        dated: Iterable[DatedScan],
        local: Iterable[LocalScan] = (),
    ) -> Self:
        """The clock of a parcel with this route and these scans."""
        # Without other scans, all but those of the last mile and the import are at the origin.
        route = cls(origin, destination)
        scans = [*dated, *(DatedScan(scan.event_code, route.read(scan)) for scan in local)]
        return cls(
            origin,
            destination,
            handed_over_at=_first(scans, lambda scan: scan.event_code in HANDOVER_CODES),
            left_at=_first(scans, route._has_left),
            arrived_at=_first(scans, route._has_arrived),
            returned_at=_first(scans, lambda scan: scan.event_code in _RETURNS),
        )

    def read(self, scan: LocalScan) -> ScanTime:
        """When a scan occurred, by the zone that is declared, its own place, or the route."""
        if scan.zone:
            occurred_at, is_ambiguous = wall_to_instant(scan.wall, scan.zone)
            return ScanTime(occurred_at, TimezoneSource.DECLARED, is_ambiguous)
        place, is_guess = self._position(scan)
        zone, source = zone_of(*place)
        occurred_at, is_ambiguous = wall_to_instant(scan.wall, zone)
        is_default = source is TimezoneSource.COUNTRY_DEFAULT and not has_one_time(place.country)
        is_guess = is_guess or is_default or source is TimezoneSource.ASSUMED_UTC
        return ScanTime(occurred_at, source, is_ambiguous or is_guess)

    def _has_left(self, scan: DatedScan) -> bool:
        """Whether a scan shows that the parcel left the origin."""
        is_domestic = self.origin.country == self.destination.country
        departures = _DEPARTURES if is_domestic else _EXPORT
        is_elsewhere = scan.time.differs_from(self.origin)
        return scan.event_code in departures or (
            is_elsewhere and scan.event_code not in _ANNOUNCEMENTS
        )

    def _has_arrived(self, scan: DatedScan) -> bool:
        """Whether a scan shows that the parcel is at the destination."""
        if scan.event_code in _ANNOUNCEMENTS:
            return False
        is_elsewhere = scan.time.differs_from(self.destination)
        is_there = scan.time.differs_from(self.origin) and not is_elsewhere
        return scan.event_code in _AT_DESTINATION or is_there

    def _position(self, scan: LocalScan) -> _Position:
        """The place of a scan: its own, or else where the parcel was."""
        place = scan.place
        if place.country:
            return _Position(place, is_guess=False)
        reached = self._reached(scan)
        if not (place.region or place.postcode):
            return reached
        # The countries of the route that have such a region, the likeliest first.
        ends = (reached.place, self.origin, self.destination)
        countries = [country for country in dict.fromkeys(end.country for end in ends) if country]
        fitting = list(filter(None, (_within(country, place) for country in countries)))
        if not fitting:
            return _Position(reached.place, is_guess=True)
        is_guess = len(fitting) > 1 and reached.is_guess
        return _Position(fitting[0], is_guess)

    def _reached(self, scan: LocalScan) -> _Position:
        """The end of the route at which the parcel was, or between which it was."""
        if scan.event_code in _AT_ORIGIN:
            return _Position(self.origin, is_guess=False)
        at_origin = _instant(scan.wall, self.origin)
        at_destination = _instant(scan.wall, self.destination)
        has_left = _is_past(self.left_at, at_origin)
        has_arrived = _is_past(self.arrived_at, at_destination, or_now=True)
        is_between = _is_past(self.returned_at, at_destination)
        if scan.event_code in _AT_DESTINATION or has_arrived:
            end = self.destination
        elif has_left and _is_past(self.left_at, at_destination):
            end, is_between = self.destination, True
        else:
            end = self.origin
            is_domestic = self.origin.country == self.destination.country
            has_moved = is_domestic and _is_past(self.handed_over_at, at_origin)
            is_between = is_between or has_left or has_moved
        return _Position(end, is_between and at_origin != at_destination)


def _first(scans: Iterable[DatedScan], is_one: Callable[[DatedScan], bool]) -> datetime | None:
    return min((scan.time.occurred_at for scan in scans if is_one(scan)), default=None)


def _within(country: str, place: ScanPlace) -> ScanPlace | None:
    """A place without a country as one of the country; None if there is none like it."""
    if place.region:
        region = known_region(country, place.region)
        return ScanPlace(country, region, place.postcode) if region else None
    try:
        return ScanPlace(country, None, resolve_postcode_or_area(country, place.postcode or ""))
    except InvalidValue:
        return None


def _instant(wall: datetime, place: ScanPlace) -> datetime:
    zone, _ = zone_of(*place)
    return wall_to_instant(wall, zone)[0]


def _is_past(event: datetime | None, now: datetime, *, or_now: bool = False) -> bool:
    """Whether an event was before a moment, or at it with ``or_now``."""
    return event is not None and (event < now or (or_now and event == now))
