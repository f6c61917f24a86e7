"""The stages of a journey and what each parcel's path through them looks like.

A stage starts with a scan, lasts so many hours of its place's clock, and ends where the next one
starts. The hours are

    median x congestion of the hub on the UTC day of entry x weather of that day x (u / (1 - u)) **
    spread,

u uniform: a log-logistic law, close to a lognormal one in the middle, heavier in the tail, whose
quantiles and tail probabilities have a closed form (Bennett 1983). So a stage that has lasted for a
while can be continued exactly.
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
    """Whose hub and clock a stage has."""

    ORIGIN = "origin"
    GATEWAY_OUT = "gateway_out"
    GATEWAY_IN = "gateway_in"
    DESTINATION = "destination"
    #: A hub that the parcel should never have seen; it has no congestion.
    ASTRAY = "astray"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage; its scan is told when it starts."""

    name: str
    code: EventCode
    #: The carrier's own code: one a stage, but that a truck to the wrong hub looks like one to the
    #: right hub.
    raw: str
    where: Where
    clock: str | None
    median: float
    spread: float
    #: Which of a city's hubs the stage waits for; no journey meets the same hub twice.
    hub: str | None = None
    is_outdoors: bool = False
    #: A parcel is swallowed: the stage never ends. ``end_code`` tells so later, with probability
    #: ``end_reported``.
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
#: Until the carrier has the parcel, it is the shop that tells; nothing of that is missing or late.
FIRST_OF_CARRIER = NAMES.index("collected")
_ABROAD = range(NAMES.index("to_border"), STRAYED)
_KM_A_HOUR, _FLIGHT_KM_A_HOUR, _WAIT_FOR_FLIGHT = 65.0, 700.0, 30.0

#: Places as written in scans: hub h of city c is ``c * len(HUBS) + h``.
PLACES = tuple(f"{city.name} {hub}" for city in CITIES for hub in HUBS)


@dataclass(frozen=True, eq=False)
class Parcels:
    """What can be seen of N parcels at purchase, turned into their paths; (N,) or (N, stages) each."""

    origin: Ints
    destination: Ints
    gateway_in: Ints
    carrier: Ints
    #: Who delivers; the carrier itself at home.
    last_carrier: Ints
    #: Row of the stage's clock in ``Clocks``, or ``ALWAYS``.
    clock: Ints
    #: The hub whose congestion counts, as in ``PLACES``, or -1.
    hub: Ints
    #: The city whose weather counts, or -1.
    sky: Ints
    #: Hours of the stage's clock.
    median: Floats
    #: With what probability the parcel enters the stage once it has come that far: 0, 1, or between
    #: for forks.
    fork: Floats

    def __len__(self) -> int:
        return len(self.origin)

    def take(self, rows: NDArray[np.integer]) -> Parcels:
        """Some of the parcels."""
        return Parcels(**{name: values[rows] for name, values in vars(self).items()})

    @classmethod
    def build(cls, shipments: pd.DataFrame, scenario: Scenario) -> Parcels:
        """The paths of shipments of this network: nothing but visible columns goes in."""
        origin, destination = (_city(shipments, end) for end in ("origin", "destination"))
        gateway_out, gateway_in = _GATEWAY[origin], _GATEWAY[destination]
        crosses = gateway_out != gateway_in
        has_customs = crosses & ~(_IN_UNION[origin] & _IN_UNION[destination])
        carrier = (
            pd.Index([carrier.name for carrier in CARRIERS])
            .get_indexer(pd.Index(shipments["carrier"]))
            .astype(np.int64)
        )
        last_carrier = np.where(crosses, _PARTNER[destination], carrier)
        at = {
            Where.ORIGIN: origin,
            Where.GATEWAY_OUT: gateway_out,
            Where.GATEWAY_IN: gateway_in,
            Where.DESTINATION: destination,
            Where.ASTRAY: destination,
        }
        shape = (len(shipments), len(STAGES))
        clock, hub, sky = np.full(shape, ALWAYS), np.full(shape, -1), np.full(shape, -1)
        for number, stage in enumerate(STAGES):
            city = at[stage.where]
            if stage.clock:
                clock[:, number] = city * len(KINDS) + _kind(
                    stage, np.where(number < FIRST_OF_CARRIER, carrier, last_carrier), has_customs
                )
            if stage.hub:
                hub[:, number] = city * len(HUBS) + HUBS.index(stage.hub)
            if stage.is_outdoors:
                sky[:, number] = city
        return cls(
            origin,
            destination,
            gateway_in,
            carrier,
            last_carrier,
            clock,
            hub,
            sky,
            _medians(shipments, carrier, crosses, has_customs, gateway_out, gateway_in),
            _forks(crosses, has_customs, scenario),
        )

    @property
    def expected_days(self) -> Floats:
        """A rule of thumb for the time to the door, (N,): the medians of the sure stages, over how long their clocks run."""
        a_day = np.array([*(opening.hours_a_day for opening in OPENINGS.values()), 24.0])
        kind = np.where(self.clock == ALWAYS, len(KINDS), self.clock % len(KINDS))
        return (self.median / a_day[kind] * (self.fork == 1.0)).sum(axis=1)


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
    names = pd.Index([f"{city.country}-{city.region}" for city in CITIES])
    labels, position = np.unique(
        (shipments[f"{end}_country"] + "-" + shipments[f"{end}_region"]).to_numpy(dtype=object),
        return_inverse=True,
    )
    return names.get_indexer(pd.Index(labels)).astype(np.int64)[position]


