"""The events that a shop receives: missing, late, repeated, mistimed or of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eta.domain.vocabulary import EventCode
from eta.journey.timeline_builders import CORRECTION, EVENT_COLUMNS
from eta.journey.timelines import EVENT_CODES
from eta.simulation.network import CARRIERS
from eta.simulation.scenario import Scenario, instants
from eta.simulation.stages import ARRIVAL, FIRST_OF_CARRIER, NAMES, PLACES, Floats, Ints, Parcels
from eta.simulation.travel import Bools

#: Hours until an event is received, immediate or with the night's batch: median and spread of
#: log-logistic distributions.
IMMEDIATE_LAG, BATCH_LAG = (0.2, 0.4), (14.0, 0.25)

#: By how many hours a wrong clock is off.
_CLOCK_ERRORS = np.array([-6.0, -2.0, -1.0, 1.0, 2.0, 5.0])

#: The fewest hours until an event is received a second time.
_MIN_REPEAT_HOURS = 2.0
_MISSING = np.array([carrier.missing for carrier in CARRIERS])
_SLOW = np.array([carrier.slow for carrier in CARRIERS])
_TAKES_OVER = NAMES.index("partner")


@dataclass(frozen=True, eq=False)
class EventGroup:
    """One kind of event of parcels ``rows`` (R,) at instants ``at`` (R,), as the carrier codes it.

    ``stage`` is the stage that starts, the arrival, or later than the arrival. 0 is also for events
    that the shop receives at once and that never go missing.
    """

    stage: int
    code: EventCode
    raw: str
    rows: Ints
    at: Floats
    #: Positions in ``stages.PLACES`` (R,), or -1.
    place: Ints


def missing_share(parcels: Parcels, stage: int, scenario: Scenario) -> Floats:
    """P(the event is never received), (N,)."""
    if stage < FIRST_OF_CARRIER:
        return np.zeros(len(parcels))
    if stage < ARRIVAL:
        return _MISSING[_scanning_carrier(parcels, stage)]
    return np.full(len(parcels), scenario.arrival_missing)


def slow_share(parcels: Parcels, stage: int) -> Floats:
    """P(the event is received with the night's batch), (N,)."""
    if stage < FIRST_OF_CARRIER:
        return np.zeros(len(parcels))
    return _SLOW[_scanning_carrier(parcels, stage)]


def lag_hours(is_slow: Bools, uniform: Floats) -> Floats:
    """Hours from a carrier's event to its receipt."""
    odds = uniform / (1.0 - uniform)
    batch = BATCH_LAG[0] * odds ** BATCH_LAG[1]
    immediate = IMMEDIATE_LAG[0] * odds ** IMMEDIATE_LAG[1]
    return np.where(is_slow, batch, immediate)


def _scanning_carrier(parcels: Parcels, stage: int) -> Ints:
    return parcels.carrier if stage < _TAKES_OVER else parcels.last_carrier


def emit_events(
    event_groups: Sequence[EventGroup],
    parcels: Parcels,
    shipment_id: np.ndarray,
    wrong_number: np.ndarray,
    scenario: Scenario,
    seed: int,
) -> pd.DataFrame:
    """Events in ``EVENT_COLUMNS``, sorted by ``received_at``.

    Args:
        event_groups: all events, by kind.
        parcels: of all shipments (N,).
        shipment_id: their ids (N,).
        wrong_number: ``silent``, ``foreign`` or None (N,).
        scenario: the shares of what goes wrong.
        seed: of the random numbers.
    """
    random = np.random.default_rng([seed, 2])
    parts = []
    for number, group in enumerate(event_groups):
        parts.append(_received(number, group, parcels, scenario, random))
    events = pd.concat(parts, ignore_index=True)
    events = _with_wrong_numbers(events, wrong_number, random)
    events = _with_repeats(events, scenario, random)
    events = events.sort_values(["received", "row", "stage"], kind="stable")
    events = events.reset_index(drop=True)
    raw_codes = np.array([group.raw for group in event_groups], dtype=object)
    # The events in ``EVENT_COLUMNS``, with texts for numbers.
    codes = np.array([str(code) for code in EVENT_CODES], dtype=object)
    places = np.array([*PLACES, None], dtype=object)
    occurred_at = instants(events["occurred"].to_numpy(), scenario)
    received_at = instants(events["received"].to_numpy(), scenario)
    columns = {
        "shipment_id": shipment_id[events["row"]],
        "event_code": codes[events["code"]],
        "occurred_at": occurred_at,
        "received_at": received_at,
        "is_received_at_assumed": False,
        "raw_code": raw_codes[events["group"]],
        "place": places[events["place"]],
    }
    return pd.DataFrame({name: columns[name] for name in EVENT_COLUMNS if name != CORRECTION})


def _received(
    number: int,
    group: EventGroup,
    parcels: Parcels,
    scenario: Scenario,
    random: np.random.Generator,
) -> pd.DataFrame:
    """The events of a group that are received, before anything else goes wrong.

    Times are hours since the scenario's start, rounded to the second.
    """
    count = len(group.rows)
    is_shop = group.stage < FIRST_OF_CARRIER
    missing = missing_share(parcels, group.stage, scenario)[group.rows]
    is_emitted = random.random(count) >= missing
    occurred = np.floor(group.at * 3600.0 + 1e-3) / 3600.0
    lag = np.zeros(count)
    if not is_shop:
        slow = slow_share(parcels, group.stage)[group.rows]
        is_slow = random.random(count) < slow
        lag = lag_hours(is_slow, _open(random.random(count)))
    received_seconds = np.ceil((occurred + lag) * 3600.0 - 1e-3)
    has_wrong_clock = random.random(count) < scenario.wrong_clock
    is_off = has_wrong_clock & (not is_shop)
    clock_error = np.where(is_off, random.choice(_CLOCK_ERRORS, count), 0.0)
    columns = {
        "row": group.rows,
        "occurred": occurred + clock_error,
        "received": received_seconds / 3600.0,
        "place": group.place,
    }
    events = pd.DataFrame(columns)[is_emitted].reset_index(drop=True)
    code = EVENT_CODES.index(group.code)
    return events.assign(stage=group.stage, code=code, group=number)


def _with_repeats(
    events: pd.DataFrame, scenario: Scenario, random: np.random.Generator
) -> pd.DataFrame:
    """The events, and those that are received a second time."""
    is_repeated = random.random(len(events)) < scenario.duplicate_scan
    repeated = events[is_repeated]
    is_slow = random.random(len(repeated)) < 0.5
    lag = lag_hours(is_slow, _open(random.random(len(repeated))))
    later = _MIN_REPEAT_HOURS + lag
    repeats = repeated.assign(received=repeated["received"] + later)
    return pd.concat([events, repeats], ignore_index=True)


def _with_wrong_numbers(
    events: pd.DataFrame, wrong_number: np.ndarray, random: np.random.Generator
) -> pd.DataFrame:
    """The events without the carrier's events of parcels with a wrong number.

    A foreign number has the events of a parcel that was ordered a little later.
    """
    is_wrong = pd.notna(wrong_number)
    is_carrier = events["stage"] >= FIRST_OF_CARRIER
    is_hidden = is_carrier & is_wrong[events["row"]]
    remaining = events[~is_hidden]
    foreign = np.flatnonzero(wrong_number == "foreign")
    distance = random.integers(1, 50, len(foreign))
    donor = (foreign + distance) % len(wrong_number)
    pairs = pd.DataFrame({"row": donor, "owner": foreign})
    donated = events[is_carrier & events["row"].isin(donor)]
    borrowed = donated.merge(pairs, on="row", how="inner")
    borrowed = borrowed.assign(row=borrowed["owner"]).drop(columns="owner")
    return pd.concat([remaining, borrowed], ignore_index=True)


def _open(uniform: Floats) -> Floats:
    return np.clip(uniform, 1e-9, 1.0 - 1e-9)
