"""The simulator: a seeded network of parcels, as a shop sees it, and the truth behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eta.domain.vocabulary import EventCode
from eta.simulation.clocks import KINDS, Clocks
from eta.simulation.days import Days
from eta.simulation.emit_events import EventGroup, emit_events
from eta.simulation.network import CARRIERS, CITIES
from eta.simulation.orders import draw_orders, promise
from eta.simulation.scenario import DEFAULT, Scenario, hours_since, instants
from eta.simulation.stages import (
    ARRIVAL,
    HUBS,
    LINEHAUL,
    NAMES,
    PLACES,
    REDIRECTED,
    STAGES,
    STRAYED,
    Floats,
    Ints,
    Parcels,
    Where,
)
from eta.simulation.travel import (
    END_DELAY,
    END_REPORTED,
    Bools,
    SeededDraws,
    Start,
    end_delay,
    travel,
)
from eta.simulation.truth import Truth

#: Called with the current step, the number of finished steps, and the number of steps.
Progress = Callable[[str, int, int], None]

_ATTEMPTS = 3
#: Hours: from a failed attempt to the next loading, on the counter, and on the way back.
_BACK_AT_DEPOT, _ON_COUNTER, _WAY_BACK = 6.0, 20.0, 110.0
_LEFT_ON_COUNTER, _DAYS_ON_COUNTER = 0.04, 7
_AFTER_ARRIVAL = ARRIVAL + 1
_COUNTER = np.array([carrier.counter for carrier in CARRIERS])
_LOCKER_SHARE = 0.9
_COUNTRY = np.array([city.country for city in CITIES])
#: Hubs of stages that do not wait for one.
_HUB_OF_STAGE = {"to_border": "outbound", "to_depot": "inbound", "tour": "depot"}


@dataclass(frozen=True, eq=False)
class Simulated:
    """``shipments`` and ``events`` in the columns of any source, and the truth behind them."""

    shipments: pd.DataFrame
    events: pd.DataFrame
    truth: Truth


@dataclass(frozen=True, eq=False)
class _Journeys:
    """The journeys of N parcels: entry times (N, stages + 1), NaN if a stage was not entered."""

    entered: Floats
    #: The stage that swallowed the parcel, or -1.
    swallowed_in: Ints
    #: The city of the wrong hub, whether or not the parcel strayed.
    stray_city: Ints

    @property
    def strayed(self) -> Bools:
        """Left for the wrong hub."""
        return ~np.isnan(self.entered[:, STRAYED])


def simulate(
    scenario: Scenario = DEFAULT,
    *,
    shipments: int,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> Simulated:
    """Simulates ``shipments`` parcels.

    The same scenario, number and seed (by default the scenario's) give the same bytes.
    """
    seed = scenario.seed if seed is None else seed
    random = np.random.default_rng([seed, 0])
    progress("drawing orders", 0, 4)
    frame = draw_orders(scenario, shipments, random)
    parcels = Parcels.build(frame, scenario)
    frame["promised_on"] = promise(frame, parcels)
    progress("moving parcels", 1, 4)
    clocks = Clocks.build(scenario.first_day, scenario.days)
    days = Days.draw(scenario, seed)
    ordered = hours_since(frame["ordered_at"], scenario)
    journeys = _move(parcels, clocks, days, ordered, seed, random)
    deliveries = _Deliveries(frame, parcels, clocks, journeys, scenario, random)
    event_groups = [*_on_the_way(parcels, journeys, seed), *deliveries.event_groups()]
    progress("emitting events", 2, 4)
    number = random.random(shipments)
    wrong_number = np.full(shipments, None, dtype=object)
    wrong_number[number < scenario.silent_number + scenario.foreign_number] = "foreign"
    wrong_number[number < scenario.silent_number] = "silent"
    shipment_id = frame["shipment_id"].to_numpy(dtype=object)
    events = emit_events(event_groups, parcels, shipment_id, wrong_number, scenario, seed)
    progress("recording the truth", 3, 4)
    journey_table = _truth_table(frame, parcels, journeys, event_groups, wrong_number, scenario)
    truth = Truth.build(scenario, frame, events, journey_table, days)
    progress("simulated", 4, 4)
    return Simulated(frame, events, truth)


def _move(
    parcels: Parcels,
    clocks: Clocks,
    days: Days,
    ordered: Floats,
    seed: int,
    random: np.random.Generator,
) -> _Journeys:
    """The journeys of parcels ordered at ``ordered`` (N,)."""
    entered = np.full((len(parcels), len(STAGES) + 1), np.nan)
    swallowed_in = np.full(len(parcels), -1)
    for step in travel(parcels, clocks, days, SeededDraws(seed), Start.at_order(ordered)):
        taken = step.taken[:, 0]
        entered[step.rows[taken], step.stage] = step.entered[taken, 0]
        swallowed_in[step.rows[step.swallowed[:, 0]]] = step.stage
    # A city (N,) of the destination's country that is not the destination.
    stray_city = np.empty(len(parcels), dtype=np.int64)
    for city in range(len(CITIES)):
        rows = np.flatnonzero(parcels.destination == city)
        in_country = np.flatnonzero(_COUNTRY[city] == _COUNTRY)
        others = in_country[in_country != city]
        stray_city[rows] = random.choice(others, len(rows))
    return _Journeys(entered, swallowed_in, stray_city)


def _on_the_way(parcels: Parcels, journeys: _Journeys, seed: int) -> list[EventGroup]:
    """The starts of stages, and the ends that are reported of swallowed parcels."""
    event_groups = []
    for number, stage in enumerate(STAGES):
        place = _places(parcels, journeys, number)
        # The starts of a stage; the carrier codes those of redirected parcels in another way.
        rows = np.flatnonzero(~np.isnan(journeys.entered[:, number]))
        is_redirected = journeys.strayed[rows] & (number == LINEHAUL)
        for raw, is_coded in ((stage.raw, ~is_redirected), (REDIRECTED, is_redirected)):
            started = rows[is_coded]
            at = journeys.entered[started, number]
            group = EventGroup(number, stage.code, raw, started, at, place[started])
            event_groups.append(group)
        if stage.swallowed:
            event_groups.append(_reported_ends(journeys, number, place, seed))
    return event_groups


def _reported_ends(journeys: _Journeys, number: int, place: Ints, seed: int) -> EventGroup:
    """The events that end the wait for parcels that a stage has swallowed."""
    stage = STAGES[number]
    rows = np.flatnonzero(journeys.swallowed_in == number)
    draws = SeededDraws(seed)
    delay = np.empty(0)
    if len(rows):
        is_reported = draws.uniform(number, END_REPORTED, rows)[:, 0] < stage.end_reported
        rows = rows[is_reported]
    if len(rows):
        delay = end_delay(stage, draws.uniform(number, END_DELAY, rows)[:, 0])
    at = journeys.entered[rows, number] + delay
    return EventGroup(0, stage.end_code, f"END-{stage.end_code.value}", rows, at, place[rows])


def _places(parcels: Parcels, journeys: _Journeys, number: int) -> Ints:
    """The place where a stage starts, (N,), as positions in ``PLACES``; -1 at the shop."""
    if number < NAMES.index("outbound"):
        return np.full(len(parcels), -1)
    stage = STAGES[number]
    gateway_out = parcels.hub[:, NAMES.index("export")]
    cities = {
        Where.ORIGIN: parcels.origin,
        Where.GATEWAY_OUT: gateway_out // len(HUBS),
        Where.GATEWAY_IN: parcels.gateway_in,
        Where.DESTINATION: parcels.destination,
        Where.ASTRAY: journeys.stray_city,
    }
    city = cities[stage.where]
    if number in (STRAYED, LINEHAUL):
        # A truck leaves from the hub where the parcel was sorted last.
        crosses = ~np.isnan(journeys.entered[:, NAMES.index("partner")])
        city = np.where(crosses, parcels.gateway_in, parcels.origin)
    if number == LINEHAUL:
        city = np.where(journeys.strayed, journeys.stray_city, city)
    default = "outbound" if number >= STRAYED else "gateway"
    hub = stage.hub or _HUB_OF_STAGE.get(stage.name, default)
    return city * len(HUBS) + HUBS.index(hub)


@dataclass(frozen=True, eq=False)
class _Deliveries:
    """First attempts by their outcome, and the further course of parcels not delivered by them."""

    frame: pd.DataFrame
    parcels: Parcels
    clocks: Clocks
    journeys: _Journeys
    scenario: Scenario
    random: np.random.Generator

    def event_groups(self) -> list[EventGroup]:
        """All events from the arrivals on."""
        rows = np.flatnonzero(~np.isnan(self.journeys.entered[:, ARRIVAL]))
        at = self.journeys.entered[rows, ARRIVAL]
        # The first attempts end at a counter, fail, or deliver.
        is_locker = self.frame["service_level"].eq("locker")
        counter_share = _COUNTER[self.parcels.last_carrier]
        counter = np.where(is_locker, _LOCKER_SHARE, counter_share)[rows]
        to_counter = self.random.random(len(rows)) < counter
        fails = self.random.random(len(rows)) < self.scenario.failed_attempt
        first_attempts = []
        for code, raw, is_outcome in (
            (EventCode.DELIVERED, "DLV", ~to_counter & ~fails),
            (EventCode.AVAILABLE_FOR_PICKUP, "CNT", to_counter),
            (EventCode.DELIVERY_ATTEMPTED, "ATT", ~to_counter & fails),
        ):
            group = self._group(ARRIVAL, code, raw, rows[is_outcome], at[is_outcome])
            first_attempts.append(group)
        failed = ~to_counter & fails
        attempts, waiting, failed_at = self._further_attempts(rows[failed], at[failed])
        pickups, uncollected, available_at = self._pickups(rows[to_counter], at[to_counter])
        back = np.concatenate([waiting, uncollected])
        given_up_at = available_at + _DAYS_ON_COUNTER * 24.0
        return_started = np.concatenate([failed_at + 24.0, given_up_at])
        returned = return_started + _WAY_BACK * _spread(self.random, len(back))
        returns = [
            self._later(EventCode.RETURN_STARTED, "RTS", back, return_started),
            self._later(EventCode.RETURN_DELIVERED, "RTD", back, returned),
        ]
        return [*first_attempts, *attempts, pickups, *returns]

    def _further_attempts(
        self, waiting: Ints, failed_at: Floats
    ) -> tuple[list[EventGroup], Ints, Floats]:
        """Later attempts; the parcels that none of them delivered, and when the last one failed."""
        event_groups = []
        for attempt in range(2, _ATTEMPTS + 1):
            loaded = self._run(waiting, failed_at + _BACK_AT_DEPOT, "loading", 1.5)
            attempted = self._run(waiting, loaded, "tour", 4.0)
            fails = self.random.random(len(waiting)) < self.scenario.failed_attempt
            delivered, delivered_at = waiting[~fails], attempted[~fails]
            out = self._later(EventCode.OUT_FOR_DELIVERY, f"OFD{attempt}", waiting, loaded)
            done = self._later(EventCode.DELIVERED, f"DLV{attempt}", delivered, delivered_at)
            waiting, failed_at = waiting[fails], attempted[fails]
            failed = self._later(EventCode.DELIVERY_ATTEMPTED, f"ATT{attempt}", waiting, failed_at)
            event_groups += [out, done, failed]
        return event_groups, waiting, failed_at

    def _pickups(self, rows: Ints, available_at: Floats) -> tuple[EventGroup, Ints, Floats]:
        """Pickups at counters; the parcels that nobody collects, and since when they are there."""
        uncollected = self.random.random(len(rows)) < _LEFT_ON_COUNTER
        collected_at = available_at + _ON_COUNTER * _spread(self.random, len(rows))
        collected, collected_at = rows[~uncollected], collected_at[~uncollected]
        pickups = self._later(EventCode.PICKED_UP_BY_RECIPIENT, "FET", collected, collected_at)
        return pickups, rows[uncollected], available_at[uncollected]

    def _group(self, stage: int, code: EventCode, raw: str, rows: Ints, at: Floats) -> EventGroup:
        """Events at the depots of the destinations."""
        place = self.parcels.destination[rows] * len(HUBS) + HUBS.index("depot")
        return EventGroup(stage, code, raw, rows, at, place)

    def _later(self, code: EventCode, raw: str, rows: Ints, at: Floats) -> EventGroup:
        """Events after the arrival."""
        return self._group(_AFTER_ARRIVAL, code, raw, rows, at)

    def _run(self, rows: Ints, begun: Floats, kind: str, median: float) -> Floats:
        """When a clock of the destinations has run for about ``median`` hours, (R,)."""
        clock = self.parcels.destination[rows] * len(KINDS) + KINDS.index(kind)
        hours = median * _spread(self.random, len(rows))
        return self.clocks.after(clock, begun[:, None], hours[:, None])[:, 0]


def _spread(random: np.random.Generator, count: int) -> Floats:
    """Log-logistic numbers around 1."""
    uniform = np.clip(random.random(count), 1e-6, 1.0 - 1e-6)
    return (uniform / (1.0 - uniform)) ** 0.25


def _truth_table(
    frame: pd.DataFrame,
    parcels: Parcels,
    journeys: _Journeys,
    event_groups: list[EventGroup],
    wrong_number: np.ndarray,
    scenario: Scenario,
) -> pd.DataFrame:
    """The truth, one row a shipment: times and places of stages, and what went wrong."""
    entered, place = {}, {}
    place_names = np.array([*PLACES, None], dtype=object)
    for number, name in enumerate(NAMES):
        hours = journeys.entered[:, number]
        entered[f"entered_{name}_at"] = instants(hours, scenario)
        if number >= NAMES.index("outbound"):
            position = _places(parcels, journeys, number)
            position = np.where(np.isnan(hours), -1, position)
            names = place_names[position]
            place[f"place_{name}"] = pd.Categorical(names, categories=PLACES)
    first_attempt_at = instants(journeys.entered[:, ARRIVAL], scenario)
    columns = {
        "shipment_id": frame["shipment_id"],
        **entered,
        "first_attempt_at": first_attempt_at,
        **place,
        **_outcomes(journeys, event_groups),
        "wrong_number": wrong_number,
    }
    return pd.DataFrame(columns)


def _outcomes(journeys: _Journeys, event_groups: list[EventGroup]) -> dict[str, np.ndarray]:
    """The columns on stages that lose, cancel or misroute parcels, failed attempts and returns."""
    count = len(journeys.entered)
    failed_attempts = np.zeros(count, dtype=np.int64)
    is_returned = np.zeros(count, dtype=bool)
    for group in event_groups:
        if group.code is EventCode.DELIVERY_ATTEMPTED:
            failed_attempts += np.bincount(group.rows, minlength=count)
        elif group.code is EventCode.RETURN_STARTED:
            is_returned[group.rows] = True
    names = np.array([*NAMES, None], dtype=object)
    end_codes = [stage.end_code.value if stage.swallowed else None for stage in STAGES]
    codes = np.array([*end_codes, None], dtype=object)[journeys.swallowed_in]
    return {
        "swallowed_in": names[journeys.swallowed_in],
        "is_misrouted": journeys.strayed,
        "is_lost": codes == EventCode.LOST.value,
        "is_cancelled": codes == EventCode.CANCELLED.value,
        "is_returned": is_returned,
        "failed_attempts": failed_attempts,
    }
