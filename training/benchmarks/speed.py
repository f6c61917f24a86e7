"""How fast it is, as ratios of CPU time measured in one run, so that they hold on any machine.

Simulates parcels, fits a model, and sets each part against a yardstick that does the least one
could do: an estimate over HTTP against a route that answers nothing, whole curves against
LightGBM's single numbers, a fit against LightGBM's. Parts and yardsticks take turns, and medians
are compared, so that a busy machine slows both. Requests go straight into the application, without
a socket: only CPU is meant. One thread everywhere. Simulated parcels.

A new row is one more function in ``ROWS``. The last line printed is one JSON object.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import lightgbm
import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parents[1]))

import checkout_load
import harness
import store_speed

from eta.api import openapi
from eta.api.app import create_app
from eta.api.schemas.estimates import EstimateRequest
from eta.api.strict_route import StrictRoute
from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.calendars.local_time import to_instant
from eta.domain.access import Principal
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import Support
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffectHistory, PlaceEffects
from eta.journey.snapshots import Snapshots, training_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle, to_files
from eta.model.registry import Registry
from eta.service.estimates.order_to_delivery import order_curves
from eta.settings import Settings
from eta.stage_durations import StageDurations

AS_OF = datetime(2025, 11, 27, tzinfo=UTC)
KEY = "a key for benchmarks"
SERVICES = 5
#: Points of a curve that are read off, as levels.
LEVELS = np.linspace(0.025, 0.975, 20)
#: Trees of the point forecast.
POINT_TREES = 300

Task = Callable[[], object]
Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class World:
    """Simulated parcels, a model of them, and how many rows are scored and requests sent."""

    folder: Path
    timelines: Timelines
    snapshots: Snapshots
    training_examples: Examples
    model: HazardModel
    place_effects: PlaceEffects
    rows: int
    requests: int

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Log of 1 + days, what a point forecast learns."""
        return np.log1p(self.training_examples.duration_hours / 24.0)

    def matrix(self, feature_rows: Features) -> NDArray[np.float32]:
        """What the model's trees see, (N, F), for LightGBM."""
        return self.model.design_.rows(feature_rows)

    def point(self, trees: int) -> lightgbm.Booster:
        """A point forecast with the model's number of leaves, rows a leaf and learning rate."""
        parameters = {
            "objective": "l1",
            "learning_rate": self.model.parameters.structure_rate,
            "num_leaves": self.model.parameters.leaves,
            "min_data_in_leaf": self.model.parameters.leaf_rows,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        return lightgbm.train(
            parameters,
            lightgbm.Dataset(self.matrix(self.training_examples.features), self.values),
            num_boost_round=trees,
        )

    @cached_property
    def forecaster(self) -> lightgbm.Booster:
        """The point forecast of the yardstick."""
        return self.point(POINT_TREES)


def estimate(world: World) -> Figures:
    """One estimate over five services, against a no-op request and five point forecasts.

    Also the share of the curves at all dispatch times.
    """
    body, rows = _estimate_of(world), world.matrix(world.snapshots.features.take(np.arange(1_000)))
    registry = Registry(world.folder / "models")
    served = ModelBundle.from_version(
        registry.load(registry.names()[0]), HazardModel, PUBLIC_HOLIDAYS
    )
    estimate_request = EstimateRequest.model_validate_json(body)
    lane, services = (
        estimate_request.to_shipment("lane", AS_OF),
        [carrier.to_service() for carrier in estimate_request.carriers],
    )
    numbers = iter(np.random.default_rng(1).integers(0, len(rows), 1_000_000).tolist())

    def point_forecasts() -> None:
        for _ in range(SERVICES):
            number = next(numbers)
            world.forecaster.predict(rows[number : number + 1], num_threads=1)

    with _caller(_application(world)) as app, _caller(_bare()) as bare:
        tasks = {
            "estimate": lambda: app("/v1/estimates", body),
            "nothing": lambda: app("/v1/nothing", body),
            "point": point_forecasts,
            "bare": lambda: bare("/v1/nothing", body),
            "order_curves": lambda: order_curves(lane, services, None, served),
        }
        cpu = {
            name: np.median(seconds) for name, seconds in in_turns(tasks, world.requests).items()
        }
    return {
        "estimate": cpu["estimate"] / (cpu["nothing"] + cpu["point"]),
        "estimate_us": 1e6 * cpu["estimate"],
        "nothing_us": 1e6 * cpu["nothing"],
        "point_forecasts_us": 1e6 * cpu["point"],
        "order_curves_us": 1e6 * cpu["order_curves"],
        "nothing_to_bare_starlette": cpu["nothing"] / cpu["bare"],
    }


def estimate_batch(world: World) -> Figures:
    """Fifty carrier services in one request against one of them: CPU each."""
    one, many = (_estimate_of(world, count) for count in (1, 50))
    with _caller(_application(world)) as app:
        cpu = in_turns(
            {"one": lambda: app("/v1/estimates", one), "many": lambda: app("/v1/estimates", many)},
            world.requests,
        )
    single, batch = (float(np.median(cpu[name])) for name in ("one", "many"))
    return {
        "batch_item_to_single": batch / 50 / single,
        "single_us": 1e6 * single,
        "batch_item_us": 1e6 * batch / 50,
    }


def under_load(world: World) -> Figures:
    """Estimates at half of a server's capacity, requested by another process."""
    return checkout_load.under_load(world.folder / "models", _estimate_of(world))


def one_parcel(world: World) -> Figures:
    """One parcel in flight, from columns over features to its curve."""
    chosen = np.random.default_rng(2).integers(0, len(world.snapshots), 1_000_000)
    moments, rows = (
        world.snapshots.pairs,
        world.matrix(world.snapshots.features.take(chosen[:1_000])),
    )
    numbers = iter(range(len(chosen)))

    def curve() -> None:
        number = next(numbers)
        world.model.predict_curves(
            features(
                world.timelines, moments.take(chosen[number : number + 1]), world.place_effects
            )
        )

    def point() -> None:
        number = next(numbers) % len(rows)
        world.forecaster.predict(rows[number : number + 1], num_threads=1)

    cpu = in_turns({"curve": curve, "point": point}, world.requests)
    median, slow = np.quantile(cpu["curve"], (0.5, 0.99))
    return {
        "one_parcel_us": 1e6 * median,
        "one_parcel_p99_us": 1e6 * slow,
        "one_parcel_p99_to_p50": slow / median,
        "one_parcel_to_point": median / np.median(cpu["point"]),
    }


def many_parcels(world: World) -> Figures:
    """A hundred thousand parcels: twenty points of each curve, against one point forecast each."""
    chosen = np.random.default_rng(3).integers(0, len(world.snapshots), world.rows)
    moments, rows = (
        world.snapshots.pairs.take(chosen),
        world.matrix(world.snapshots.features.take(chosen)),
    )

    def curves() -> None:
        for start in range(0, world.rows, 50_000):
            part = moments.take(np.arange(start, min(start + 50_000, world.rows)))
            world.model.predict_curves(
                features(world.timelines, part, world.place_effects)
            ).quantile_table(LEVELS[None, :])

    cpu = {
        name: np.median(seconds)
        for name, seconds in in_turns(
            {"curves": curves, "point": lambda: world.forecaster.predict(rows, num_threads=1)}, 3
        ).items()
    }
    return {
        "many_to_point": cpu["curves"] / cpu["point"],
        "million_seconds": cpu["curves"] * 1e6 / world.rows,
    }


def fit(world: World) -> Figures:
    """A fit of distributions, against a point forecast with as many trees and leaves."""
    seconds = in_turns(
        {
            "fit": lambda: HazardModel().fit(world.training_examples),
            "point": lambda: world.point(world.model.parameters.trees),
        },
        2,
        warm=False,
    )
    cpu = {name: np.median(times) for name, times in seconds.items()}
    return {
        "fit_to_point": cpu["fit"] / cpu["point"],
        "fit_seconds": cpu["fit"],
        "fit_rows": float(len(world.training_examples)),
    }


ROWS: Mapping[str, Callable[[World], Figures]] = {
    "estimate": estimate,
    "estimates in a batch": estimate_batch,
    "estimates under load": under_load,
    "one parcel": one_parcel,
    "many parcels": many_parcels,
    "fit": fit,
    "single scans": lambda world: store_speed.single_scans(world.folder),
    "batches of scans": lambda world: store_speed.batches(world.folder),
    "a million scans": lambda world: store_speed.a_million(world.folder),
}
#: What is reached for, and in which words it is printed.
REACHED_FOR = {
    "estimate": (
        1.0,
        "estimate over 5 services / (a route that answers nothing + 5 point forecasts)",
    ),
    "batch_item_to_single": (0.25, "one of 50 services in a request / a request for one service"),
    "load_p99_to_p50": (5.0, "estimates at half of saturation, 99th percentile / median"),
    "nothing_to_bare_starlette": (None, "a route that answers nothing / bare Starlette"),
    "one_parcel_to_point": (None, "one parcel, columns to curve / one point forecast"),
    "one_parcel_p99_to_p50": (3.0, "one parcel, 99th percentile / median"),
    "many_to_point": (0.5, "many parcels, columns to 20 points / one point forecast each"),
    "scan_rate_to_nothing": (
        0.55,
        "rate of single scans, synced / a no-op route of the same server, 32 at once",
    ),
    "batch_rate_to_bare": (
        0.6,
        "rate of batches of 100, synced / bare sqlite3 with the same table",
    ),
    "batch_http_rate_to_bare": (None, "the same over HTTP, 8 at once"),
    "rebuilt_per_cpu_second": (
        50_000.0,
        "scans folded again into states, read and written, a CPU-second",
    ),
    "ready_seconds": (
        2.0,
        "seconds from the start of a server with a million scans until it is ready",
    ),
    "fit_to_point": (1.3, "fit of whole distributions / fit of a point forecast"),
}


def in_turns(
    tasks: Mapping[str, Task], rounds: int, *, warm: bool = True
) -> dict[str, NDArray[np.float64]]:
    """CPU seconds (rounds,) of each task; tasks take turns, so that a busy machine slows all."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds // 10 + 1 if warm else 0):
        for task in tasks.values():
            task()
    for _ in range(rounds):
        for name, task in tasks.items():
            started = process_time()
            task()
            seconds[name].append(process_time() - started)
    return {name: np.array(times) for name, times in seconds.items()}


def _make(folder: Path, shipments: int, rows: int, requests: int) -> World:
    _, timelines = harness.simulate(folder / "data", shipments)
    as_of = to_instant(AS_OF)
    snapshots = training_snapshots(timelines, as_of)
    training_examples = examples(snapshots, Outcomes.at(timelines, as_of))
    model = HazardModel().fit(training_examples)
    durations = StageDurations.fit(
        timelines, fold(timelines, AsOfPairs.all_at(timelines, as_of)), as_of, level=0.95
    )
    place_effects = PlaceEffectHistory.from_timelines(timelines).at(as_of)
    facts, files = to_files(
        model,
        place_effects,
        durations,
        Support.fit(training_examples),
        HandlingTimes(),
        ArrivalCorrelation(),
    )
    Registry(folder / "models").save(
        {**facts, "data": {"examples": len(training_examples)}}, files, AS_OF
    )
    return World(
        folder, timelines, snapshots, training_examples, model, place_effects, rows, requests
    )


def _estimate_of(world: World, count: int = SERVICES) -> bytes:
    carriers, services = (
        world.timelines.texts[name].texts() for name in ("carrier", "service_level")
    )
    pairs = sorted({pair for pair in zip(carriers, services, strict=True) if None not in pair})
    body = {
        "carriers": [
            {"carrier_code": carrier, "service_code": service}
            for carrier, service in islice(cycle(pairs), count)
        ],
        "origin_address": {"country": "DE", "state": "BE", "postal_code": "10115"},
        "destination_address": {"country": "DE", "state": "BY", "postal_code": "80331"},
        "weight": {"value": 1.2, "unit": "kg"},
        "order_time": "2025-11-27T11:30:00+01:00",
    }
    return json.dumps(body).encode()


def _application(world: World) -> FastAPI:
    """The product's application, and beside its routes one that does all but answer."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    app = create_app(
        Settings(
            models=world.folder / "models",
            api_keys={digest: Principal()},
            rate_limit="1000000/second",
        ),
        clock=lambda: AS_OF,
    )
    routes = APIRouter(prefix="/v1", route_class=StrictRoute)

    async def nothing(request: Request, body: EstimateRequest) -> Response:  # noqa: ARG001  # read and checked like that of an estimate
        return Response(b"{}", media_type="application/json")

    routes.add_api_route("/nothing", nothing, methods=["POST"], openapi_extra=openapi.ESTIMATES)
    app.include_router(routes)
    return app


