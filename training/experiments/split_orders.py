"""Whether the ranges of the first and the last parcel hold, of orders that travel as several.

Simulates the default scenario, trains as of 1 September, and makes orders of the parcels bought in
the two months after: two or three bought within two hours for one city, with one carrier or with
several, each parcel in one order at most. Their curves are those of estimates; how they go together
is what the version learned. Prints one JSON object: how often ranges by dates hold, how long they
are, and the ranked probability score in days, beside those of parcels that share nothing, as much
as is assumed without learning, and everything. A parcel that never arrives is in no range that has
a latest day.

Dates may cover more than they say. `ok` says that none of the learned ranges covers less (exact
binomial, family-wise 95 %), in all orders and in each kind, and that over all orders the score of
both ends is within a thousandth of the best. Simulated results.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.calendars.local_time import DAY, Dates, day_starts, local_dates, to_instant
from eta.domain.shipment import Place, Shipment
from eta.evaluation.confidence_intervals import CONFIDENCE, exact_interval
from eta.forecast.order_dependence import ArrivalCorrelation, cdf_of_first, cdf_of_last
from eta.journey.examples import Outcomes
from eta.journey.timelines import Timelines
from eta.local_dates import curves_from_daily_cdf, daily_cdf, windows
from eta.model.bundle import ModelBundle
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import order_curves

SHIPMENTS = 60_000
TRAINED_AT, END = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
WITHIN = np.timedelta64(2, "h")
#: Parcels of an order, and whether one carrier has them all; the rarer first.
KINDS = ((3, True), (2, True), (3, False), (2, False))
NAMES = {True: "one_carrier", False: "several_carriers"}
LEVELS = (0.8, 0.9)
ENDS = {"first": cdf_of_first, "last": cdf_of_last}
#: Local days from the order that are looked at.
DAYS = 75
PLACE = ("country", "region", "postcode", "latitude", "longitude")

#: Rows of the shipments, and whether one carrier has them all.
Order = tuple[list[int], bool]
#: The local day of an order, (1,), the chances of its parcels by each day from then on, (P, DAYS),
#: and who sends them, (P,).
ParcelCurves = tuple[Dates, NDArray[np.float64], NDArray[np.int64]]


def main() -> int:
    """Runs the experiment and prints its verdict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, timelines = harness.simulate(folder, SHIPMENTS)
        served = harness.train(timelines, folder / "models", TRAINED_AT)
    # As the rows of the timelines are.
    shipments = dataset.shipments.sort_values("shipment_id", kind="stable").reset_index(drop=True)
    orders = list(make_orders(shipments))
    curves_by_order = [
        parcel_curves(shipments, timelines, served, rows, number, len(orders))
        for number, (rows, _) in enumerate(orders)
    ]
    arrived_at = Outcomes.at(timelines, timelines.received_at.max()).arrived_at
    correlations = {
        "learned": served.arrival_correlation,
        "none": ArrivalCorrelation(within_sender=0.0, between_senders=0.0),
        "assumed": ArrivalCorrelation(),
        "one": ArrivalCorrelation(within_sender=1.0, between_senders=1.0),
    }
    rows = list(
        summary(
            pd.concat(
                [
                    judge(name, correlation, orders, curves_by_order, arrived_at, timelines)
                    for name, correlation in correlations.items()
                ]
            )
        )
    )
    ok = (
        len(orders) >= 2_000
        and all(row["holds"] for row in rows if row["correlation"] == "learned")
        and all(is_best(rows, end) for end in ENDS)
    )
    learned_correlation = {
        name: round(value, 4) for name, value in served.arrival_correlation.to_json().items()
    }
    return harness.print_verdict(
        "split_orders",
        ok=ok,
        simulated=True,
        orders=len(orders),
        learned=learned_correlation,
        rows=rows,
    )


def make_orders(shipments: pd.DataFrame) -> Iterator[Order]:
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
    judged = np.flatnonzero((at >= to_instant(TRAINED_AT)) & (at < to_instant(END)))
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


def parcel_curves(
    shipments: pd.DataFrame,
    timelines: Timelines,
    served: ModelBundle,
    rows: list[int],
    number: int,
    total: int,
) -> ParcelCurves:
    """The curves of an order's parcels at the purchase, as in an estimate."""
    harness.report_progress("computing curves", number, total)
    zone = timelines.zone.take(np.array(rows[:1]))
    parcels = shipments.iloc[rows].to_dict("records")
    first_on = local_dates(
        np.array([to_instant(parcels[0]["ordered_at"].to_pydatetime())]), zone.codes, zone.names
    )
    cdfs, senders = (
        [],
        [
            f"{parcel['origin_country']}-{parcel['origin_region']} {parcel['carrier']}"
            for parcel in parcels
        ],
    )
    for parcel in parcels:
        origin, destination = (
            Place(**{part: parcel[f"{end}_{part}"] for part in PLACE})
            for end in ("origin", "destination")
        )
        at = parcel["ordered_at"].to_pydatetime()
        attributes = {
            name: parcel[name]
            for name in ("weight_kg", "length_cm", "width_cm", "height_cm", "price")
        }
        lane = Shipment(
            shipment_id="lane",
            order_id="lane",
            origin=origin,
            destination=destination,
            ordered_at=at,
            **attributes,
        )
        curves = order_curves(
            lane,
            [CarrierService(carrier=parcel["carrier"], service_level=parcel["service_level"])],
            None,
            served,
        ).curves
        cdfs.append(daily_cdf(curves, np.array([to_instant(at)]), first_on, DAYS, zone)[0])
    return first_on, np.array(cdfs), np.array([senders.index(sender) for sender in senders])


