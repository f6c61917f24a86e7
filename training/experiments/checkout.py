"""Claim: what a checkout shows is true as often as it says, and no request breaks it.

Simulated parcels of the default scenario: a version is trained as of one day; then every order of
the days after it is estimated as a checkout would, with the drift estimated each midnight, and the
estimates are compared with the outcomes. Ship-by is computed for hand-overs that took place.
Requests are made from the contract and poisoned. With real orders in `$ETA_DATA`, the promise
policy is replayed on them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta import bootstrap
from eta.calendars.local_time import local_dates, midnight, to_instant
from eta.calendars.zones import zone_of
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.domain.vocabulary import HANDOVER_CODES
from eta.evaluation.backtest import Refit, merchant_on_time_rate, replay
from eta.evaluation.confidence_intervals import exact_interval
from eta.evaluation.summary import summarise
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Outcomes
from eta.journey.timelines import EVENT_CODES, Timelines
from eta.model.bundle import ModelBundle
from eta.service.analysis.simulate_promise import figures_of_promises
from eta.service.estimates.estimate_delivery import estimate_delivery
from eta.service.estimates.find_ship_by import ShipByCode, find_ship_by
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.scoring.assessment import AssessmentCode, AssessmentOptions
from support.hostile_requests import faults_of, requests
from support.model_app import KEY, application, save_model

SHIPMENTS = 120_000
FIRST, DAYS = datetime(2025, 8, 1, tzinfo=UTC), 92
#: Levels of ship-by, and orders at each.
LEVELS, SHIP_BYS = (0.7, 0.9), 1_500
#: Days of an order that a customer may wish for.
WISHES = np.arange(1, 15)
TENTHS, SURE = 10, 0.95
SCORES = (
    "moment",
    "n",
    "mae_days",
    "crps_days",
    "crps_censored_days",
    "coverage_80",
    "coverage_90",
    "coverage_dates_80",
    "late_auc",
    "late_auc_month_mean",
)


@dataclass(frozen=True, eq=False)
class World:
    """Simulated parcels, one row a shipment, and what became of them."""

    shipments: pd.DataFrame
    timelines: Timelines
    outcomes: Outcomes
    served: ModelBundle

    def order(self, row: int) -> tuple[Shipment, CarrierService]:
        """An order as a checkout knows it."""
        shipment = self.shipments.iloc[row]
        ends = {
            end: Place(
                country=shipment[f"{end}_country"],
                region=shipment[f"{end}_region"],
                postcode=shipment[f"{end}_postcode"],
                latitude=float(shipment[f"{end}_latitude"]),
                longitude=float(shipment[f"{end}_longitude"]),
            )
            for end in ("origin", "destination")
        }
        sizes = {
            name: float(shipment[name])
            for name in ("weight_kg", "length_cm", "width_cm", "height_cm", "price")
        }
        lane = Shipment(
            shipment_id="lane",
            order_id="lane",
            ordered_at=shipment["ordered_at"].to_pydatetime(),
            **ends,
            **sizes,
        )
        return lane, CarrierService(
            carrier=shipment["carrier"], service_level=shipment["service_level"]
        )

    def arrived_on(self, rows: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Local days of arrival; NaT where none is known."""
        return local_dates(
            self.outcomes.arrived_at[rows],
            self.timelines.zone.codes[rows],
            self.timelines.zone.names,
        )


