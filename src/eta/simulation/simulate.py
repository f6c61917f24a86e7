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
    wrong_number = _wrong_numbers(shipments, scenario, random)
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
    result = np.empty(len(parcels), dtype=np.int64)
    for city in range(len(CITIES)):
        rows = np.flatnonzero(parcels.destination == city)
        in_country = np.flatnonzero(_COUNTRY[city] == _COUNTRY)
        others = [other for other in in_country if other != city]
        result[rows] = random.choice(others, len(rows))
    stray_cities = result
    return _Journeys(entered, swallowed_in, stray_cities)


def _wrong_numbers(shipments: int, scenario: Scenario, random: np.random.Generator) -> np.ndarray:
    """``silent``, ``foreign`` or None, (N,)."""
    number = random.random(shipments)
    kind = np.full(shipments, None, dtype=object)
    kind[number < scenario.silent_number + scenario.foreign_number] = "foreign"
    kind[number < scenario.silent_number] = "silent"
    return kind


def _on_the_way(parcels: Parcels, journeys: _Journeys, seed: int) -> list[EventGroup]:
    """The starts of stages, and the ends that are reported of swallowed parcels."""
    event_groups = []
    for number, stage in enumerate(STAGES):
        place = _places(parcels, journeys, number)
        # The starts of a stage; the carrier codes those of redirected parcels in another way.
        stage_starts_stage = STAGES[number]
        rows = np.flatnonzero(~np.isnan(journeys.entered[:, number]))
        is_redirected = journeys.strayed[rows] & (number == LINEHAUL)
        stage_starts_event_groups = []
        for raw, selected in (
            (stage_starts_stage.raw, rows[~is_redirected]),
            (REDIRECTED, rows[is_redirected]),
        ):
            at = journeys.entered[selected, number]
            stage_starts_event_groups.append(
                EventGroup(number, stage_starts_stage.code, raw, selected, at, place[selected])
            )
        stage_starts = stage_starts_event_groups
        event_groups += stage_starts
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
    city = _cities(parcels, journeys, number)
    return city * len(HUBS) + HUBS.index(_hub(number))


def _cities(parcels: Parcels, journeys: _Journeys, number: int) -> Ints:
    """The city where a stage starts, (N,)."""
    if number in (STRAYED, LINEHAUL):
        # A truck leaves from the hub where the parcel was sorted last.
        crosses = ~np.isnan(journeys.entered[:, NAMES.index("partner")])
        city = np.where(crosses, parcels.gateway_in, parcels.origin)
        return np.where(journeys.strayed & (number == LINEHAUL), journeys.stray_city, city)
    gateway_out = parcels.hub[:, NAMES.index("export")]
    return {
        Where.ORIGIN: parcels.origin,
        Where.GATEWAY_OUT: gateway_out // len(HUBS),
        Where.GATEWAY_IN: parcels.gateway_in,
        Where.DESTINATION: parcels.destination,
        Where.ASTRAY: journeys.stray_city,
    }[STAGES[number].where]


