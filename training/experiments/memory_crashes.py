"""Power cuts, deaths at each write, and a full disk: in process, on a disk that can do all that."""

from __future__ import annotations

import random
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fastapi.testclient import TestClient
from lossy_disk import Disk
from rich.progress import track

from eta import bootstrap
from eta.domain.errors import EtaError
from eta.domain.vocabulary import EventCode
from eta.service.tracking.record_events import (
    EventOutcome,
    EventReport,
    RecordEvents,
    record_events,
)
from eta.service.tracking.register_shipments import (
    RegisteredShipment,
    RegisterShipment,
    register_shipments,
)
from eta.store import store as stores
from eta.store.migrations import MIGRATIONS, Migration, migrate
from eta.store.session import Session
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore
from support.model_app import KEY, application
from support.store import NOW, TENANT, Clock, registration, scan

CUTS, CONTROL_CUTS = 200, 40
MORE: Migration = (
    "ALTER TABLE estimates ADD COLUMN note TEXT",
    "CREATE TABLE notes (note TEXT)",
    "INSERT INTO notes VALUES ('made')",
)


def run_cuts(folder: Path, scale: float) -> dict[str, Any]:
    """Cuts the power at a random write, with every commit synced and, as a control, without."""
    full, normal = (
        _cuts(folder / mode, mode, max(int(count * scale), 3))
        for mode, count in (("FULL", CUTS), ("NORMAL", CONTROL_CUTS))
    )
    return {
        "ok": full["lost"] == 0
        and full["corrupt"] == 0
        and full["half"] == 0
        and normal["lost"] > 0,
        "cuts": full["cuts"],
        "cut_acknowledged": full["acknowledged"],
        "cut_lost": full["lost"],
        "cut_corrupt": full["corrupt"] + full["half"],
        "control_cuts": normal["cuts"],
        "control_acknowledged": normal["acknowledged"],
        "control_lost": normal["lost"],
    }


def _cuts(folder: Path, synchronous: str, count: int) -> dict[str, int]:
    figures = {"cuts": 0, "acknowledged": 0, "lost": 0, "corrupt": 0, "half": 0}
    disk = Disk()
    for number in track(range(count), f"power cuts, synchronous = {synchronous}"):
        rng = random.Random(f"{synchronous} {number}")  # noqa: S311  # a seed is the point
        disk.durable, disk.pending, disk.operations, disk.lives = {}, {}, 0, None
        place = folder / str(number)
        store = SqlStore(
            SqliteEngine(place / "eta.sqlite", synchronous=synchronous, vfs=disk.name), Clock()
        )
        disk.lives = disk.operations + rng.randrange(1, rng.choice((300, 1_500, 6_000)))
        acknowledged = _write_until_it_breaks(store, rng)
        disk.cut(place / "left", rng)
        store.close()
        recovered, is_sound, is_half = _recovered(place / "left" / "eta.sqlite")
        figures["cuts"] += 1
        figures["acknowledged"] += len(acknowledged)
        figures["lost"] += len(acknowledged - recovered)
        figures["corrupt"] += not is_sound
        figures["half"] += is_half
    return figures


def _write_until_it_breaks(store: SqlStore, rng: random.Random) -> set[str]:
    """Registers and tells until the disk is gone; the ids of the scans that were acknowledged."""
    acknowledged: set[str] = set()
    number = 0
    while store.can_write:
        number += 1
        waiting: list[Future[Any]] = [
            store.submit(register_shipments, RegisterShipment(TENANT, registration(number)))
        ]
        for _ in range(rng.randrange(1, 8)):
            reports = [
                scan(rng.randrange(number) + 1, code, hours_ago=rng.random() * 300)
                for code in rng.sample(list(EventCode), rng.randrange(1, 5))
            ]
            waiting.append(store.submit(record_events, RecordEvents(TENANT, reports)))
        for future in waiting:
            try:
                answers = future.result()
            except EtaError:
                return acknowledged
            if not isinstance(answers, RegisteredShipment):
                acknowledged |= {
                    answer.event_id
                    for answer in answers
                    if isinstance(answer, EventOutcome) and answer.status == "stored"
                }
    return acknowledged


