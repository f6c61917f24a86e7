"""A seeded world of parcels: what a shop sees of it, and the truth."""

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

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

_ATTEMPTS = 3
#: Hours: from a failed attempt to the next loading, on the counter, and on the way back.
_BACK_AT_DEPOT, _ON_COUNTER, _WAY_BACK = 6.0, 20.0, 110.0
_LEFT_ON_COUNTER, _DAYS_ON_COUNTER = 0.04, 7
_AFTER_ARRIVAL = ARRIVAL + 1
_COUNTER = np.array([carrier.counter for carrier in CARRIERS])
_LOCKER_SHARE = 0.9
_COUNTRY = np.array([city.country for city in CITIES])


@dataclass(frozen=True, eq=False)
class Simulated:
    """What was simulated: ``shipments`` and ``events`` as any source gives them, and the truth behind them."""

    shipments: pd.DataFrame
    events: pd.DataFrame
    truth: Truth


@dataclass(frozen=True, eq=False)
class _Journeys:
    """What became of N parcels: entry times (N, stages + 1), NaN where a stage was not entered."""

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
    """Simulates ``shipments`` parcels; the same scenario, number and seed (the scenario's by default) give the same bytes."""
    seed = scenario.seed if seed is None else seed
    random = np.random.default_rng([seed, 0])
    progress("drawing orders", 0, 4)
    frame = draw_orders(scenario, shipments, random)
    parcels = Parcels.build(frame, scenario)
    frame["promised_on"] = promise(frame, parcels)
    progress("moving parcels", 1, 4)
    clocks, days = Clocks.build(scenario.first_day, scenario.days), Days.draw(scenario, seed)
    journeys = _move(
        parcels, clocks, days, hours_since(frame["ordered_at"], scenario), seed, random
    )
    event_groups = [
        *_on_the_way(parcels, journeys, seed),
        *_after_arrival(frame, parcels, clocks, journeys, scenario, random),
    ]
    progress("telling scans", 2, 4)
    wrong_number = _wrong_numbers(shipments, scenario, random)
    events = emit_events(
        event_groups,
        parcels,
        frame["shipment_id"].to_numpy(dtype=object),
        wrong_number,
        scenario,
        seed,
    )
    progress("writing down the truth", 3, 4)
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
    entered, swallowed_in = (
        np.full((len(parcels), len(STAGES) + 1), np.nan),
        np.full(len(parcels), -1),
    )
    for step in travel(parcels, clocks, days, SeededDraws(seed), Start.at_order(ordered)):
        taken = step.taken[:, 0]
        entered[step.rows[taken], step.stage] = step.entered[taken, 0]
        swallowed_in[step.rows[step.swallowed[:, 0]]] = step.stage
    return _Journeys(entered, swallowed_in, _stray_cities(parcels, random))


def _stray_cities(parcels: Parcels, random: np.random.Generator) -> Ints:
    """A city (N,) of the destination's country that is not the destination."""
    result = np.empty(len(parcels), dtype=np.int64)
    for city in range(len(CITIES)):
        rows = np.flatnonzero(parcels.destination == city)
        result[rows] = random.choice(
            [other for other in np.flatnonzero(_COUNTRY[city] == _COUNTRY) if other != city],
            len(rows),
        )
    return result


def _wrong_numbers(shipments: int, scenario: Scenario, random: np.random.Generator) -> np.ndarray:
    """``silent``, ``foreign`` or None, (N,)."""
    number = random.random(shipments)
    kind = np.full(shipments, None, dtype=object)
    kind[number < scenario.silent_number + scenario.foreign_number] = "foreign"
    kind[number < scenario.silent_number] = "silent"
    return kind