def main() -> int:
    """Runs all of it and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--shipments", type=int, default=SHIPMENTS)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--requests", type=int, default=10_000)
    args = parser.parse_args()
    started = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        world = make_world(Path(name), args.shipments)
        rows = orders_of(world, args.days)
        estimates = estimate_orders(world, rows)
        ship_by = ship_bys(world, rows)
    with tempfile.TemporaryDirectory() as name:
        broken = run_hostile_requests(Path(name), args.requests)
    stated = {part: judged(estimates[wanted]) for part, wanted in parts(estimates)}
    everything = stated["all"]
    replayed = replay_of_real_orders()
    met = all(
        part_figures["met"] >= part_figures["level"] or part_figures["in_band"]
        for part_figures in ship_by
    )
    verdict = {
        "ok": abs(everything["slope"] - 1.0) <= 0.05
        and everything["largest_decile_error"] <= 0.03
        and all(part["in_band"] for part in stated.values())
        and met
        and not broken["server_errors"]
        and not broken["faults"],
        "simulated": True,
        "n": everything["n"],
        "slope": everything["slope"],
        "largest_decile_error": everything["largest_decile_error"],
        "in_band": all(part["in_band"] for part in stated.values()),
        "stated": stated,
        "dates": date_figures(estimates),
        "ship_by": ship_by,
        "requests": broken,
        "server_errors": broken["server_errors"],
        "days_saved": replayed and replayed["days_saved"],
        "real_orders": replayed,
        "seconds": round(perf_counter() - started, 1),
    }
    return harness.print_verdict("checkout", **verdict)


def make_world(folder: Path, shipments: int) -> World:
    """Simulated parcels and a version trained as of ``FIRST``."""
    dataset, timelines = harness.simulate(folder, shipments)
    served = harness.train(timelines, folder / "models", FIRST, bootstrap.CHECK_BASELINES)
    frame = (
        dataset.shipments.set_index("shipment_id").loc[list(timelines.shipment_id)].reset_index()
    )
    return World(frame, timelines, Outcomes.at(timelines, timelines.received_at.max()), served)


def orders_of(world: World, days: int) -> NDArray[np.int64]:
    """Rows of the orders of the judged days, in the order of time."""
    ordered = world.shipments["ordered_at"]
    rows = np.flatnonzero((ordered >= FIRST) & (ordered < FIRST + timedelta(days=days)))
    return rows[np.argsort(ordered.iloc[rows].to_numpy(), kind="stable")]


def estimate_orders(world: World, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The estimate of each order, and the outcome."""
    random = np.random.default_rng(20260520)
    served, ordered = world.served, world.shipments["ordered_at"]
    tracker = DriftTracker(
        served.model,
        OpenParcelCache(world.timelines),
        baseline_ratio=served.model.drift.baseline_ratio,
    )
    arrived_on, today, entries = world.arrived_on(rows), None, []
    for number, row in enumerate(track(rows, "quoting orders")):
        first_instant = ordered.iloc[row].floor("D").to_pydatetime()
        if first_instant != today:
            today = first_instant
            drift = tracker.drift(Outcomes.at(world.timelines, to_instant(first_instant)))
            served = replace(served, model=served.model.with_drift(drift))
        lane, service = world.order(row)
        entries.append(entry(served, lane, service, random, arrived_on[number]))
    return pd.DataFrame([estimate_entry for estimate_entry in entries if estimate_entry])


def entry(
    served: ModelBundle,
    lane: Shipment,
    service: CarrierService,
    random: np.random.Generator,
    arrived_on: np.datetime64,
) -> dict[str, Any] | None:
    """One order: the desired day, its predicted probability, and the estimated dates."""
    on = lane.ordered_at.astimezone(UTC).date()
    desired_on = on + timedelta(days=int(random.choice(WISHES)))
    (estimate,) = estimate_delivery(
        lane,
        [service],
        served,
        policy=DelayPolicy(),
        options=AssessmentOptions(desired_on=desired_on),
    )
    assessment = estimate.assessment
    if (
        assessment.code is not AssessmentCode.OK
        or not assessment.latest_on
        or not assessment.earliest_on
    ):
        return None
    came = None if np.isnat(arrived_on) else arrived_on.item()
    return {
        "crosses": lane.origin.country != lane.destination.country,
        "stated": assessment.desired_probability,
        "true": came is not None and came <= desired_on,
        "in_window": came is not None and assessment.earliest_on <= came <= assessment.latest_on,
        "promise": assessment.on_time_probability if assessment.is_promise_proposed else None,
        "promise_met": None
        if assessment.promise_on is None
        else came is not None and came <= assessment.promise_on,
        "promised_days": None
        if assessment.promise_on is None
        else (assessment.promise_on - on).days,
        "contains": assessment.earliest_on
        <= (assessment.estimated_on or date.max)
        <= assessment.latest_on,
        "before_order": assessment.earliest_on
        < lane.ordered_at.astimezone(UTC).date() - timedelta(days=1),
    }


