"""Whether the ranges of the first and the last parcel hold, of orders that travel as several.

Simulates the default scenario, trains as of 1 September, and makes orders of the parcels bought in
the two months after: two or three bought within two hours for one city, with one carrier or with
several, each parcel in one order at most. Their laws are those of estimates; how they go together
is what the version learned. Prints one JSON object: how often ranges by dates hold, how long they
are, and the ranked probability score in days, beside those of parcels that share nothing, as much
as is assumed without learning, and everything. A parcel that never arrives is in no range that has
a latest day.

Dates may cover more than they say. `ok` says that none of the learned ranges covers less (exact
binomial, family-wise 95 %), in all orders and in each kind, and that over all orders the score of
both ends is within a thousandth of the best. Simulated results.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta import bootstrap
from eta.calendars.holidays import LIBRARY
from eta.calendars.local_time import DAY, Dates, day_starts, local_dates, to_instant
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.evaluation.confidence_intervals import CONFIDENCE, exact_interval
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import Dependence, all_by, any_by
from eta.journey.examples import Outcomes
from eta.journey.timelines import Timelines
from eta.local_dates import chances_of_days, curves_of_days, windows
from eta.model.bundle import ServedModel
from eta.model.registry import Registry
from eta.model.train import train_model
from eta.service.analysis.simulate_data import simulate_parcels
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import order_laws
from eta.simulation.scenario import DEFAULT

SHIPMENTS = 60_000
LEARNED, END = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
WITHIN = np.timedelta64(2, "h")
#: Parcels of an order, and whether one carrier has them all; the rarer first.
KINDS = ((3, True), (2, True), (3, False), (2, False))
NAMES = {True: "one_carrier", False: "several_carriers"}
LEVELS = (0.8, 0.9)
ENDS = {"first": any_by, "last": all_by}
#: Local days from the order that are looked at.
DAYS = 75
PLACE = ("country", "region", "postcode", "latitude", "longitude")

#: Rows of the shipments, and whether one carrier has them all.
Order = tuple[list[int], bool]
#: The local day of an order, (1,), the chances of its parcels by each day from then on, (P, DAYS),
#: and who sends them, (P,).
Known = tuple[Dates, NDArray[np.float64], NDArray[np.int64]]


def main() -> None:
    """Runs the experiment and prints its verdict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_parcels(folder, DEFAULT, shipments=SHIPMENTS, progress=say)
        imported = bootstrap.SOURCES["tabular"](folder)
        timelines = Timelines.from_frames(imported.shipments, imported.events)
        registry = Registry(folder / "models")
        version = train_model(
            timelines,
            registry,
            as_of=LEARNED,
            source="tabular",
            make=HazardModel,
            rivals={},
            policy=DelayPolicy(),
            progress=say,
        )
        served = ServedModel.unpack(registry.load(version), HazardModel, LIBRARY)
    # As the rows of the timelines are.
    shipments = imported.shipments.sort_values("shipment_id", kind="stable").reset_index(drop=True)
    orders = list(made_of(shipments))
    known = [
        order_known(shipments, timelines, served, rows, number, len(orders))
        for number, (rows, _) in enumerate(orders)
    ]
    arrived_at = Outcomes.at(timelines, timelines.received_at.max()).arrived_at
    dependences = {
        "learned": served.pieces,
        "none": Dependence(same=0.0, other=0.0),
        "assumed": Dependence(),
        "one": Dependence(same=1.0, other=1.0),
    }
    rows = list(
        summary(
            pd.concat(
                [
                    judge(name, each, orders, known, arrived_at, timelines)
                    for name, each in dependences.items()
                ]
            )
        )
    )
    ok = (
        len(orders) >= 2_000
        and all(row["holds"] for row in rows if row["dependence"] == "learned")
        and all(is_best(rows, end) for end in ENDS)
    )
    of_learned = {name: round(value, 4) for name, value in served.pieces.to_json().items()}
    sys.stdout.write(
        json.dumps(
            {
                "proof": "split_orders",
                "ok": ok,
                "simulated": True,
                "orders": len(orders),
                "learned": of_learned,
                "rows": rows,
            }
        )
        + "\n"
    )


def made_of(shipments: pd.DataFrame) -> Iterator[Order]:
    """Orders, disjoint, of parcels bought in the judged months."""
    at = (
        shipments["ordered_at"]
        .dt.tz_convert("UTC")
        .dt.tz_localize(None)
        .to_numpy()
        .astype("datetime64[us]")
    )
    carrier = shipments["carrier"].to_numpy()
    city = (shipments["destination_country"] + "-" + shipments["destination_region"]).to_numpy()
    judged = np.flatnonzero((at >= to_instant(LEARNED)) & (at < to_instant(END)))
    judged = judged[np.lexsort((at[judged], city[judged]))]
    free = np.ones(len(shipments), dtype=bool)
    for size, is_one_carrier in KINDS:
        for place, first in enumerate(judged):
            if not free[first]:
                continue
            order = [int(first)]
            for other in judged[place + 1 :]:
                if (
                    city[other] != city[first]
                    or at[other] - at[first] > WITHIN
                    or len(order) == size
                ):
                    break
                fits = (
                    carrier[other] == carrier[first]
                    if is_one_carrier
                    else carrier[other] not in carrier[order]
                )
                if free[other] and fits:
                    order.append(int(other))
            if len(order) == size:
                free[order] = False
                yield order, is_one_carrier