def _on_the_way(parcels: Parcels, journeys: _Journeys, seed: int) -> list[EventGroup]:
    """The stages, and what was told of parcels that were swallowed."""
    event_groups = []
    for number, stage in enumerate(STAGES):
        rows = np.flatnonzero(~np.isnan(journeys.entered[:, number]))
        place = _places(parcels, journeys, number)
        is_redirected = journeys.strayed[rows] & (number == LINEHAUL)
        for raw, some in ((stage.raw, rows[~is_redirected]), (REDIRECTED, rows[is_redirected])):
            event_groups.append(
                EventGroup(
                    number, stage.code, raw, some, journeys.entered[some, number], place[some]
                )
            )
        if stage.swallowed:
            rows = np.flatnonzero(journeys.swallowed_in == number)
            draws = SeededDraws(seed)
            rows = (
                rows[draws.uniform(number, END_REPORTED, rows)[:, 0] < stage.end_reported]
                if len(rows)
                else rows
            )
            delay = (
                end_delay(stage, draws.uniform(number, END_DELAY, rows)[:, 0])
                if len(rows)
                else np.empty(0)
            )
            event_groups.append(
                EventGroup(
                    0,
                    stage.end_code,
                    f"END-{stage.end_code.value}",
                    rows,
                    journeys.entered[rows, number] + delay,
                    place[rows],
                )
            )
    return event_groups


def _places(parcels: Parcels, journeys: _Journeys, number: int) -> Ints:
    """Where the stage starts, (N,), as positions in ``PLACES``; -1 at the shop."""
    stage = STAGES[number]
    gateway_out = parcels.hub[:, NAMES.index("export")]
    city = {
        Where.ORIGIN: parcels.origin,
        Where.GATEWAY_OUT: gateway_out // len(HUBS),
        Where.GATEWAY_IN: parcels.gateway_in,
        Where.DESTINATION: parcels.destination,
        Where.ASTRAY: journeys.stray_city,
    }[stage.where]
    if number < NAMES.index("outbound"):
        return np.full(len(parcels), -1)
    if number in (STRAYED, LINEHAUL):
        # A truck leaves from where the parcel was sorted last.
        crosses = ~np.isnan(journeys.entered[:, NAMES.index("partner")])
        city = np.where(crosses, parcels.gateway_in, parcels.origin)
        city = np.where(journeys.strayed & (number == LINEHAUL), journeys.stray_city, city)
    hub = stage.hub or {"to_border": "outbound", "to_depot": "inbound", "tour": "depot"}.get(
        stage.name, "outbound" if number >= STRAYED else "gateway"
    )
    return city * len(HUBS) + HUBS.index(hub)