def _recovered(file: Path) -> tuple[set[str], bool, bool]:
    """The stored events, whether the file is sound, and whether a transaction is incomplete."""
    try:
        store = SqlStore(SqliteEngine(file), Clock())
    except EtaError:
        return set(), False, False
    try:
        with store.snapshot() as session:
            is_sound = session._connection.execute("PRAGMA integrity_check") == [("ok",)]  # noqa: SLF001  # SQLite's own word for it
            events = session.all_events(TENANT)
            return (
                {event.event_id for event in events},
                is_sound,
                _is_half(session, {event.event_owner for event in events}),
            )
    finally:
        store.close()


def _is_half(session: Session, event_owners: set[str]) -> bool:
    """Whether a state differs from its events or lacks its message."""
    shipments = session.all_shipments(TENANT)
    if {
        event_owner for registered in shipments for event_owner in registered.event_owners[:1]
    } - event_owners:
        return True
    statuses, announced = (
        session.statuses(TENANT, (registered.shipment_id for registered in shipments)),
        {},
    )
    for row in session.outbox(TENANT):
        announced[row[2]] = row[4]
    counts = {
        state.shipment_id: state.scan_count
        for state in session.states(TENANT, (registered.shipment_id for registered in shipments))
    }
    events = session.all_events(TENANT)
    for shipment in shipments:
        events_of_shipment = {
            (event.event_code, event.occurred_at)
            for event in events
            if event.event_owner in shipment.event_owners
        }
        if counts.get(shipment.shipment_id) != len(
            events_of_shipment
        ) or f'"status": "{statuses[shipment.shipment_id]}"' not in announced.get(
            shipment.shipment_id, ""
        ):
            return True
    return False


def run_crashes(folder: Path, scale: float) -> dict[str, Any]:
    """The process dies at each write of an ingestion, and at each write of a migration."""
    del scale
    disk = Disk()
    ingestion, lost, half = _crash_at_ingestion_writes(disk, folder / "ingestion")
    migration, stuck = _crash_at_migration_writes(disk, folder / "migration")
    return {
        "ok": lost == half == stuck == 0 and ingestion > 10 and migration > 10,
        "crash_points_ingestion": ingestion,
        "crash_points_migration": migration,
        "crash_lost": lost,
        "crash_half": half + stuck,
    }


def _crash_at_ingestion_writes(disk: Disk, folder: Path) -> tuple[int, int, int]:
    point = lost = half = 0
    while True:
        disk.durable, disk.pending, disk.operations, disk.lives = {}, {}, 0, None
        place = folder / str(point)
        store = SqlStore(SqliteEngine(place / "eta.sqlite", vfs=disk.name), Clock())
        store.write(register_shipments, RegisterShipment(TENANT, registration(1)))
        disk.lives = disk.operations + point
        reports = [scan(1, code, hours_ago=hours) for hours, code in enumerate(EventCode)]
        reports.append(
            EventReport(
                event_code=EventCode.SORTED, carrier="post", tracking_number="99", occurred_at=NOW
            )
        )
        try:
            acknowledged = {
                answer.event_id
                for answer in store.write(record_events, RecordEvents(TENANT, reports))
                if isinstance(answer, EventOutcome)
            }
        except EtaError:
            acknowledged = set()
        is_over = disk.operations < disk.lives
        # Writes that were made before the death are the operating system's: they stay.
        left = place / "left"
        left.mkdir()
        for suffix in ("", "-wal"):
            if (file := place / f"eta.sqlite{suffix}").exists():
                (left / file.name).write_bytes(file.read_bytes())
        store.close()
        recovered, is_sound, is_half = _recovered(left / "eta.sqlite")
        # The order itself, and then all of the batch or nothing.
        lost += not acknowledged <= recovered
        half += is_half or not is_sound or len(recovered) not in (1, 1 + len(reports))
        if is_over:
            return point, lost, half
        point += 1