def _bare() -> Starlette:
    async def nothing(request: Request) -> Response:
        await request.json()
        return Response(b"{}", media_type="application/json")

    return Starlette(routes=[Route("/v1/nothing", nothing, methods=["POST"])])


@contextmanager
def _caller(app: FastAPI | Starlette) -> Iterator[Callable[[str, bytes], None]]:
    """Sends bodies straight into a started application; an answer other than 200 ends the run."""
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"x-api-key", KEY.encode()),
    ]

    async def post(path: str, body: bytes) -> None:
        statuses = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 200))

        await app(
            {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": path,
                "raw_path": path.encode(),
                "root_path": "",
                "query_string": b"",
                "headers": [*headers, (b"content-length", str(len(body)).encode())],
                "client": ("127.0.0.1", 50_000),
                "server": ("127.0.0.1", 8_000),
            },
            receive,
            send,
        )
        if statuses[0] != 200:
            raise SystemExit(f"{path} answered {statuses[0]}")

    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            yield lambda path, body: runner.run(post(path, body))
        finally:
            runner.run(lifespan.__aexit__(None, None, None))


def main() -> None:
    """Measures every row and prints the table."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--shipments",
        type=int,
        default=20_000,
        help="simulated shipments; ten times as many snapshots are learned from",
    )
    parser.add_argument("--rows", type=int, default=200_000, help="parcels scored at once")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--only", choices=ROWS, nargs="*", default=list(ROWS))
    args = parser.parse_args()
    started = perf_counter()
    figures: dict[str, Any] = {"bench": "speed", "simulated": True}
    with tempfile.TemporaryDirectory() as name:
        harness.report_progress("simulating parcels and fitting a model")
        world = _make(Path(name), args.shipments, args.rows, args.requests)
        for row in args.only:
            harness.report_progress(f"measuring: {row}")
            figures |= ROWS[row](world)
    for name, (target, words) in REACHED_FOR.items():
        if name in figures:
            goal = "" if target is None else f"reach {target:g}"
            harness.print_line(f"{figures[name]:8.2f}  {goal:10}  {words}")
    rounded = {
        name: round(float(value), 3) if isinstance(value, float) else value
        for name, value in figures.items()
    }
    harness.print_figures(**rounded, seconds=round(perf_counter() - started, 1))


if __name__ == "__main__":
    main()