def _after_arrival(
    frame: pd.DataFrame,
    parcels: Parcels,
    clocks: Clocks,
    journeys: _Journeys,
    scenario: Scenario,
    random: np.random.Generator,
) -> list[EventGroup]:
    """First attempts by their outcome, and what became of parcels that were not delivered by them."""
    rows = np.flatnonzero(~np.isnan(journeys.entered[:, ARRIVAL]))
    at = journeys.entered[rows, ARRIVAL]
    door = parcels.destination * len(HUBS) + HUBS.index("depot")
    counter = np.where(
        frame["service_level"].eq("locker"), _LOCKER_SHARE, _COUNTER[parcels.last_carrier]
    )[rows]
    uniform = random.random(len(rows))
    to_counter, failed = (
        uniform < counter,
        (uniform >= counter) & (random.random(len(rows)) < scenario.failed_attempt),
    )

    def group(stage: int, code: EventCode, raw: str, some: Ints, times: Floats) -> EventGroup:
        return EventGroup(stage, code, raw, some, times, door[some])

    result = [
        group(
            ARRIVAL,
            EventCode.DELIVERED,
            "DLV",
            rows[~to_counter & ~failed],
            at[~to_counter & ~failed],
        ),
        group(ARRIVAL, EventCode.AVAILABLE_FOR_PICKUP, "CNT", rows[to_counter], at[to_counter]),
        group(ARRIVAL, EventCode.DELIVERY_ATTEMPTED, "ATT", rows[failed], at[failed]),
    ]
    waiting, since = rows[failed], at[failed]
    for attempt in range(2, _ATTEMPTS + 1):
        loaded = _runs(parcels, clocks, waiting, since + _BACK_AT_DEPOT, "loading", 1.5, random)
        since = _runs(parcels, clocks, waiting, loaded, "tour", 4.0, random)
        again = random.random(len(waiting)) < scenario.failed_attempt
        result += [
            group(_AFTER_ARRIVAL, EventCode.OUT_FOR_DELIVERY, f"OFD{attempt}", waiting, loaded),
            group(
                _AFTER_ARRIVAL, EventCode.DELIVERED, f"DLV{attempt}", waiting[~again], since[~again]
            ),
            group(
                _AFTER_ARRIVAL,
                EventCode.DELIVERY_ATTEMPTED,
                f"ATT{attempt}",
                waiting[again],
                since[again],
            ),
        ]
        waiting, since = waiting[again], since[again]
    on_counter, left = rows[to_counter], random.random(int(to_counter.sum())) < _LEFT_ON_COUNTER
    fetched = at[to_counter] + _ON_COUNTER * _spread(random, len(on_counter))
    result.append(
        group(
            _AFTER_ARRIVAL,
            EventCode.PICKED_UP_BY_RECIPIENT,
            "FET",
            on_counter[~left],
            fetched[~left],
        )
    )
    back = np.concatenate([waiting, on_counter[left]])
    return_started = np.concatenate([since + 24.0, at[to_counter][left] + _DAYS_ON_COUNTER * 24.0])
    returned = return_started + _WAY_BACK * _spread(random, len(back))
    return [
        *result,
        group(_AFTER_ARRIVAL, EventCode.RETURN_STARTED, "RTS", back, return_started),
        group(_AFTER_ARRIVAL, EventCode.RETURN_DELIVERED, "RTD", back, returned),
    ]


def _runs(
    parcels: Parcels,
    clocks: Clocks,
    rows: Ints,
    begun: Floats,
    kind: str,
    median: float,
    random: np.random.Generator,
) -> Floats:
    """When a clock of the destinations has run for a while, (R,)."""
    clock = parcels.destination[rows] * len(KINDS) + KINDS.index(kind)
    return clocks.after(clock, begun[:, None], (median * _spread(random, len(rows)))[:, None])[:, 0]


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
    """The truth, one row a shipment: when and where each stage was entered, and what went wrong."""
    names = np.array([*PLACES, None], dtype=object)
    entered = {
        f"entered_{name}_at": instants(journeys.entered[:, number], scenario)
        for number, name in enumerate(NAMES)
    }
    place = {
        f"place_{name}": pd.Categorical(
            names[
                np.where(
                    np.isnan(journeys.entered[:, number]), -1, _places(parcels, journeys, number)
                )
            ],
            categories=PLACES,
        )
        for number, name in enumerate(NAMES)
        if number >= NAMES.index("outbound")
    }
    codes = np.array(
        [stage.end_code.value if stage.swallowed else None for stage in STAGES] + [None],
        dtype=object,
    )
    failed = sum(
        np.bincount(group.rows, minlength=len(frame))
        for group in event_groups
        if group.code is EventCode.DELIVERY_ATTEMPTED
    )
    is_returned = np.isin(
        np.arange(len(frame)),
        np.concatenate(
            [group.rows for group in event_groups if group.code is EventCode.RETURN_STARTED]
        ),
    )
    return pd.DataFrame(
        {
            "shipment_id": frame["shipment_id"],
            **entered,
            "first_attempt_at": instants(journeys.entered[:, ARRIVAL], scenario),
            **place,
            "swallowed_in": np.array([*NAMES, None], dtype=object)[journeys.swallowed_in],
            "is_misrouted": journeys.strayed,
            "is_lost": codes[journeys.swallowed_in] == EventCode.LOST.value,
            "is_cancelled": codes[journeys.swallowed_in] == EventCode.CANCELLED.value,
            "is_returned": is_returned,
            "failed_attempts": failed,
            "wrong_number": wrong_number,
        }
    )