def judge(
    name: str,
    correlation: ArrivalCorrelation,
    orders: list[Order],
    curves_by_order: list[ParcelCurves],
    arrived_at: NDArray[np.datetime64],
    timelines: Timelines,
) -> pd.DataFrame:
    """One row an order and end: whether ranges held, their days, and the RPS."""
    first_row = np.array([rows[0] for rows, _ in orders])
    zone, first_on = (
        timelines.zone.take(first_row),
        np.concatenate([first for first, _, _ in curves_by_order]),
    )
    as_of = day_starts(first_on, zone.codes, zone.names)
    frames = []
    for end, combine in ENDS.items():
        order_cdf = np.array(
            [
                combine(cdf, np.ones(len(cdf), dtype=np.int64), sender, correlation)
                for _, cdf, sender in curves_by_order
            ]
        )
        never = np.datetime64("9999-01-01", "us")
        times = [
            np.where(np.isnat(arrived_at[rows]), never, arrived_at[rows]) for rows, _ in orders
        ]
        arrived_at_end = np.array(
            [arrivals.max() if end == "last" else arrivals.min() for arrivals in times]
        )
        came_on = local_dates(
            np.where(arrived_at_end == never, np.datetime64("NaT"), arrived_at_end),
            zone.codes,
            zone.names,
        )
        curves = curves_from_daily_cdf(order_cdf, as_of, first_on, zone)
        frame = pd.DataFrame(
            {
                "correlation": name,
                "end": end,
                "kind": [NAMES[is_one_carrier] for _, is_one_carrier in orders],
            }
        )
        # Ranked probability score over the days (Epstein 1969).
        frame["rps_days"] = (
            (order_cdf - (first_on[:, None] + np.arange(DAYS) >= came_on[:, None])) ** 2
        ).sum(axis=1)
        for level in LEVELS:
            ranges = windows(curves, as_of, zone, coverage=level)
            is_late = ~np.isnat(ranges.latest_on) & (
                np.isnat(came_on) | (came_on > ranges.latest_on)
            )
            frame[f"late_{level * 100:.0f}"], frame[f"early_{level * 100:.0f}"] = (
                is_late,
                came_on < ranges.earliest_on,
            )
            # NaN without a latest day.
            frame[f"days_{level * 100:.0f}"] = (ranges.latest_on - ranges.earliest_on) / DAY + 1
        frames.append(frame)
    return pd.concat(frames)


def summary(judged: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a correlation, end and kind of order; ranges hold if they cover enough."""
    kinds = ["all", *NAMES.values()]
    confidence = 1.0 - (1.0 - CONFIDENCE) / (len(ENDS) * len(kinds) * len(LEVELS))
    for (correlation, end), part in judged.groupby(["correlation", "end"], sort=False):
        for kind in kinds:
            rows = part if kind == "all" else part[part["kind"] == kind]
            row: dict[str, Any] = {
                "correlation": correlation,
                "end": end,
                "kind": kind,
                "n": len(rows),
                "rps_days": round(float(rows["rps_days"].mean()), 4),
                "holds": True,
            }
            for level in LEVELS:
                name = f"{level * 100:.0f}"
                covered = ~(rows[f"late_{name}"] | rows[f"early_{name}"])
                _, high = exact_interval(float(covered.sum()), len(rows), confidence=confidence)
                row["holds"] &= high is not None and high >= level
                row |= {f"coverage_dates_{name}": round(float(covered.mean()), 4)}
                row |= {
                    f"{what}_{name}": round(float(rows[f"{what}_{name}"].mean()), 4)
                    for what in ("early", "late")
                }
                row |= {
                    f"days_median_{name}": float(rows[f"days_{name}"].median()),
                    f"endless_{name}": round(float(rows[f"days_{name}"].isna().mean()), 4),
                }
            yield row


def is_best(rows: list[dict[str, Any]], end: str) -> bool:
    """What was learned scores as well as any other dependence, but for a thousandth."""
    score = {
        row["correlation"]: row["rps_days"]
        for row in rows
        if row["end"] == end and row["kind"] == "all"
    }
    return bool(score["learned"] <= 1.001 * min(score.values()))


if __name__ == "__main__":
    sys.exit(main())