def parts(estimates: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """All orders, those at home and those across a border."""
    crosses = estimates["crosses"].to_numpy(dtype=bool)
    yield from (
        ("all", np.ones(len(estimates), dtype=bool)),
        ("at_home", ~crosses),
        ("across_the_border", crosses),
    )


def judged(estimates: pd.DataFrame) -> dict[str, Any]:
    """Predicted probabilities against observed shares, by tenths; the band is family-wise."""
    stated, true = (
        estimates["stated"].to_numpy(dtype=np.float64),
        estimates["true"].to_numpy(dtype=np.float64),
    )
    tenth = (np.argsort(np.argsort(stated, kind="stable"), kind="stable") * TENTHS) // len(stated)
    entries = []
    for number in range(TENTHS):
        in_tenth = tenth == number
        # Bonferroni's bound over the tenths of all three parts.
        low, high = exact_interval(
            float(true[in_tenth].sum()),
            float(in_tenth.sum()),
            confidence=1.0 - (1.0 - SURE) / (3 * TENTHS),
        )
        entries.append(
            {
                "stated": float(stated[in_tenth].mean()),
                "true": float(true[in_tenth].mean()),
                "low": low,
                "high": high,
                "in_band": bool(low <= stated[in_tenth].mean() <= high),
            }
        )
    slope = float(np.polyfit(stated, true, 1)[0])
    errors = [abs(decile["stated"] - decile["true"]) for decile in entries]
    return {
        "n": len(estimates),
        "slope": slope,
        "largest_decile_error": float(max(errors)),
        "in_band": all(decile["in_band"] for decile in entries),
        "deciles": entries,
    }


def date_figures(estimates: pd.DataFrame) -> dict[str, Any]:
    """The dates themselves."""
    promised = estimates[estimates["promise"].notna()]
    return {
        "window_80_holds": float(estimates["in_window"].mean()),
        "promise_at_90_stated": float(promised["promise"].astype(float).mean()),
        "promise_at_90_met": float(promised["promise_met"].astype(float).mean()),
        "promised_days_mean": float(promised["promised_days"].astype(float).mean()),
        "windows_without_their_date": int((~estimates["contains"]).sum()),
        "dates_before_the_order": int(estimates["before_order"].sum()),
    }


def ship_bys(world: World, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Share of parcels handed over by the ship-by day that arrived by the desired day."""
    random = np.random.default_rng(20260521)
    timelines = world.timelines
    is_handover = np.isin(
        timelines.event_code, [EVENT_CODES.index(code) for code in HANDOVER_CODES]
    )
    handed = (
        pd.Series(timelines.occurred_at[is_handover])
        .groupby(timelines.scans.owner()[is_handover])
        .min()
    )
    handed_over = random.permutation(np.intersect1d(rows, handed.index.to_numpy()))
    arrived_on = world.arrived_on(np.arange(len(timelines)))
    results = []
    for level in LEVELS:
        met: list[bool] = []
        stated: list[float] = []
        for row in track(handed_over, f"ship-by at {level}"):
            if len(met) == SHIP_BYS:
                break
            at = pd.Timestamp(handed[row], tz="UTC").to_pydatetime()
            if (wanted_and_probability := latest_for(world, int(row), at, level)) is not None:
                met.append(bool(arrived_on[row] <= np.datetime64(wanted_and_probability[0], "D")))
                stated.append(wanted_and_probability[1])
        low, high = exact_interval(
            float(sum(met)), float(len(met)), confidence=1.0 - (1.0 - SURE) / len(LEVELS)
        )
        results.append(
            {
                "level": level,
                "n": len(met),
                "stated": float(np.mean(stated)),
                "met": float(np.mean(met)),
                "low": low,
                "high": high,
                "in_band": bool(low <= level <= high),
            }
        )
    return results


def latest_for(
    world: World, row: int, handed_over_at: datetime, level: float
) -> tuple[date, float] | None:
    """The first desired day whose ship-by is the actual hand-over day, with its probability."""
    lane, service = world.order(row)
    day = timedelta(days=1)
    for desired_on in (handed_over_at.date() + number * day for number in range(1, 12)):
        zone_time = (
            handed_over_at.astimezone(local_zone(lane)).time().replace(second=0, microsecond=0)
        )
        (answer,) = find_ship_by(
            replace(lane, ordered_at=min(lane.ordered_at, handed_over_at - timedelta(minutes=1))),
            [service],
            world.served,
            desired_on=desired_on,
            level=level,
            handover=zone_time,
        )
        if answer.code is ShipByCode.OK and answer.handover_at is not None:
            named = answer.handover_at.date() - handed_over_at.astimezone(local_zone(lane)).date()
            if named == timedelta():
                return desired_on, float(answer.probability or 0.0)
            if named > timedelta():
                return None
    return None


def local_zone(lane: Shipment) -> ZoneInfo:
    """The zone of the origin."""
    return ZoneInfo(zone_of(lane.origin.country, lane.origin.region)[0])


def run_hostile_requests(folder: Path, count: int) -> dict[str, Any]:
    """Counts server errors and inconsistent answers; half of the requests are invalid."""
    save_model(folder)
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    poisoned = (
        hostile_request
        for hostile_request in requests(20260522, 20 * count)
        if hostile_request.path.startswith("/v1/estimates")
    )
    random = Random(20260523)  # noqa: S311  # a seed is the point
    with TestClient(application(folder), raise_server_exceptions=False) as client:
        for number in track(range(count), "requests", total=count):
            if number % 2:
                hostile_request = next(poisoned)
                response = client.request(
                    hostile_request.method,
                    hostile_request.path,
                    content=hostile_request.content,
                    headers={**hostile_request.headers, "X-API-Key": KEY},
                )
                response_faults = faults_of(
                    response.status_code, response.headers.get("content-type", ""), response.content
                )
            else:
                response = client.post(
                    "/v1/estimates", json=odd_request(random), headers={"X-API-Key": KEY}
                )
                response_faults = (
                    [] if response.status_code == 200 else [f"refused: {response.text[:300]}"]
                )
            if response.status_code == 200 and response.content:
                response_faults += contradictions(response.json())
            statuses[response.status_code] += 1
            faults += [f"request {number}: {fault}" for fault in response_faults]
    errors = sum(total for status, total in statuses.items() if status >= 500)
    return {
        "level": count,
        "statuses": {str(status): statuses[status] for status in sorted(statuses)},
        "server_errors": errors,
        "faults": faults[:20],
    }


def odd_request(random: Random) -> dict[str, Any]:
    """A request that is good, from anywhere to anywhere, at any time."""

    def place() -> dict[str, Any]:
        country, regions = random.choice(
            [
                ("AT", "98"),
                ("DE", ["BY", "BE"]),
                ("US", ["CA", "HI"]),
                ("BR", ["SP", "AM"]),
                ("NZ", [None]),
                ("XK", [None]),
                ("IN", [None]),
            ]
        )
        address = {
            "country": country,
            "state": random.choice(list(regions)),
            "postal_code": random.choice([None, "1010", "A1 B-2", "0"]),
        }
        return {name: value for name, value in address.items() if value is not None}

    def weekdays() -> list[int]:
        return random.sample(range(1, 8), random.randint(1, 7))

    carriers: list[dict[str, Any]] = [
        {"carrier_code": random.choice(["post", "other", "unheard-of"])}
        for _ in range(random.randint(1, 5))
    ]
    for carrier in carriers:
        if random.random() < 0.3:
            carrier["delivery_days"] = weekdays()
        if random.random() < 0.3:
            carrier["price"] = random.choice([0, 4.5, 1e9])
    at = datetime(1995 + random.randrange(40), 1, 1, tzinfo=UTC) + timedelta(
        minutes=random.randrange(366 * 24 * 60)
    )
    near = datetime(2026, 5, 11, tzinfo=UTC) + timedelta(minutes=random.randrange(60 * 24 * 60))
    order_time = random.choice([at, near, near, near]).astimezone(
        timezone(timedelta(hours=random.randint(-12, 14)))
    )
    body: dict[str, Any] = {
        "origin_address": place(),
        "destination_address": place(),
        "carriers": carriers,
        "order_time": order_time.isoformat(),
    }
    if random.random() < 0.5:
        body["weight"] = {"value": random.choice([0.001, 1, 40, 999]), "unit": "kg"}
    if random.random() < 0.5:
        pickup: dict[str, Any] = {
            "order_cutoff_time": random.choice(["00:00", "02:30", "15:00", "23:59"]),
            "business_days": weekdays(),
        }
        if random.random() < 0.7:
            processing_time = random.choice(
                [{"value": random.randint(0, 30)}, {"probabilities": [0.5, 0.3, 0.2]}]
            )
            pickup["order_processing_time"] = {"unit": "business_days", **processing_time}
        body["estimated_pickup"] = pickup
    if random.random() < 0.3:
        body["promise_policy"] = random.choice(
            [
                {"on_time_rate": 0.99},
                {"costs": {"late": 10}},
                {"costs": {"late_day": 2, "day": 0.5}, "earliest_days": 2, "latest_days": 20},
            ]
        )
    if random.random() < 0.3:
        body["desired_delivery_date"] = (
            order_time.date() + timedelta(days=random.randint(-3, 30))
        ).isoformat()
    return body | {"confidence_level": random.choice([0.5, 0.8, 0.99])}


def contradictions(body: dict[str, Any]) -> list[str]:
    """What an answer says against itself."""
    problems = []
    for result in body["results"]:
        days = [
            value
            for name, value in result["time_in_transit"].items()
            if name.startswith("percentile_") and value is not None
        ]
        if days != sorted(days) or (days and days[0] < 0):
            problems.append(f"percentiles cross: {days}")
        ordered_on = (
            datetime.fromisoformat(body["as_of"])
            .astimezone(ZoneInfo(result["timezone"]))
            .date()
            .isoformat()
        )
        dates = [result[f"estimated_delivery_date{end}"] for end in ("_min", "", "_max")]
        present_dates = [day for day in dates if day]
        if present_dates != sorted(present_dates):
            problems.append(f"the window does not hold its date: {dates}")
        if present_dates and present_dates[0] < ordered_on:
            problems.append(f"a date before the order: {present_dates[0]} < {ordered_on}")
        if (
            result["promise"]
            and result["promise"]["is_proposed"]
            and result["promise"]["date"] < ordered_on
        ):
            problems.append("a promise before the order")
        if result["cutoff"] and result["cutoff"]["minutes_left"] < 0:
            problems.append("a cut-off that is over")
    return problems


def replay_of_real_orders() -> dict[str, Any] | None:
    """Promises at the shop's on-time rate on Olist, January to June 2018; None without data."""
    folder = harness.real_data("olist")
    if folder is None:
        return None
    dataset, timelines = harness.load_data("olist", folder)
    zone = dataset.zone
    start, end = midnight(date(2018, 1, 1), zone), midnight(date(2018, 7, 1), zone)
    replayed = replay(
        timelines,
        {"eta": HazardModel},
        start=start,
        end=end,
        zone=zone,
        refit=Refit.MONTH,
        promise=merchant_on_time_rate(timelines, start, end),
        progress=harness.report_progress,
    )
    figures = figures_of_promises(replayed.judged, replayed.forecasts["eta"])
    summary = summarise(replayed)
    rows = [
        {name: row[name] for name in SCORES}
        for row in summary["rows"]
        if row["moment"] in ("purchase", "in_flight")
    ]
    months = [
        {name: row[name] for name in ("month", *SCORES)}
        for row in summary["by_month"]
        if row["moment"] in ("purchase", "in_flight")
    ]
    return {
        **figures["total"],
        "by_segment": figures["by_segment"],
        "forecast": rows,
        "forecast_by_month": months,
    }


if __name__ == "__main__":
    sys.exit(main())
