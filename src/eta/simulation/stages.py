"""The stages of a journey, and the path of each parcel through them.

A stage starts with an event, lasts some hours of the clock of its place, and ends when the next one
starts. The hours are

    median x congestion of the hub on the UTC day of entry x weather of that day x (u / (1 - u)) **
    spread,

with u uniform: a log-logistic distribution, close to a lognormal one in the middle and heavier in
the tail, whose quantiles and tail probabilities have a closed form (Bennett 1983). So a stage that
has lasted for a while can be continued exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.domain.vocabulary import EventCode
from eta.journey.route import great_circle_km
from eta.simulation.clocks import ALWAYS, KINDS, OPENINGS
from eta.simulation.network import CARRIERS, CITIES, CUSTOMS_UNION, PARTNERS
from eta.simulation.scenario import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Where(Enum):
    """The city whose hub and clock a stage uses."""

    ORIGIN = "origin"
    GATEWAY_OUT = "gateway_out"
    GATEWAY_IN = "gateway_in"
    DESTINATION = "destination"
    #: The wrong hub of a misrouted parcel; it has no congestion.
    ASTRAY = "astray"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage; its event occurs when it starts."""

    name: str
    code: EventCode
    #: The carrier's code: one a stage, except that a truck to the wrong hub has the code of one to
    #: the right hub.
    raw: str
    where: Where
    clock: str | None
    median: float
    spread: float
    #: The hub of the city that the stage waits for; no journey uses the same hub twice.
    hub: str | None = None
    is_outdoors: bool = False
    #: P(the stage swallows the parcel, so that it never ends). The carrier reports it later by
    #: ``end_code``, with probability ``end_reported``.
    swallowed: float = 0.0
    end_code: EventCode = EventCode.LOST
    end_reported: float = 0.4
    end_median: float = 14 * 24.0


_E, _W = EventCode, Where
HUBS = ("outbound", "gateway", "inbound", "depot")