def order_known(
    shipments: pd.DataFrame,
    timelines: Timelines,
    served: ServedModel,
    rows: list[int],
    number: int,
    total: int,
) -> Known:
    """What is known of the parcels of an order when each is bought: their laws are those of an estimate."""
    say("asking for laws", number, total)
    zone = timelines.zone.take(np.array(rows[:1]))
    told = shipments.iloc[rows].to_dict("records")
    first_on = local_dates(
        np.array([to_instant(told[0]["ordered_at"].to_pydatetime())]), zone.codes, zone.names
    )
    chances, senders = (
        [],
        [f"{each['origin_country']}-{each['origin_region']} {each['carrier']}" for each in told],
    )
    for each in told:
        origin, destination = (
            Place(**{part: each[f"{end}_{part}"] for part in PLACE})
            for end in ("origin", "destination")
        )
        at = each["ordered_at"].to_pydatetime()
        facts = {
            name: each[name]
            for name in ("weight_kg", "length_cm", "width_cm", "height_cm", "price")
        }
        lane = Shipment(
            shipment_id="lane",
            order_id="lane",
            origin=origin,
            destination=destination,
            ordered_at=at,
            **facts,
        )
        law = order_laws(
            lane,
            [CarrierService(carrier=each["carrier"], service_level=each["service_level"])],
            None,
            served,
        ).curves
        chances.append(chances_of_days(law, np.array([to_instant(at)]), first_on, DAYS, zone)[0])
    return first_on, np.array(chances), np.array([senders.index(sender) for sender in senders])


def judge(
    name: str,
    dependence: Dependence,
    orders: list[Order],
    known: list[Known],
    arrived_at: NDArray[np.datetime64],
    timelines: Timelines,
) -> pd.DataFrame:
    """One row an order and end: whether its ranges held, how many days they are long, and the ranked probability score."""
    first_row = np.array([rows[0] for rows, _ in orders])
    zone, first_on = (
        timelines.zone.take(first_row),
        np.concatenate([first for first, _, _ in known]),
    )
    as_of = day_starts(first_on, zone.codes, zone.names)
    frames = []
    for end, made in ENDS.items():
        law = np.array(
            [
                made(chances, np.ones(len(chances), dtype=np.int64), sender, dependence)
                for _, chances, sender in known
            ]
        )
        never = np.datetime64("9999-01-01", "us")
        times = [
            np.where(np.isnat(arrived_at[rows]), never, arrived_at[rows]) for rows, _ in orders
        ]
        came = np.array([each.max() if end == "last" else each.min() for each in times])
        came_on = local_dates(
            np.where(came == never, np.datetime64("NaT"), came), zone.codes, zone.names
        )
        curves = curves_of_days(law, as_of, first_on, zone)
        frame = pd.DataFrame(
            {
                "dependence": name,
                "end": end,
                "kind": [NAMES[is_one_carrier] for _, is_one_carrier in orders],
            }
        )
        # Ranked probability score over the days (Epstein 1969).
        frame["rps_days"] = (
            (law - (first_on[:, None] + np.arange(DAYS) >= came_on[:, None])) ** 2
        ).sum(axis=1)
        for level in LEVELS:
            shown = windows(curves, as_of, zone, coverage=level)
            is_late = ~np.isnat(shown.latest_on) & (np.isnat(came_on) | (came_on > shown.latest_on))
            frame[f"late_{level * 100:.0f}"], frame[f"early_{level * 100:.0f}"] = (
                is_late,
                came_on < shown.earliest_on,
            )
            # NaN without a latest day.
            frame[f"days_{level * 100:.0f}"] = (shown.latest_on - shown.earliest_on) / DAY + 1
        frames.append(frame)
    return pd.concat(frames)


def summary(judged: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a dependence, end and kind of order; ranges hold unless they cover less than they say."""
    kinds = ["all", *NAMES.values()]
    confidence = 1.0 - (1.0 - CONFIDENCE) / (len(ENDS) * len(kinds) * len(LEVELS))
    for (dependence, end), part in judged.groupby(["dependence", "end"], sort=False):
        for kind in kinds:
            own = part if kind == "all" else part[part["kind"] == kind]
            row: dict[str, Any] = {
                "dependence": dependence,
                "end": end,
                "kind": kind,
                "n": len(own),
                "rps_days": round(float(own["rps_days"].mean()), 4),
                "holds": True,
            }
            for level in LEVELS:
                name = f"{level * 100:.0f}"
                covered = ~(own[f"late_{name}"] | own[f"early_{name}"])
                _, high = exact_interval(float(covered.sum()), len(own), confidence=confidence)
                row["holds"] &= high is not None and high >= level
                row |= {f"coverage_dates_{name}": round(float(covered.mean()), 4)}
                row |= {
                    f"{what}_{name}": round(float(own[f"{what}_{name}"].mean()), 4)
                    for what in ("early", "late")
                }
                row |= {
                    f"days_median_{name}": float(own[f"days_{name}"].median()),
                    f"endless_{name}": round(float(own[f"days_{name}"].isna().mean()), 4),
                }
            yield row


def is_best(rows: list[dict[str, Any]], end: str) -> bool:
    """What was learned scores as well as any other dependence, but for a thousandth."""
    score = {
        row["dependence"]: row["rps_days"]
        for row in rows
        if row["end"] == end and row["kind"] == "all"
    }
    return bool(score["learned"] <= 1.001 * min(score.values()))


def say(what: str, done: int, total: int) -> None:
    """Progress on standard error."""
    sys.stderr.write(f"\r{done}/{total} {what:60s}")


if __name__ == "__main__":
    main()
