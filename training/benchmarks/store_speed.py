"""Speed of the store: synced events, states computed again, opening a large store."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import harness
import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response

from eta.api import openapi
from eta.api.app import create_app
from eta.api.schemas.events import EventBatch
from eta.api.strict_route import StrictRoute
from eta.domain.registration import Registration
from eta.domain.shipment import Place, Shipment
from eta.domain.vocabulary import EventCode
from eta.service.tracking.record_events import EventReport, RecordEvents, record_events
from eta.service.tracking.register_shipments import RegisterShipment, register_shipments
from eta.service.tracking.shipment_states import compute_states
from eta.settings import Settings
from eta.store.records import StoredEvent, StoredShipment
from eta.store.session import Session
from eta.store.store import SqlStore, open_store

NOW = datetime(2026, 5, 20, 8, tzinfo=UTC)
TENANT = "default"
SHIPMENTS, BATCH, CONCURRENCY = 10_000, 100, 32
CODES = (
    EventCode.ACCEPTED,
    EventCode.SORTED,
    EventCode.ARRIVED_AT_FACILITY,
    EventCode.OUT_FOR_DELIVERY,
    EventCode.DELIVERED,
)

Figures = dict[str, float]


def single_scans(folder: Path, *, rounds: int = 20) -> Figures:
    """Single events, 32 requests at once, against a route that validates and does not store."""
    url = f"sqlite:{folder / 'single.sqlite'}"
    _register(url)
    bodies = (json.dumps({"events": [scan]}).encode() for scan in _scans())
    with _server(folder, url) as (port, pid):
        seconds: dict[str, list[float]] = {
            "events": [],
            "nothing": [],
            "events_cpu": [],
            "nothing_cpu": [],
        }
        for number in range(rounds + 2):
            for name in ("events", "nothing"):
                batch = [next(bodies) for _ in range(CONCURRENCY * 16)]
                wall, cpu = perf_counter(), _cpu_of(pid)
                asyncio.run(_over_sockets(port, f"/v1/{name}", batch))
                if number >= 2:
                    seconds[name].append((perf_counter() - wall) / len(batch))
                    seconds[f"{name}_cpu"].append((_cpu_of(pid) - cpu) / len(batch))
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return {
        "scan_rate_to_nothing": medians["nothing"] / medians["events"],
        "scan_us": 1e6 * medians["events"],
        "scan_cpu_us": 1e6 * medians["events_cpu"],
        "scan_nothing_us": 1e6 * medians["nothing"],
        "scan_nothing_cpu_us": 1e6 * medians["nothing_cpu"],
    }


def application() -> FastAPI:
    """The product's application with one more route, which validates but does not store."""
    settings = Settings(
        models=Path("none"),
        database_url=os.environ["STORE_SPEED_URL"],
        is_demo=True,
        rate_limit="1000000/second",
    )
    app = create_app(settings, clock=lambda: NOW)
    routes = APIRouter(prefix="/v1", route_class=StrictRoute)

    async def nothing(request: Request, body: EventBatch) -> Response:  # noqa: ARG001  # read and checked like that of a scan
        return Response(b"{}", media_type="application/json")

    routes.add_api_route("/nothing", nothing, methods=["POST"], openapi_extra=openapi.CREATE_EVENTS)
    app.include_router(routes)
    return app


@contextmanager
def _server(folder: Path, url: str) -> Iterator[tuple[int, int]]:
    """A server process: its port and its number."""
    factory = ("--factory", "store_speed:application")
    quiet = ("--no-access-log", "--log-level", "error")
    command = (sys.executable, "-m", "uvicorn", *factory, *quiet)
    paths = [str(harness.TRAINING), str(Path(__file__).parent)]
    if inherited := os.environ.get("PYTHONPATH"):
        paths.append(inherited)
    env = {"STORE_SPEED_URL": url, "PYTHONPATH": os.pathsep.join(paths)}
    with harness.running_server(env, command, ready_path="/livez", cwd=folder) as server:
        yield server.port, server.process.pid