def _hub(number: int) -> str:
    """The hub of the city where a stage starts."""
    stage = STAGES[number]
    if stage.hub:
        return stage.hub
    default = "outbound" if number >= STRAYED else "gateway"
    return _HUB_OF_STAGE.get(stage.name, default)


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
        to_counter, failed = self._first_outcomes(rows)
        delivered = ~to_counter & ~failed
        first_attempts = [
            self._group(ARRIVAL, EventCode.DELIVERED, "DLV", rows[delivered], at[delivered]),
            self._group(
                ARRIVAL, EventCode.AVAILABLE_FOR_PICKUP, "CNT", rows[to_counter], at[to_counter]
            ),
            self._group(ARRIVAL, EventCode.DELIVERY_ATTEMPTED, "ATT", rows[failed], at[failed]),
        ]
        attempts, waiting, failed_at = self._further_attempts(rows[failed], at[failed])
        pickups, uncollected, available_at = self._pickups(rows[to_counter], at[to_counter])
        back = np.concatenate([waiting, uncollected])
        return_started = np.concatenate([failed_at + 24.0, available_at + _DAYS_ON_COUNTER * 24.0])
        returns = self._returns(back, return_started)
        return [*first_attempts, *attempts, pickups, *returns]

    def _first_outcomes(self, rows: Ints) -> tuple[Bools, Bools]:
        """Which of the first attempts end at a counter, and which fail, (R,) each."""
        is_locker = self.frame["service_level"].eq("locker")
        counter_share = _COUNTER[self.parcels.last_carrier]
        counter = np.where(is_locker, _LOCKER_SHARE, counter_share)[rows]
        uniform = self.random.random(len(rows))
        fails = self.random.random(len(rows)) < self.scenario.failed_attempt
        return uniform < counter, (uniform >= counter) & fails

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
            event_groups.append(
                self._later(EventCode.OUT_FOR_DELIVERY, f"OFD{attempt}", waiting, loaded)
            )
            event_groups.append(
                self._later(EventCode.DELIVERED, f"DLV{attempt}", delivered, delivered_at)
            )
            waiting, failed_at = waiting[fails], attempted[fails]
            event_groups.append(
                self._later(EventCode.DELIVERY_ATTEMPTED, f"ATT{attempt}", waiting, failed_at)
            )
        return event_groups, waiting, failed_at

    def _pickups(self, rows: Ints, available_at: Floats) -> tuple[EventGroup, Ints, Floats]:
        """Pickups at counters; the parcels that nobody collects, and since when they are there."""
        uncollected = self.random.random(len(rows)) < _LEFT_ON_COUNTER
        collected_at = available_at + _ON_COUNTER * _spread(self.random, len(rows))
        pickups = self._later(
            EventCode.PICKED_UP_BY_RECIPIENT,
            "FET",
            rows[~uncollected],
            collected_at[~uncollected],
        )
        return pickups, rows[uncollected], available_at[uncollected]

    def _returns(self, rows: Ints, started: Floats) -> list[EventGroup]:
        """The ways back to the sender."""
        returned = started + _WAY_BACK * _spread(self.random, len(rows))
        return [
            self._later(EventCode.RETURN_STARTED, "RTS", rows, started),
            self._later(EventCode.RETURN_DELIVERED, "RTD", rows, returned),
        ]

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
    entered = {
        f"entered_{name}_at": instants(journeys.entered[:, number], scenario)
        for number, name in enumerate(NAMES)
    }
    place = {
        f"place_{name}": _place_names(parcels, journeys, number)
        for number, name in enumerate(NAMES)
        if number >= NAMES.index("outbound")
    }
    return pd.DataFrame(
        {
            "shipment_id": frame["shipment_id"],
            **entered,
            "first_attempt_at": instants(journeys.entered[:, ARRIVAL], scenario),
            **place,
            **_ends(journeys),
            **_outcomes(event_groups, len(frame)),
            "wrong_number": wrong_number,
        }
    )


def _place_names(parcels: Parcels, journeys: _Journeys, number: int) -> pd.Categorical:
    """The name of the place where a stage starts, (N,), None if it was not entered."""
    names = np.array([*PLACES, None], dtype=object)
    is_entered = ~np.isnan(journeys.entered[:, number])
    position = np.where(is_entered, _places(parcels, journeys, number), -1)
    return pd.Categorical(names[position], categories=PLACES)


def _ends(journeys: _Journeys) -> dict[str, np.ndarray]:
    """The columns on stages that lose, cancel or misroute parcels."""
    names = np.array([*NAMES, None], dtype=object)
    end_codes = [stage.end_code.value if stage.swallowed else None for stage in STAGES]
    codes = np.array([*end_codes, None], dtype=object)[journeys.swallowed_in]
    return {
        "swallowed_in": names[journeys.swallowed_in],
        "is_misrouted": journeys.strayed,
        "is_lost": codes == EventCode.LOST.value,
        "is_cancelled": codes == EventCode.CANCELLED.value,
    }


def _outcomes(event_groups: list[EventGroup], count: int) -> dict[str, np.ndarray]:
    """The columns on failed attempts and returns."""
    failed_attempts = np.zeros(count, dtype=np.int64)
    is_returned = np.zeros(count, dtype=bool)
    for group in event_groups:
        if group.code is EventCode.DELIVERY_ATTEMPTED:
            failed_attempts += np.bincount(group.rows, minlength=count)
        elif group.code is EventCode.RETURN_STARTED:
            is_returned[group.rows] = True
    return {"is_returned": is_returned, "failed_attempts": failed_attempts}