STAGES = (
    Stage(
        name="ordered",
        code=_E.ORDER_CREATED,
        raw="ORD",
        where=_W.ORIGIN,
        clock="shop",
        median=1.6,
        spread=0.60,
    ),
    Stage(
        name="packed",
        code=_E.LABEL_CREATED,
        raw="LBL",
        where=_W.ORIGIN,
        clock="collection",
        median=1.4,
        spread=0.45,
        swallowed=0.004,
        end_code=_E.CANCELLED,
        end_reported=1.0,
        end_median=20.0,
    ),
    Stage(
        name="collected",
        code=_E.PICKED_UP,
        raw="PUP",
        where=_W.ORIGIN,
        clock=None,
        median=3.0,
        spread=0.25,
    ),
    Stage(
        name="outbound",
        code=_E.ARRIVED_AT_FACILITY,
        raw="OHA",
        where=_W.ORIGIN,
        clock="hub",
        median=3.2,
        spread=0.42,
        hub="outbound",
        swallowed=0.0015,
    ),
    # Across the border.
    Stage(
        name="to_border",
        code=_E.LINEHAUL_DEPARTED,
        raw="LHD",
        where=_W.ORIGIN,
        clock=None,
        median=1.0,
        spread=0.25,
        is_outdoors=True,
    ),
    Stage(
        name="export",
        code=_E.LINEHAUL_ARRIVED,
        raw="LHA",
        where=_W.GATEWAY_OUT,
        clock="hub",
        median=10.0,
        spread=0.42,
        hub="gateway",
    ),
    Stage(
        name="abroad",
        code=_E.DEPARTED_ORIGIN_COUNTRY,
        raw="DOC",
        where=_W.GATEWAY_OUT,
        clock=None,
        median=1.0,
        spread=0.30,
        swallowed=0.002,
    ),
    Stage(
        name="border",
        code=_E.ARRIVED_DESTINATION_COUNTRY,
        raw="ADC",
        where=_W.GATEWAY_IN,
        clock="customs",
        median=9.0,
        spread=0.45,
        hub="gateway",
        swallowed=0.002,
    ),
    Stage(
        name="held",
        code=_E.IMPORT_CUSTOMS_HELD,
        raw="ICH",
        where=_W.GATEWAY_IN,
        clock="customs",
        median=26.0,
        spread=0.45,
    ),
    Stage(
        name="released",
        code=_E.IMPORT_CUSTOMS_CLEARED,
        raw="ICC",
        where=_W.GATEWAY_IN,
        clock="hub",
        median=7.0,
        spread=0.40,
    ),
    Stage(
        name="partner",
        code=_E.PARTNER_RECEIVED,
        raw="PRC",
        where=_W.GATEWAY_IN,
        clock="hub",
        median=7.0,
        spread=0.40,
        hub="outbound",
    ),
    # To the door.
    Stage(
        name="strayed",
        code=_E.DEPARTED_FACILITY,
        raw="DEP",
        where=_W.DESTINATION,
        clock=None,
        median=9.0,
        spread=0.25,
    ),
    Stage(
        name="astray",
        code=_E.ARRIVED_AT_FACILITY,
        raw="STA",
        where=_W.ASTRAY,
        clock="hub",
        median=14.0,
        spread=0.40,
        swallowed=0.05,
    ),
    Stage(
        name="linehaul",
        code=_E.DEPARTED_FACILITY,
        raw="DEP",
        where=_W.DESTINATION,
        clock=None,
        median=1.0,
        spread=0.25,
        is_outdoors=True,
        swallowed=0.002,
    ),
    Stage(
        name="inbound",
        code=_E.ARRIVED_AT_FACILITY,
        raw="IHA",
        where=_W.DESTINATION,
        clock="hub",
        median=2.8,
        spread=0.42,
        hub="inbound",
        swallowed=0.002,
    ),
    Stage(
        name="to_depot",
        code=_E.DEPARTED_FACILITY,
        raw="IHD",
        where=_W.DESTINATION,
        clock=None,
        median=2.0,
        spread=0.25,
    ),
    Stage(
        name="depot",
        code=_E.ARRIVED_AT_DELIVERY_DEPOT,
        raw="DPA",
        where=_W.DESTINATION,
        clock="loading",
        median=1.2,
        spread=0.42,
        hub="depot",
        swallowed=0.002,
        end_code=_E.RETURN_STARTED,
        end_reported=1.0,
        end_median=60.0,
    ),
    Stage(
        name="tour",
        code=_E.OUT_FOR_DELIVERY,
        raw="OFD",
        where=_W.DESTINATION,
        clock="tour",
        median=4.0,
        spread=0.33,
        is_outdoors=True,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
ARRIVAL = len(STAGES)
STRAYED, ASTRAY, LINEHAUL = NAMES.index("strayed"), NAMES.index("astray"), NAMES.index("linehaul")
SWALLOWED = np.array([stage.swallowed for stage in STAGES])
#: The carrier's code for a truck from a wrong hub to the right one.
REDIRECTED = "RDR"
#: The first stage that the carrier reports. The shop reports earlier ones; none is missing or late.
FIRST_OF_CARRIER = NAMES.index("collected")
_ABROAD = range(NAMES.index("to_border"), STRAYED)
_KM_A_HOUR, _FLIGHT_KM_A_HOUR, _WAIT_FOR_FLIGHT = 65.0, 700.0, 30.0

#: Places as written in events: hub h of city c is ``c * len(HUBS) + h``.
PLACES = tuple(f"{city.name} {hub}" for city in CITIES for hub in HUBS)


@dataclass(frozen=True, eq=False)
class Parcels:
    """The paths of N parcels, from what is visible at purchase; (N,) or (N, stages) each."""

    origin: Ints
    destination: Ints
    gateway_in: Ints
    carrier: Ints
    #: The carrier that delivers; within a country the first carrier.
    last_carrier: Ints
    #: Row of the stage's clock in ``Clocks``, or ``ALWAYS``.
    clock: Ints
    #: The hub whose congestion applies, as in ``PLACES``, or -1.
    hub: Ints
    #: The city whose weather applies, or -1.
    sky: Ints
    #: Hours of the stage's clock.
    median: Floats
    #: P(the parcel enters the stage once it has reached it): 0, 1, or between for forks.
    fork: Floats

    def __len__(self) -> int:
        return len(self.origin)

    def take(self, rows: NDArray[np.integer]) -> Parcels:
        """Some of the parcels."""
        return Parcels(**{name: values[rows] for name, values in vars(self).items()})

    @classmethod
    def build(cls, shipments: pd.DataFrame, scenario: Scenario) -> Parcels:
        """The paths of shipments of this network; only visible columns are used."""
        route = _Route.from_frame(shipments)
        clock, hub, sky = _clocks_hubs_and_skies(route)
        median = _medians(shipments, route)
        fork = _forks(route, scenario)
        return cls(
            origin=route.origin,
            destination=route.destination,
            gateway_in=route.gateway_in,
            carrier=route.carrier,
            last_carrier=route.last_carrier,
            clock=clock,
            hub=hub,
            sky=sky,
            median=median,
            fork=fork,
        )

    @property
    def expected_days(self) -> Floats:
        """A rule of thumb for the time to the door, (N,).

        It adds up the medians of the sure stages, divided by the hours a day that their clocks run.
        """
        hours_a_day = [opening.hours_a_day for opening in OPENINGS.values()]
        kind = np.where(self.clock == ALWAYS, len(KINDS), self.clock % len(KINDS))
        days = self.median / np.array([*hours_a_day, 24.0])[kind]
        is_sure = self.fork == 1.0
        return (days * is_sure).sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Route:
    """Cities, carriers and borders of N shipments, (N,) each."""

    origin: Ints
    destination: Ints
    gateway_out: Ints
    gateway_in: Ints
    #: The parcel crosses a border, and a border with customs.
    crosses: NDArray[np.bool_]
    has_customs: NDArray[np.bool_]
    carrier: Ints
    last_carrier: Ints

    @classmethod
    def from_frame(cls, shipments: pd.DataFrame) -> _Route:
        """The routes of shipments of this network."""
        origin, destination = _city(shipments, "origin"), _city(shipments, "destination")
        gateway_out, gateway_in = _GATEWAY[origin], _GATEWAY[destination]
        crosses = gateway_out != gateway_in
        names = pd.Index([carrier.name for carrier in CARRIERS])
        carrier = names.get_indexer(pd.Index(shipments["carrier"])).astype(np.int64)
        last_carrier = np.where(crosses, _PARTNER[destination], carrier)
        is_in_union = _IN_UNION[origin] & _IN_UNION[destination]
        has_customs = crosses & ~is_in_union
        return cls(
            origin=origin,
            destination=destination,
            gateway_out=gateway_out,
            gateway_in=gateway_in,
            crosses=crosses,
            has_customs=has_customs,
            carrier=carrier,
            last_carrier=last_carrier,
        )

    def city(self, where: Where) -> Ints:
        """The cities of stages that are there, (N,)."""
        return {
            Where.ORIGIN: self.origin,
            Where.GATEWAY_OUT: self.gateway_out,
            Where.GATEWAY_IN: self.gateway_in,
            Where.DESTINATION: self.destination,
            Where.ASTRAY: self.destination,
        }[where]


_GATEWAY = np.array(
    [next(n for n, other in enumerate(CITIES) if other.country == city.country) for city in CITIES]
)
_IN_UNION = np.array([city.country in CUSTOMS_UNION for city in CITIES])
_PARTNER = np.array(
    [[carrier.name for carrier in CARRIERS].index(PARTNERS[city.country]) for city in CITIES]
)
_POINTS = np.array([(city.latitude, city.longitude) for city in CITIES]).T
_SERVICES = tuple(sorted({service for carrier in CARRIERS for service in carrier.services}))
_SPEEDS = np.array(
    [[carrier.services.get(service, np.nan) for service in _SERVICES] for carrier in CARRIERS]
)
_SATURDAY = np.array([carrier.delivers_on_saturday for carrier in CARRIERS])


def _city(shipments: pd.DataFrame, end: str) -> Ints:
    """The position in ``CITIES`` of each shipment's ``end``, (N,)."""
    names = pd.Index([f"{city.country}-{city.region}" for city in CITIES])
    regions = shipments[f"{end}_country"] + "-" + shipments[f"{end}_region"]
    labels, position = np.unique(regions.to_numpy(dtype=object), return_inverse=True)
    return names.get_indexer(pd.Index(labels)).astype(np.int64)[position]


def _clocks_hubs_and_skies(route: _Route) -> tuple[Ints, Ints, Ints]:
    """By stage, (N, stages) each: the clock, the hub whose congestion applies, the city's weather.

    A stage without a clock has ``ALWAYS``, one without a hub or the weather of a city -1.
    """
    shape = (len(route.origin), len(STAGES))
    clock, hub, sky = np.full(shape, ALWAYS), np.full(shape, -1), np.full(shape, -1)
    for number, stage in enumerate(STAGES):
        city = route.city(stage.where)
        if stage.hub:
            hub[:, number] = city * len(HUBS) + HUBS.index(stage.hub)
        if stage.is_outdoors:
            sky[:, number] = city
        if not stage.clock:
            continue
        # Without customs the border is a hub, and some carriers do not work on Saturdays.
        kind = np.full(shape[0], KINDS.index(stage.clock))
        weekdays_only = f"{stage.clock}_weekdays"
        if stage.clock == "customs":
            kind = np.where(route.has_customs, kind, KINDS.index("hub"))
        elif weekdays_only in KINDS:
            carrier = route.carrier if number < FIRST_OF_CARRIER else route.last_carrier
            kind = np.where(_SATURDAY[carrier], kind, KINDS.index(weekdays_only))
        clock[:, number] = city * len(KINDS) + kind
    return clock, hub, sky


def _medians(shipments: pd.DataFrame, route: _Route) -> Floats:
    """The median hours of every stage, (N, stages).

    Distance counts for what drives; service, weight and size count for what is sorted.
    """
    service = pd.Index(_SERVICES).get_indexer(pd.Index(shipments["service_level"]))
    speed = _SPEEDS[route.carrier, service]
    # How much longer heavy and large parcels are sorted, (N,).
    weight_kg = shipments["weight_kg"].to_numpy(dtype=np.float64)
    volume_cm3 = shipments["length_cm"] * shipments["width_cm"] * shipments["height_cm"]
    volume_l = volume_cm3.to_numpy(dtype=np.float64) / 1000.0
    burden = 1.0 + 0.08 * np.log1p(weight_kg) + 0.03 * np.log1p(volume_l / 10.0)
    sorting = speed * burden
    drives = _driving_hours(shipments, route, speed)
    stage_medians = np.array([stage.median for stage in STAGES])
    median = np.tile(stage_medians, (len(shipments), 1))
    for number, stage in enumerate(STAGES):
        if stage.name in drives:
            median[:, number] = drives[stage.name]
        elif stage.name == "ordered":
            median[:, number] *= np.where(speed < 0.9, 0.7, 1.0)
        elif stage.name in ("border", "export"):
            median[:, number] *= np.where(route.has_customs, 1.4, 0.7)
        elif stage.name == "released":
            median[:, number] *= np.where(route.has_customs, 1.3, 0.5)
        elif stage.hub in ("outbound", "inbound", "depot") or stage.name == "astray":
            median[:, number] *= sorting
    return median


def _driving_hours(shipments: pd.DataFrame, route: _Route, speed: Floats) -> dict[str, Floats]:
    """The median hours, (N,), of the stages in which a truck or a plane is under way."""
    origin, destination = _points(shipments, "origin"), _points(shipments, "destination")
    out, entry = _POINTS[:, route.gateway_out], _POINTS[:, route.gateway_in]
    start = np.where(route.crosses, entry, origin)
    wait = np.where(route.has_customs, _WAIT_FOR_FLIGHT, 3.0)
    km_a_hour = np.where(route.has_customs, _FLIGHT_KM_A_HOUR, _KM_A_HOUR)
    flight_km = great_circle_km(*out, *entry)
    flight_hours = wait + flight_km / km_a_hour
    truck_km = great_circle_km(*start, *destination)
    truck_hours = 1.5 + truck_km / _KM_A_HOUR
    border_km = great_circle_km(*origin, *out)
    return {
        "to_border": 1.0 + border_km / _KM_A_HOUR,
        "abroad": flight_hours * speed,
        "linehaul": truck_hours * np.sqrt(speed),
    }


def _points(shipments: pd.DataFrame, end: str) -> Floats:
    """Latitude and longitude, (2, N)."""
    points = shipments[[f"{end}_latitude", f"{end}_longitude"]]
    return points.to_numpy(dtype=np.float64).T


def _forks(route: _Route, scenario: Scenario) -> Floats:
    """P(a stage is entered once it is reached), (N, stages)."""
    fork = np.ones((len(route.crosses), len(STAGES)))
    fork[:, _ABROAD] = route.crosses[:, None]
    fork[:, NAMES.index("held")] = np.where(route.has_customs, scenario.held, 0.0)
    # A parcel that has strayed is at the wrong hub next: both stages are entered together.
    fork[:, [STRAYED, ASTRAY]] = scenario.misrouted
    return fork
