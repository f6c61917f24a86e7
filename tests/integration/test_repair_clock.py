"""Stamps of a wrong clock are moved to just after the last right one."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from eta.calendars.local_time import from_microseconds, microseconds
from eta.domain.vocabulary import EventCode
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.service.storage.repair_clock import repair_clock
from eta.service.tracking.forecast_history import SaveForecasts, revision_causes, save_forecasts
from eta.service.tracking.register_shipments import (
    RegisterShipment,
    UpdateShipment,
    register_shipments,
    update_shipments,
)
from eta.store.migrations import TABLES
from eta.store.queries import load_queries
from eta.store.records import StoredForecast
from eta.store.stamps import STAMPS
from eta.store.store import SqlStore, engine_from_url, open_store
from support.cli import run, run_ok
from support.store import (
    NOW,
    TENANT,
    Clock,
    opened_store,
    record,
    register,
    registration,
    scan,
    shipment_history,
)

SQL, STAMPS_SQL = load_queries("backup.sql"), load_queries("repair.sql")
DAY = timedelta(days=1)
AHEAD = 400 * DAY
#: Columns with whole numbers that are no stamps.
NO_STAMPS = {
    "events.correction_number",
    "tracking_number_uses.use_number",
    "events.occurred_at",
    "events.offset_minutes",
    "events.is_ambiguous",
    "events.is_received_at_assumed",
    "states.is_open",
    "states.ordered_at",
    "states.approved_at",
    "states.handed_over_at",
    "states.last_scan_at",
    "states.arrived_at",
    "states.abandoned_at",
    "states.scan_count",
    "states.exception_count",
    "outbox.sequence",
    "responses.status",
    "transaction_tokens.token",
}


def test_every_column_is_a_stamp_or_none(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    open_store(url, Clock()).close()
    engine = engine_from_url(url)
    connection = engine.reader()
    numbers = {
        f"{table}.{row[1]}"
        for table in (*TABLES, "transaction_tokens")
        for row in connection.execute(f"PRAGMA table_info({table})")
        if "INT" in row[2]
    }
    connection.close()
    stamps = {f"{table}.{column}" for table, columns in STAMPS.items() for column in columns}
    assert numbers == stamps | NO_STAMPS


def _assessment(version_recorded_at: int, **changes: Any) -> str:
    keys = "code status estimated_on earliest_on latest_on promise_on delay_reason model_version"
    values: dict[str, Any] = dict.fromkeys([*keys.split(), "delay_probability"])
    values |= {"delay_state": "overdue", "is_flagged": True, "scan_count": 1}
    return json.dumps({**values, "version_recorded_at": version_recorded_at, **changes})


def _write_everything(store: SqlStore, number: int) -> str:
    """Writes to every table that has stamps of a shipment."""
    request = IdempotentRequest(
        TENANT,
        f"key {number}",
        "d",
        register_shipments,
        RegisterShipment(TENANT, registration(number)),
        lambda done: WriteResponse(201, done.shipment_id),
    )
    shipment_id = store.write(respond_once, request).body
    record(store, scan(number), scan(number, hours_ago=20_000.0), scan(100 + number))
    store.write(update_shipments, UpdateShipment(TENANT, shipment_id, {"weight_kg": 2.0}))
    history = shipment_history(store, shipment_id)
    assert history
    at = microseconds(store.safe_now())
    recorded_at = history.versions[-1].recorded_at
    for place, reason in enumerate(("first", "second")):
        text = _assessment(recorded_at, delay_reason=reason, delay_state=reason)
        forecast = StoredForecast(shipment_id, at + place, None, text)
        store.write(save_forecasts, SaveForecasts(TENANT, [forecast]))
    return shipment_id


def _dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with closing(engine_from_url(url)) as engine, closing(engine.reader()) as connection:
        return {
            table: sorted(connection.execute(SQL["read_rows"].format(table=table)), key=repr)
            for table in TABLES
        }


def _stamps(url: str) -> set[int]:
    with closing(engine_from_url(url)) as engine, closing(engine.reader()) as connection:
        queries = [
            STAMPS_SQL["stamps_after"].format(table=table, column=column)
            for table, columns in STAMPS.items()
            for column in columns
        ]
        return {row[0] for query in queries for row in connection.execute(query, 0)}


def test_stamps_later_than_now_move_to_just_after_the_last_right_one(durable_url: str) -> None:
    clock = Clock()
    with opened_store(durable_url, clock) as store:
        right_id = _write_everything(store, 1)
        before = _dump(durable_url)
        clock.now += AHEAD
        wrong_id = _write_everything(store, 2)
        record(store, scan(1, EventCode.SORTED))
        clock.now += DAY - AHEAD
        after, stamps = _dump(durable_url), _stamps(durable_url)
        last_right = max(stamp for stamp in stamps if stamp <= microseconds(clock.now))
    assert repair_clock(engine_from_url(durable_url), clock.now, dry_run=True).moves
    with opened_store(durable_url, clock) as store:
        assert _dump(durable_url) == after
    repair_clock(engine_from_url(durable_url), clock.now, dry_run=False)
    with opened_store(durable_url, clock) as store:
        repaired = _stamps(durable_url)
        # All are different, in their order, and a microsecond apart.
        assert len(repaired) == len(stamps)
        assert max(repaired) - last_right == len([each for each in stamps if each > last_right])
        assert store.safe_now() <= clock.now + timedelta(seconds=1)
        assert set(before["events"]) <= set(_dump(durable_url)["events"])
        history = shipment_history(store, right_id, from_microseconds(last_right))
        assert history
        assert history.state.scan_count == 2
        history = shipment_history(store, wrong_id)
        assert history
        assert len(history.versions) == 2
        assert revision_causes(history.forecasts) == ["created", "time"]
        assert (
            history.forecasts[0].as_of
            >= json.loads(history.forecasts[0].assessment)["version_recorded_at"]
            == history.versions[-1].recorded_at
        )
        register(store, registration(3))
    assert not repair_clock(engine_from_url(durable_url), clock.now + DAY, dry_run=False).moves


def test_a_store_written_by_a_wrong_clock_alone_is_repaired(durable_url: str) -> None:
    with opened_store(durable_url, Clock(NOW + AHEAD)) as store:
        shipment_id = _write_everything(store, 1)
    repair_clock(engine_from_url(durable_url), NOW, dry_run=False)
    with opened_store(durable_url, Clock(NOW)) as store:
        assert max(_stamps(durable_url)) <= microseconds(NOW)
        assert min(_stamps(durable_url)) > microseconds(NOW - timedelta(seconds=1))
        assert shipment_history(store, shipment_id)


def test_the_command_says_what_it_moves(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", Clock(NOW + 3_650 * DAY)) as store:
        register(store, registration(1))
    assert "add --clock" in run("repair", models=models).err
    printed = " ".join(run_ok("repair", "--clock", "--dry-run", models=models).split())
    assert "1 shipments.created_at" in printed
    assert "would move 1 times of 2036-05-17T08:00:00+00:00" in printed
    assert "moved 1 times" in " ".join(run_ok("repair", "--clock", models=models).split())
    assert "no time is later" in run_ok("repair", "--clock", models=models)
