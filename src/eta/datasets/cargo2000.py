"""Reader of the Cargo 2000 air-freight log (``c2k_data_comma.csv``).

One row is a transport chain: up to three inbound legs bring consignments to a hub, one outbound leg
takes them on together. A leg is checked in (``rcs``), flies one to three times (``dep``, ``rcf``)
and is delivered (``dlv``); each of these steps has a planned and an effective duration in minutes,
counted from the step before it.

**All times are synthetic**: the log has durations and no dates. The outbound leg is the shipment,
booked when the last inbound leg has ended. ``ROWS_A_DAY`` rows of the file are booked on each day
from ``EPOCH`` on, so that the order of the file is the order of days; within its day a booking is
at the minute that puts the planned end of the outbound leg at 23:59 UTC. So "after the promised
day" is "longer than planned" to the minute. Milestones of inbound legs are ``info``: they happened
before the booking, are received with it, and their deliveries are not the shipment's arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.datasets.base import Dataset, Quarantine
from eta.datasets.csv_files import read_csv
from eta.domain.vocabulary import EventCode

ZONE = "UTC"
FILE = "c2k_data_comma.csv"

#: The first day of the synthetic times, a Monday, and how many bookings each day has: 3,942 rows
#: make 165 days.
EPOCH, ROWS_A_DAY = np.datetime64("2001-01-01", "D"), 24

#: A leg's code in the names of columns; the last one is the outbound leg.
LEGS = ("i1", "i2", "i3", "o")
STEPS = ("rcs", "dep_1", "rcf_1", "dep_2", "rcf_2", "dep_3", "rcf_3", "dlv")

#: Steps that have a place: an airport's number.
PLACED = STEPS[1:-1]
MAX_HOPS = 3

#: The event of each step of the outbound leg; ``rcf`` after its last flight is the arrival at the
#: airport of delivery.
EVENT_OF_STEP: Mapping[str, EventCode] = MappingProxyType(
    {
        "rcs": EventCode.ACCEPTED,
        "dep": EventCode.LINEHAUL_DEPARTED,
        "rcf": EventCode.LINEHAUL_ARRIVED,
        "last rcf": EventCode.ARRIVED_AT_DELIVERY_DEPOT,
        "dlv": EventCode.DELIVERED,
    }
)

#: The event of every step of an inbound leg.
INBOUND_EVENT = EventCode.INFO

#: The service level of the outbound leg, by its number of flights.
SERVICE_OF_HOPS: Mapping[int, str] = MappingProxyType(
    {1: "direct", 2: "one_transfer", 3: "two_transfers"}
)

#: ISO 3166 leaves ZZ to its users: the airports are numbers without a country.
NO_COUNTRY = "ZZ"

#: The texts of a step that a leg does not have.
_ABSENT = ("", "0", "?")
_OUTBOUND = len(LEGS) - 1

#: No step takes longer than two years.
_MAX_MINUTES = 2 * 366 * 24 * 60
_MINUTE, _DAY_MINUTES = np.timedelta64(1, "m"), 24 * 60


#: The columns of a leg, without its code: planned and effective minutes, places and flights.
_COLUMNS_OF_LEG = (
    "legid",
    *(f"{step}_{kind}" for step in STEPS for kind in ("p", "e")),
    *(f"{step}_place" for step in PLACED),
    "hops",
)

#: Every column that is read.
COLUMNS = (*(f"{leg}_{column}" for leg in LEGS for column in _COLUMNS_OF_LEG), "legs")


@dataclass(frozen=True, eq=False)
class _Chains:
    """N chains of four legs; a missing leg or step holds 0.

    ``row`` (N,) is the number of the chain's row in the file. ``planned`` and ``effective`` (N, 4,
    8) are minutes, ``place`` (N, 4, 6) airports, ``leg_id`` and ``hops`` (N, 4); ``inbound`` (N,)
    is the file's own count of inbound legs.
    """

    row: NDArray[np.int64]
    leg_id: NDArray[np.int64]
    planned: NDArray[np.int64]
    effective: NDArray[np.int64]
    place: NDArray[np.int64]
    hops: NDArray[np.int64]
    inbound: NDArray[np.int64]

    @classmethod
    def from_frame(cls, numbers: pd.DataFrame) -> _Chains:
        """The chains of a frame of whole numbers with ``COLUMNS``."""

        def by_leg(ends: list[str]) -> NDArray[np.int64]:
            legs = []
            for leg in LEGS:
                columns = [f"{leg}_{end}" for end in ends]
                legs.append(numbers[columns].to_numpy(dtype=np.int64))
            return np.stack(legs, axis=1)

        row = numbers.index.to_numpy(dtype=np.int64)
        leg_id = by_leg(["legid"])[..., 0]
        planned = by_leg([f"{step}_p" for step in STEPS])
        effective = by_leg([f"{step}_e" for step in STEPS])
        place = by_leg([f"{step}_place" for step in PLACED])
        hops = by_leg(["hops"])[..., 0]
        inbound = numbers["legs"].to_numpy(dtype=np.int64)
        return cls(row, leg_id, planned, effective, place, hops, inbound)

    def has_step(self) -> NDArray[np.bool_]:
        """Which steps each leg has by its number of flights, (N, 4, 8)."""
        flight = np.array([0, 1, 1, 2, 2, 3, 3, 0])
        hops = self.hops[..., None]
        return (hops > 0) & (hops >= flight)

    def end_place(self) -> NDArray[np.int64]:
        """The airport where each leg's last flight ends, (N, 4); 0 without a leg."""
        last = np.maximum(2 * self.hops - 1, 0)
        place = np.take_along_axis(self.place, last[..., None], axis=2)[..., 0]
        return np.where(self.hops > 0, place, 0)