def _cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _over_sockets(port: int, path: str, bodies: list[bytes]) -> None:
    """Sends bodies over 32 open connections, with as little work as possible."""
    waiting = iter(bodies)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            head = (
                f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            response = await reader.readuntil(b"\r\n\r\n")
            if not response.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{path} answered {response[:40]!r}")
            length = next(
                line
                for line in response.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(int(length.partition(b":")[2]))
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def batches(folder: Path, *, rounds: int = 100) -> Figures:
    """Batches of 100 events, by the store and over HTTP, against bare ``sqlite3`` inserts."""
    url = f"sqlite:{folder / 'batches.sqlite'}"
    _register(url)
    scans = _scans()
    inserted: list[list[tuple[Any, ...]]] = []
    add = Session.add_events

    def record_inserted(self: Session, tenant: str, events: Iterator[StoredEvent]) -> None:
        rows = list(events)
        inserted.append([(tenant, *event) for event in rows])
        add(self, tenant, rows)

    store = open_store(url, lambda: NOW)
    bare = _bare(folder / "bare.sqlite")
    seconds: dict[str, list[float]] = {"store": [], "bare": []}
    for number in range(rounds + 5):
        reports = [_report(next(scans)) for _ in range(BATCH)]
        Session.add_events = record_inserted  # type: ignore[method-assign, assignment]  # what the store inserts, the yardstick inserts
        started = perf_counter()
        store.submit(record_events, RecordEvents(TENANT, reports), weight=BATCH).result()
        elapsed = perf_counter() - started
        Session.add_events = add  # type: ignore[method-assign]
        started = perf_counter()
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany(f"INSERT INTO events VALUES ({', '.join('?' * 12)})", inserted[-1])  # noqa: S608  # placeholders
        bare.execute("COMMIT")
        if number >= 5:
            seconds["store"].append(elapsed)
            seconds["bare"].append(perf_counter() - started)
    store.close()
    by_store, by_bare = (float(np.median(seconds[name])) / BATCH for name in ("store", "bare"))
    over_http = _batches_over_http(folder, url, scans, rounds)
    return {
        "batch_rate_to_bare": by_bare / by_store,
        "batch_http_rate_to_bare": by_bare / over_http,
        "batch_scans_per_second": 1 / by_store,
        "batch_http_scans_per_second": 1 / over_http,
        "bare_scans_per_second": 1 / by_bare,
    }


def _batches_over_http(
    folder: Path, url: str, scans: Iterator[dict[str, Any]], rounds: int
) -> float:
    app = create_app(
        Settings(
            models=folder / "none", database_url=url, is_demo=True, rate_limit="1000000/second"
        ),
        clock=lambda: NOW,
    )

    async def measure() -> float:
        async with app.router.lifespan_context(app):
            bodies = [
                json.dumps({"events": [next(scans) for _ in range(BATCH)]}).encode()
                for _ in range(rounds)
            ]
            started = perf_counter()
            await _gather_limited([_post(app, "/v1/events", body) for body in bodies], 8)
            return (perf_counter() - started) / (rounds * BATCH)

    return asyncio.run(measure())


def a_million(folder: Path, *, shipments: int = 100_000, events_per_shipment: int = 10) -> Figures:
    """A store of a million events: opened, and its states computed again from the log."""
    url = f"sqlite:{folder / 'million.sqlite'}"
    store = open_store(url, lambda: NOW)
    for start in range(0, shipments, 5_000):
        store.write(_fill, (start, min(start + 5_000, shipments), events_per_shipment))
    store.close()
    started = perf_counter()
    store = open_store(url, lambda: NOW)
    store.read(lambda session: session.counts("nobody"))
    opened = perf_counter() - started
    started = process_time()
    store.write(_rebuild, None)
    cpu = process_time() - started
    store.close()
    starts = [_seconds_to_start(folder, url) for _ in range(5)]
    return {
        "ready_seconds": float(np.median(starts)),
        "open_seconds": opened,
        "rebuilt_per_cpu_second": shipments * events_per_shipment / cpu,
        "rebuild_cpu_seconds": cpu,
    }


def _seconds_to_start(folder: Path, url: str) -> float:
    """Seconds from the start of `eta serve` until it is ready."""
    env = {"ETA_DATABASE_URL": url, "ETA_MODELS": str(folder / "models"), "ETA_DEMO": "1"}
    with harness.running_server(env) as server:
        return server.start_seconds


def _fill(session: Session, items: Any) -> list[None]:
    for first, last, events_per_shipment in items:
        attributes = json.dumps(_registration(0).to_attributes())
        rows = [
            StoredShipment(f"shp_{number:024x}", None, f"{number}|post|1", attributes, 1, 1)
            for number in range(first, last)
        ]
        session.put_shipments(TENANT, rows)
        start = 1_779_000_000_000_000
        session.add_events(
            TENANT,
            (
                StoredEvent(
                    f"{number}|post|1",
                    f"evt_{count:024x}",
                    CODES[count % 4].value,
                    None,
                    f"hub {number % 50}",
                    start + count * 10**9,
                    120,
                    "carrier_offset",
                    0,
                    0,
                    start,
                )
                for number in range(first, last)
                for count in range(events_per_shipment)
            ),
        )
    return [None] * len(items)


def _rebuild(session: Session, items: Any) -> list[None]:
    session.put_states(
        TENANT,
        compute_states(
            session.all_shipments(TENANT), session.all_events(TENANT), session.commit_time
        ),
    )
    return [None] * len(items)


def _registration(number: int) -> Registration:
    place = Place(country="AT", region="9")
    shipment = Shipment(
        shipment_id="",
        order_id="",
        origin=place,
        destination=place,
        ordered_at=NOW - timedelta(days=5),
        carrier="post",
    )
    return Registration(shipment=shipment, tracking_number=f"{number:08d}")


def _register(url: str) -> None:
    store: SqlStore = open_store(url, lambda: NOW)
    for future in [
        store.submit(register_shipments, RegisterShipment(TENANT, _registration(number)))
        for number in range(SHIPMENTS)
    ]:
        future.result()
    store.close()


def _scans() -> Iterator[dict[str, Any]]:
    """Scans of random parcels, no two the same, for ever."""
    chance = random.Random(1)  # noqa: S311  # a seed is the point
    while True:
        at = NOW - timedelta(days=4) + timedelta(microseconds=chance.randrange(3 * 86_400 * 10**6))
        yield {
            "carrier_code": "post",
            "tracking_number": f"{chance.randrange(SHIPMENTS):08d}",
            "event_code": chance.choice(CODES).value,
            "occurred_at": at.isoformat(),
        }


def _report(scan: dict[str, Any]) -> EventReport:
    return EventReport(
        event_code=EventCode(scan["event_code"]),
        carrier="post",
        tracking_number=scan["tracking_number"],
        occurred_at=datetime.fromisoformat(scan["occurred_at"]),
    )


def _bare(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        """CREATE TABLE events (
            tenant TEXT NOT NULL, event_owner TEXT NOT NULL, event_id TEXT NOT NULL,
            event_code TEXT NOT NULL, raw_code TEXT, place TEXT,
            occurred_at BIGINT NOT NULL, offset_minutes INTEGER, timezone_source TEXT NOT NULL,
            is_ambiguous INTEGER NOT NULL, is_received_at_assumed INTEGER NOT NULL,
            received_at BIGINT NOT NULL,
            PRIMARY KEY (tenant, event_owner, event_id)) WITHOUT ROWID"""
    )
    return connection


async def _gather_limited(posts: list[Callable[[], Awaitable[None]]], concurrency: int) -> None:
    """All of them, so many at a time."""
    waiting = iter(posts)

    async def work() -> None:
        for post in waiting:
            await post()

    await asyncio.gather(*(work() for _ in range(concurrency)))


def _post(app: FastAPI, path: str, body: bytes) -> Callable[[], Awaitable[None]]:
    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
    }
    scope |= {
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }

    async def post() -> None:
        statuses = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 200))

        await app(dict(scope), receive, send)
        if statuses[0] != 200:
            raise SystemExit(f"{path} answered {statuses[0]}")

    return post