def _crash_at_migration_writes(disk: Disk, folder: Path) -> tuple[int, int]:
    point = stuck = 0
    while True:
        disk.durable, disk.pending, disk.operations, disk.lives = {}, {}, 0, None
        file = folder / str(point) / "eta.sqlite"
        _migrate(SqliteEngine(file, vfs=disk.name), MIGRATIONS)
        disk.lives = disk.operations + point
        try:
            _migrate(SqliteEngine(file, vfs=disk.name), (*MIGRATIONS, MORE))
        except Exception:  # noqa: BLE001  # it died, however that shows
            is_over = False
        else:
            is_over = disk.operations < disk.lives
        disk.lives = None
        engine = SqliteEngine(file)
        connection = engine.writer()
        done = connection.execute("SELECT max(number) FROM migrations")[0][0]
        has_notes = bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'"))
        stuck += (done == len(MIGRATIONS) + 1) != has_notes
        migrate(connection, engine, (*MIGRATIONS, MORE))
        stuck += connection.execute("SELECT note FROM notes") != [("made",)]
        connection.close()
        engine.close()
        if is_over:
            return point, stuck
        point += 1


def _migrate(engine: SqliteEngine, migrations: tuple[Migration, ...]) -> None:
    try:
        connection = engine.writer()
        try:
            migrate(connection, engine, migrations)
        finally:
            connection.close()
    finally:
        engine.close()


def run_full(folder: Path, scale: float) -> dict[str, Any]:
    """Through HTTP: the disk is full, then there is room again."""
    del scale
    disk = Disk()
    event = {"external_id": "A-1", "event_code": "sorted", "place": ""}
    shipment_body = {
        "external_id": "A-1",
        "origin_address": {"country": "AT"},
        "destination_address": {"country": "AT"},
        "order_time": "2026-05-18T10:00:00Z",
    }
    acknowledged, refusals, unhelpful = [], 0, 0
    on_disk = patch.object(
        bootstrap,
        "open_store",
        lambda _, clock: SqlStore(SqliteEngine(folder / "eta.sqlite", vfs=disk.name), clock),
    )
    with (
        on_disk,
        patch.object(stores, "RETRY_SECONDS", 0.2),
        TestClient(application(folder / "models")) as client,
    ):
        client.headers["X-API-Key"] = KEY
        shipment_id = client.post("/v1/shipments", json=shipment_body).json()["id"]

        def send_event(number: int) -> int:
            nonlocal unhelpful
            body = {
                "events": [
                    {
                        **event,
                        "occurred_at": f"2026-05-19T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
                        "place": str(number),
                    }
                ]
            }
            response = client.post("/v1/events", json=body)
            if response.status_code == 200:
                acknowledged.append(response.json()["results"][0]["event_id"])
            else:
                unhelpful += response.status_code != 503 or "retry-after" not in response.headers
            return response.status_code

        for number in range(50):
            send_event(number)
        disk.is_full = True
        refusals = sum(send_event(1_000 + number) == 503 for number in range(50))
        reads = sum(
            client.get(f"/v1/shipments/{shipment_id}").status_code == 200 for _ in range(20)
        )
        unready = client.get("/readyz").status_code
        alive = client.get("/livez").status_code
        disk.is_full = False
        again = next(tries for tries in range(200) if send_event(2_000) == 200)
        ready = client.get("/readyz").status_code
        journey = client.get(f"/v1/shipments/{shipment_id}").json()["journey"]
    lost = len(set(acknowledged) - {entry["event_id"] for entry in journey})
    is_right = (refusals, reads, unready, alive, ready) == (50, 20, 503, 200, 200)
    return {
        "ok": is_right and lost == unhelpful == 0,
        "full_refused": refusals,
        "full_read": reads,
        "full_lost": lost,
        "full_tries_until_back": again,
    }