def read_cargo2000(source: Path, *, now: datetime) -> Dataset:  # noqa: ARG001  # a ``Reader``
    """Reads ``c2k_data_comma.csv``, named itself or by its folder. Instants are synthetic, in UTC.

    Raises:
        SourceRejected: if the file is absent, is no CSV or lacks a column.
    """
    quarantine = Quarantine()
    path = source / FILE if source.is_dir() else source
    chains = _chains(path, quarantine)
    planned = chains.planned[:, _OUTBOUND].sum(axis=1)
    days = (EPOCH + chains.row // ROWS_A_DAY).astype("datetime64[us]")
    minute_of_day = (_DAY_MINUTES - 1 - planned) % _DAY_MINUTES
    booked_at = days + minute_of_day * _MINUTE
    shipment_id = chains.leg_id[:, _OUTBOUND].astype(str).astype(object)
    events = _events(chains, shipment_id, booked_at)
    promised_on = (booked_at + planned * _MINUTE).astype("datetime64[D]")
    origin = chains.place[:, _OUTBOUND, 0]
    destination = chains.end_place()[:, _OUTBOUND]
    hops = pd.Series(chains.hops[:, _OUTBOUND])
    columns = {
        "shipment_id": shipment_id,
        "order_id": shipment_id,
        "origin_country": NO_COUNTRY,
        "origin_region": origin.astype(str),
        "destination_country": NO_COUNTRY,
        "destination_region": destination.astype(str),
        "carrier": None,
        "service_level": hops.map(SERVICE_OF_HOPS),
        "ordered_at": pd.DatetimeIndex(booked_at).tz_localize("UTC"),
        "promised_on": promised_on.astype("datetime64[s]"),
        "package_count": chains.inbound,
        "has_several_origins": chains.inbound > 1,
    }
    shipments = pd.DataFrame(columns)
    warnings = _warnings(chains, events) | quarantine.warnings
    quarantine.count_accepted(path.name, len(shipments))
    return Dataset(
        "cargo2000", ZONE, shipments, events, quarantine.frame(), warnings, quarantine.rows()
    )


def _warnings(chains: _Chains, events: pd.DataFrame) -> dict[str, int]:
    """The peculiarities of accepted chains, with their counts."""
    has_inbound = chains.hops[:, :_OUTBOUND] > 0
    inbound_end = chains.end_place()[:, :_OUTBOUND]
    outbound_start = chains.place[:, _OUTBOUND, :1]
    ends_elsewhere = has_inbound & (inbound_end != outbound_start)
    changes_airport = np.zeros(chains.hops.shape, dtype=bool)
    for hop in range(1, MAX_HOPS):
        arrives_at = chains.place[..., 2 * hop - 1]
        departs_from = chains.place[..., 2 * hop]
        changes_airport |= (chains.hops > hop) & (arrives_at != departs_from)
    peculiar = {
        "inbound_milestones_as_info": events["event_code"] == INBOUND_EVENT.value,
        "several_inbound_legs": chains.inbound > 1,
        "legs_that_change_airport_between_flights": changes_airport,
        "inbound_legs_that_end_elsewhere": ends_elsewhere,
    }
    warnings = {"synthetic_times": len(events), "received_at_assumed": len(events)}
    for name, flags in peculiar.items():
        warnings[name] = int(flags.sum())
    return warnings


def _chains(path: Path, quarantine: Quarantine) -> _Chains:
    """The valid rows; every other one is rejected for the first reason that holds."""
    texts = read_csv(path, COLUMNS, quarantine)
    texts = texts.fillna("").apply(lambda column: column.str.strip())
    # The rows of whole numbers, 0 for absent ones; the other rows are rejected.
    is_absent = texts.isin(_ABSENT)
    is_number = texts.apply(lambda column: column.str.fullmatch(r"[0-9]{1,9}"))
    is_unreadable = ~(is_absent | is_number.astype(bool))
    is_rejected = is_unreadable.any(axis=1)
    # Name the wrong columns: nobody would find them among a hundred.
    fields = []
    for index, row in texts[is_rejected].iterrows():
        wrong = row[is_unreadable.loc[index]]
        fields.append(" ".join(f"{name}={text}" for name, text in wrong.items()))
    rejected = texts.loc[is_rejected, ["o_legid"]].assign(fields=fields)
    every = np.ones(len(rejected), dtype=bool)
    quarantine.reject_rows(path.name, rejected, {"no_whole_number": every})
    texts, is_absent = texts[~is_rejected], is_absent[~is_rejected]
    numbers = texts.mask(is_absent, "0").astype(np.int64)
    valid = quarantine.reject_rows(path.name, texts, _invalid(numbers))
    is_repeated = valid["o_legid"].duplicated()
    valid = quarantine.reject_rows(path.name, valid, {"o_legid_comes_twice": is_repeated})
    return _Chains.from_frame(numbers.loc[valid.index])


def _invalid(numbers: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which rows to reject, (N,), by the reason."""
    chains = _Chains.from_frame(numbers)
    has_step, has_leg = chains.has_step(), chains.leg_id > 0
    has_hops = chains.hops > 0
    leg_matches = (has_hops == has_leg) & (chains.hops <= MAX_HOPS)
    matches_hops = leg_matches.all(axis=1)
    has_place = has_step[..., 1:-1]
    for numbers_of_steps, is_there in (
        (chains.planned, has_step),
        (chains.effective, has_step),
        (chains.place, has_place),
    ):
        step_matches = (numbers_of_steps > 0) == is_there
        matches_hops &= step_matches.all(axis=(1, 2))
    inbound = has_leg[:, :_OUTBOUND].sum(axis=1)
    longest = np.maximum(chains.planned, chains.effective).max(axis=(1, 2))
    return {
        "no_o_legid": ~has_leg[:, _OUTBOUND],
        "legs_are_not_those_counted": inbound != chains.inbound,
        "milestones_are_not_those_of_the_hops": ~matches_hops,
        "longer_than_two_years": longest > _MAX_MINUTES,
    }


def _events(
    chains: _Chains, shipment_id: NDArray[np.object_], booked_at: NDArray[np.datetime64]
) -> pd.DataFrame:
    """The booking of every chain, and its milestones."""
    columns = {
        "shipment_id": shipment_id,
        "event_code": EventCode.ORDER_CREATED.value,
        "occurred_at": booked_at,
        "received_at": booked_at,
    }
    bookings = pd.DataFrame(columns).assign(raw_code=None, place=None)
    milestones = _milestones(chains, shipment_id, booked_at)
    events = pd.concat([bookings, milestones], ignore_index=True)
    for column in ("occurred_at", "received_at"):
        events[column] = events[column].astype("datetime64[us]").dt.tz_localize("UTC")
    return events.assign(is_received_at_assumed=True)


def _milestones(
    chains: _Chains, shipment_id: NDArray[np.object_], booked_at: NDArray[np.datetime64]
) -> pd.DataFrame:
    """The steps of all legs as events."""
    elapsed = np.cumsum(chains.effective, axis=2)
    # Inbound legs start together; the longest one ends with the booking.
    longest = elapsed[:, :_OUTBOUND, -1].max(axis=1)
    elapsed[:, :_OUTBOUND] -= longest[:, None, None]
    chain, leg, step = np.nonzero(chains.has_step())
    place = np.zeros((*chains.leg_id.shape, len(STEPS)), dtype=np.int64)
    place[..., 1:-1] = chains.place
    at_place = place[chain, leg, step]
    places = pd.Series(at_place.astype(str))
    booked = booked_at[chain]
    occurred_at = booked + elapsed[chain, leg, step] * _MINUTE
    received_at = np.where(leg == _OUTBOUND, occurred_at, booked)
    event_code = _codes(chains, chain, leg, step)
    raw_codes = [[f"{name}_{step_name}" for step_name in STEPS] for name in LEGS]
    raw_code = np.array(raw_codes, dtype=object)[leg, step]
    columns = {
        "shipment_id": shipment_id[chain],
        "event_code": event_code,
        "occurred_at": occurred_at,
        "received_at": received_at,
        "raw_code": raw_code,
        "place": places.where(at_place > 0, None),
    }
    return pd.DataFrame(columns)


def _codes(
    chains: _Chains, chain: NDArray[np.int64], leg: NDArray[np.int64], step: NDArray[np.int64]
) -> NDArray[np.object_]:
    """The event code of each milestone."""
    codes_of_steps = [EVENT_OF_STEP[name.partition("_")[0]].value for name in STEPS]
    outbound = np.array(codes_of_steps, dtype=object)[step]
    is_last_flight = step == 2 * chains.hops[chain, leg]
    codes = np.where(is_last_flight, EVENT_OF_STEP["last rcf"].value, outbound)
    return np.where(leg == _OUTBOUND, codes, INBOUND_EVENT.value)