def _kind(stage: Stage, carrier: Ints, has_customs: NDArray[np.bool_]) -> Ints:
    """The clock of a stage: without customs the border is a hub; not every carrier works on Saturdays."""
    if stage.clock == "customs":
        return np.where(has_customs, KINDS.index("customs"), KINDS.index("hub"))
    if f"{stage.clock}_weekdays" in KINDS:
        return np.where(
            _SATURDAY[carrier],
            KINDS.index(str(stage.clock)),
            KINDS.index(f"{stage.clock}_weekdays"),
        )
    return np.full(len(carrier), KINDS.index(str(stage.clock)))


def _medians(
    shipments: pd.DataFrame,
    carrier: Ints,
    crosses: NDArray[np.bool_],
    has_customs: NDArray[np.bool_],
    gateway_out: Ints,
    gateway_in: Ints,
) -> Floats:
    """Median hours of every stage, (N, stages): distance for what drives, service, weight and size for what is sorted."""
    speed = _SPEEDS[carrier, pd.Index(_SERVICES).get_indexer(pd.Index(shipments["service_level"]))]
    origin = shipments[["origin_latitude", "origin_longitude"]].to_numpy(dtype=np.float64).T
    destination = (
        shipments[["destination_latitude", "destination_longitude"]].to_numpy(dtype=np.float64).T
    )
    out, entry = _POINTS[:, gateway_out], _POINTS[:, gateway_in]
    volume_l = (shipments["length_cm"] * shipments["width_cm"] * shipments["height_cm"]).to_numpy(
        dtype=np.float64
    ) / 1000.0
    burden = (
        1.0
        + 0.08 * np.log1p(shipments["weight_kg"].to_numpy(dtype=np.float64))
        + 0.03 * np.log1p(volume_l / 10.0)
    )
    start = np.where(crosses, entry, origin)
    flight_hours = np.where(has_customs, _WAIT_FOR_FLIGHT, 3.0) + great_circle_km(
        *out, *entry
    ) / np.where(has_customs, _FLIGHT_KM_A_HOUR, _KM_A_HOUR)
    median = np.tile(np.array([stage.median for stage in STAGES]), (len(shipments), 1))
    for number, stage in enumerate(STAGES):
        if stage.name == "ordered":
            median[:, number] *= np.where(speed < 0.9, 0.7, 1.0)
        elif stage.name == "to_border":
            median[:, number] = 1.0 + great_circle_km(*origin, *out) / _KM_A_HOUR
        elif stage.name == "abroad":
            median[:, number] = flight_hours * speed
        elif stage.name == "linehaul":
            median[:, number] = (
                1.5 + great_circle_km(*start, *destination) / _KM_A_HOUR
            ) * np.sqrt(speed)
        elif stage.name in ("border", "export"):
            median[:, number] *= np.where(has_customs, 1.4, 0.7)
        elif stage.name == "released":
            median[:, number] *= np.where(has_customs, 1.3, 0.5)
        elif stage.hub in ("outbound", "inbound", "depot") or stage.name == "astray":
            median[:, number] *= speed * burden
    return median


def _forks(
    crosses: NDArray[np.bool_], has_customs: NDArray[np.bool_], scenario: Scenario
) -> Floats:
    fork = np.ones((len(crosses), len(STAGES)))
    fork[:, _ABROAD] = crosses[:, None]
    fork[:, NAMES.index("held")] = np.where(has_customs, scenario.held, 0.0)
    # Whoever has strayed is at the wrong hub next: the second stage is taken with the first.
    fork[:, [STRAYED, ASTRAY]] = scenario.misrouted
    return fork
