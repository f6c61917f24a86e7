"""What carriers tell of a journey: scans that are missing, late, told twice, wrongly timed, or another parcel's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eta.domain.vocabulary import EventCode
from eta.journey.timelines import EVENT_CODES, EVENT_COLUMNS
from eta.simulation.network import CARRIERS
from eta.simulation.scenario import Scenario, instants
from eta.simulation.stages import ARRIVAL, FIRST_OF_CARRIER, NAMES, PLACES, Floats, Ints, Parcels
from eta.simulation.travel import Bools

#: Hours until a scan is told, at once or with the night's batch: median and spread of log-logistic
#: laws.
IMMEDIATE_LAG, BATCH_LAG = (0.2, 0.4), (14.0, 0.25)

#: By how many hours a wrong clock is off.
_CLOCK_ERRORS = np.array([-6.0, -2.0, -1.0, 1.0, 2.0, 5.0])

#: Hours until a scan is told a second time, at least.
_MIN_REPEAT_HOURS = 2.0
_MISSING = np.array([carrier.missing for carrier in CARRIERS])
_SLOW = np.array([carrier.slow for carrier in CARRIERS])
_TAKES_OVER = NAMES.index("partner")


@dataclass(frozen=True, eq=False)
class EventGroup:
    """One kind of thing that happened to parcels ``rows`` (R,) at instants ``at`` (R,), as the carrier codes it.

    ``stage`` is the stage that starts, the arrival, or later than the arrival; 0 is also for word
    that reaches the shop at once and never goes missing.
    """

    stage: int
    code: EventCode
    raw: str
    rows: Ints
    at: Floats
    #: Positions in ``stages.PLACES`` (R,), or -1.
    place: Ints


def missing_share(parcels: Parcels, stage: int, scenario: Scenario) -> Floats:
    """P(the scan is never told), (N,)."""
    if stage < FIRST_OF_CARRIER:
        return np.zeros(len(parcels))
    return (
        _MISSING[_scanning_carrier(parcels, stage)]
        if stage < ARRIVAL
        else np.full(len(parcels), scenario.arrival_missing)
    )


def slow_share(parcels: Parcels, stage: int) -> Floats:
    """P(the scan is told with the night's batch), (N,)."""
    return (
        np.zeros(len(parcels))
        if stage < FIRST_OF_CARRIER
        else _SLOW[_scanning_carrier(parcels, stage)]
    )


def lag_hours(is_slow: Bools, uniform: Floats) -> Floats:
    """Hours from a carrier's scan to its telling."""
    odds = uniform / (1.0 - uniform)
    return np.where(
        is_slow, BATCH_LAG[0] * odds ** BATCH_LAG[1], IMMEDIATE_LAG[0] * odds ** IMMEDIATE_LAG[1]
    )


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
        event_groups: all that happened, by kind.
        parcels: of all shipments (N,).
        shipment_id: their ids (N,).
        wrong_number: ``silent``, ``foreign`` or None (N,).
        scenario: how often what goes wrong.
        seed: of the random numbers.
    """
    random = np.random.default_rng([seed, 2])
    scans = pd.concat(
        [
            _emit(number, group, parcels, scenario, random)
            for number, group in enumerate(event_groups)
        ],
        ignore_index=True,
    )
    scans = _with_wrong_numbers(scans, wrong_number, random)
    repeated = scans[random.random(len(scans)) < scenario.duplicate_scan]
    later = _MIN_REPEAT_HOURS + lag_hours(
        random.random(len(repeated)) < 0.5, _open(random.random(len(repeated)))
    )
    scans = pd.concat(
        [scans, repeated.assign(received=repeated["received"] + later)], ignore_index=True
    )
    scans = scans.sort_values(["received", "row", "stage"], kind="stable").reset_index(drop=True)
    codes, raws = (
        np.array([str(code) for code in EVENT_CODES], dtype=object),
        np.array([group.raw for group in event_groups], dtype=object),
    )
    columns = {
        "shipment_id": shipment_id[scans["row"]],
        "event_code": codes[scans["code"]],
        "occurred_at": instants(scans["occurred"].to_numpy(), scenario),
        "received_at": instants(scans["received"].to_numpy(), scenario),
        "is_received_at_assumed": False,
        "raw_code": raws[scans["group"]],
        "place": np.array([*PLACES, None], dtype=object)[scans["place"]],
    }
    return pd.DataFrame({name: columns[name] for name in EVENT_COLUMNS})


def _emit(
    number: int,
    group: EventGroup,
    parcels: Parcels,
    scenario: Scenario,
    random: np.random.Generator,
) -> pd.DataFrame:
    """The scans of one kind that are told at all, before anything else goes wrong; times to the second."""
    of_shop = group.stage < FIRST_OF_CARRIER
    share, slow = (
        missing_share(parcels, group.stage, scenario)[group.rows],
        slow_share(parcels, group.stage)[group.rows],
    )
    is_emitted = random.random(len(group.rows)) >= share
    occurred = np.floor(group.at * 3600.0 + 1e-3) / 3600.0
    lag = (
        np.zeros(len(is_emitted))
        if of_shop
        else lag_hours(random.random(len(is_emitted)) < slow, _open(random.random(len(is_emitted))))
    )
    received = np.ceil((occurred + lag) * 3600.0 - 1e-3) / 3600.0
    is_off = (random.random(len(is_emitted)) < scenario.wrong_clock) & (not of_shop)
    error = np.where(is_off, random.choice(_CLOCK_ERRORS, len(is_emitted)), 0.0)
    columns = {
        "row": group.rows,
        "occurred": occurred + error,
        "received": received,
        "place": group.place,
    }
    return pd.DataFrame({name: values[is_emitted] for name, values in columns.items()}).assign(
        stage=group.stage, code=EVENT_CODES.index(group.code), group=number
    )


def _with_wrong_numbers(
    scans: pd.DataFrame, wrong_number: np.ndarray, random: np.random.Generator
) -> pd.DataFrame:
    """Takes the carrier's scans of wrong numbers away; a foreign number shows those of a parcel bought a little later."""
    is_wrong = pd.notna(wrong_number)
    of_carrier = scans["stage"] >= FIRST_OF_CARRIER
    remaining = scans[~(of_carrier & is_wrong[scans["row"]])]
    foreign = np.flatnonzero(wrong_number == "foreign")
    donor = (foreign + random.integers(1, 50, len(foreign))) % len(wrong_number)
    pairs = pd.DataFrame({"row": donor, "owner": foreign})
    borrowed = (
        scans[of_carrier & scans["row"].isin(donor)]
        .merge(pairs, on="row", how="inner")
        .assign(row=lambda frame: frame["owner"])
        .drop(columns="owner")
    )
    return pd.concat([remaining, borrowed], ignore_index=True)


def _open(uniform: Floats) -> Floats:
    return np.clip(uniform, 1e-9, 1.0 - 1e-9)
