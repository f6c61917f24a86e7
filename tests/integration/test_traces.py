"""What was erased is in no file any more: database, log, stored responses, later backups."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from eta.domain.vocabulary import EventCode
from eta.service.storage.backup import back_up
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.service.storage.retention import (
    EraseShipments,
    Retention,
    erase_shipments,
    purge_all_orphaned_responses,
    purge_expired,
)
from eta.service.tracking.record_events import RecordEvents, record_events
from eta.service.tracking.register_shipments import RegisterShipment, register_shipments
from eta.store import sqlite_gaps, trace_removal
from eta.store.engine import Connection
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore, engine_from_url
from support.store import (
    TENANT,
    Clock,
    fresh_url,
    opened_store,
    registration,
    require_postgres,
    scan,
)

SHIPMENTS = 100
CODES = tuple(EventCode)[10:25]


@pytest.fixture
def store(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    """A SQLite store that removes traces soon, in several parts."""
    monkeypatch.setattr(sqlite_gaps, "_PART_BYTES", 1 << 19)
    monkeypatch.setattr(sqlite_gaps, "_PAGES_AT_ONCE", 16)
    monkeypatch.setattr(trace_removal, "TRACES_SECONDS", 0.2)
    monkeypatch.setattr(trace_removal, "RETRY_SECONDS", 0.1)
    # The tests need no durability, and are quicker without.
    opened = SqlStore(SqliteEngine(tmp_path / "eta.sqlite", synchronous="OFF"), clock)
    yield opened
    opened.close()


def _place(number: int) -> str:
    return f"Depot Zimtweg {number:05d}"


def _fill(store: SqlStore) -> dict[int, str]:
    """Records shipments and events in disorder, so that pages are split; returns their ids."""
    random_ = random.Random(5)
    numbers = list(range(SHIPMENTS))
    ids = dict[int, str]()
    for number in random_.sample(numbers, SHIPMENTS):
        request = IdempotentRequest(
            TENANT,
            f"key {number}",
            "d",
            register_shipments,
            RegisterShipment(TENANT, registration(number)),
            lambda done: WriteResponse(201, done.shipment_id),
        )
        ids[number] = store.write(respond_once, request).body
    for code in random_.choices(CODES, k=8):
        reports = [
            scan(number, code, hours_ago=50 * random_.random(), place=_place(number))
            for number in random_.sample(numbers, SHIPMENTS)
        ]
        for start in range(0, SHIPMENTS, 10):
            store.write(record_events, RecordEvents(TENANT, reports[start : start + 10]))
    return ids


def _left(folder: Path, ids: dict[int, str], numbers: list[int]) -> list[str]:
    """Which ids, numbers and places are in the bytes of which file."""
    words = [word for number in numbers for word in (ids[number], f'A-{number}"', _place(number))]
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [
        f"{word} in {path.name}"
        for path, content in contents.items()
        for word in words
        if word.encode() in content
    ]


def _eventually(is_done: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_erased_shipments_are_in_no_byte_of_an_idle_store(store: SqlStore, tmp_path: Path) -> None:
    ids = _fill(store)
    erased = random.Random(6).sample(range(SHIPMENTS), 40)
    assert len(_left(tmp_path, ids, erased)) > 40
    for number in erased:
        store.write(erase_shipments, EraseShipments(TENANT, "external_id", f"A-{number}"))
    purge_all_orphaned_responses(store)
    assert _eventually(lambda: not _left(tmp_path, ids, erased)), _left(tmp_path, ids, erased)[:5]
    # Nothing else is lost, and later writes bring nothing back.
    remaining = [number for number in ids if number not in erased]
    reports = [scan(each, EventCode.DELIVERED, hours_ago=0.5, place="Depot") for each in remaining]
    for start in range(0, len(reports), 10):
        store.write(record_events, RecordEvents(TENANT, reports[start : start + 10]))
    back_up(engine_from_url(f"sqlite:{tmp_path / 'eta.sqlite'}"), tmp_path / "later.sqlite")
    assert not _left(tmp_path, ids, erased)
    histories = store.read(lambda session: session.events(TENANT, list(ids.values())))
    shipments = store.read(lambda session: session.all_shipments(TENANT))
    assert {shipment.shipment_id for shipment in shipments} == {ids[each] for each in remaining}
    assert not {event.event_owner for event in histories} & {ids[number] for number in erased}
    assert _reader(tmp_path).execute("PRAGMA integrity_check") == [("ok",)]


def _reader(folder: Path) -> Connection:
    return SqliteEngine(folder / "eta.sqlite").reader()


def test_a_reader_delays_the_removal_and_does_not_prevent_it(
    store: SqlStore, tmp_path: Path
) -> None:
    ids = _fill(store)
    reader = _reader(tmp_path)
    reader.begin(writes=False)
    reader.execute("SELECT count(*) FROM events")
    store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-7"))
    purge_all_orphaned_responses(store)
    assert not _eventually(lambda: not _left(tmp_path, ids, [7]), seconds=1.0)
    # Writes go on meanwhile.
    store.write(record_events, RecordEvents(TENANT, [scan(1, EventCode.DELIVERED, hours_ago=1)]))
    reader.rollback()
    assert _eventually(lambda: not _left(tmp_path, ids, [7]))
    reader.close()


def test_closing_a_store_removes_the_traces(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_removal, "TRACES_SECONDS", 3_600.0)
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock) as store:
        ids = _fill(store)
        store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-7"))
        purge_all_orphaned_responses(store)
    assert not _left(tmp_path, ids, [7])


def test_traces_of_a_process_that_was_killed_are_removed_at_the_next_start(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    with monkeypatch.context() as patch, opened_store(url, clock) as store:
        patch.setattr(trace_removal.TraceRemoval, "finish", lambda *_: None)
        ids = _fill(store)
        store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-7"))
        purge_all_orphaned_responses(store)
        store.close()
    monkeypatch.setattr(trace_removal, "TRACES_SECONDS", 0.1)
    with opened_store(url, clock):
        assert _eventually(lambda: not _left(tmp_path, ids, [7]))


def test_retention_leaves_no_traces(store: SqlStore, tmp_path: Path, clock: Clock) -> None:
    ids = _fill(store)
    clock.pass_hours(100)
    reports = [scan(number, hours_ago=-99.0) for number in range(0, SHIPMENTS, 2)]
    store.write(record_events, RecordEvents(TENANT, reports))
    assert store.write(purge_expired, Retention(50 * 3_600_000_000)) == SHIPMENTS // 2
    odd = list(range(1, SHIPMENTS, 2))
    assert _eventually(lambda: not _left(tmp_path, ids, odd)), _left(tmp_path, ids, odd)[:5]


def test_retention_of_quarantined_events_leaves_no_traces(
    store: SqlStore, tmp_path: Path, clock: Clock
) -> None:
    report = scan(7, hours_ago=20_000.0, place=_place(7))
    store.write(record_events, RecordEvents(TENANT, [report]))
    assert _left(tmp_path, {7: "shp_none"}, [7])
    clock.pass_hours(100)
    store.write(purge_expired, Retention(50 * 3_600_000_000))
    assert _eventually(lambda: not _left(tmp_path, {7: "shp_none"}, [7]))


def test_responses_that_name_an_erased_shipment_are_deleted(durable_url: str, clock: Clock) -> None:
    with opened_store(durable_url, clock) as store:
        ids = _fill(store)
        store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-7"))
        purge_all_orphaned_responses(store)
        responses = store.read(lambda session: session.responses_after("", "", 1_000))
    assert {body for _, _, body in responses} == set(ids.values()) - {ids[7]}


@pytest.fixture
def postgres_url(tmp_path: Path, postgres: Callable[[], str]) -> Iterator[str]:
    require_postgres()
    with fresh_url("postgresql", tmp_path, postgres) as url:
        yield url


def test_postgresql_vacuums_deleted_rows(
    postgres_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_removal, "TRACES_SECONDS", 0.1)
    monkeypatch.setattr(trace_removal, "RETRY_SECONDS", 0.1)
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def dead_rows() -> int:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
            [row] = connection.execute("SELECT dead_tuple_count FROM pgstattuple('events')")
            return int(row[0])

        with opened_store(postgres_url, clock) as store:
            _fill(store)
            connection.execute("ALTER TABLE events SET (autovacuum_enabled = false)")
            for number in range(50):
                store.write(erase_shipments, EraseShipments(TENANT, "external_id", f"A-{number}"))
            assert _eventually(lambda: dead_rows() == 0)
