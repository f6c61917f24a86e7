"""A store that the code of November 2026 filled has the same contents for today's code."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.calendars.local_time import microseconds
from eta.domain.access import DEFAULT_TENANT
from eta.service.storage.backup import restore
from eta.service.tracking.read_shipments import shipment_histories
from eta.settings import Settings
from eta.store import postgres as postgres_module
from eta.store.engine import Row
from eta.store.migrations import MIGRATIONS, migrate
from eta.store.postgres import PostgresEngine
from eta.store.session import Session
from eta.store.store import SqlStore, engine_from_url
from support.model_app import fixed
from support.store import Clock, fresh_url, opened_store, require_postgres

pytestmark = pytest.mark.xdist_group("stores")

FILES = Path(__file__).parents[1] / "golden" / "store"
#: What the code of November answered; `make_november.py.txt` in the same folder says how.
EXPECTED: dict[str, Any] = json.loads((FILES / "november.json").read_text(encoding="utf-8"))
NOW = datetime.fromisoformat(EXPECTED["now"])
#: The tables of the first migration, in an order in which they can be filled.
TABLES_OF_NOVEMBER = (
    "shipments",
    "trackings",
    "shipment_versions",
    "events",
    "states",
    "forecasts",
    "estimates",
    "flags",
    "outbox",
    "replies",
    "quarantine",
)
#: Columns of November and their names today.
RENAMED_COLUMNS = {
    "tracking": "number_use_id",
    "facts": "attributes",
    "known_at": "recorded_at",
    "subject": "event_owner",
    "given_up_at": "abandoned_at",
    "answer": "assessment",
}
#: Columns that hold JSON, by their names today, with the keys that were renamed in it.
RENAMED_KEYS = {
    "attributes": {},
    "assessment": {"version_known_at": "version_recorded_at"},
    "content": {"subject": "event_owner"},
}


def november_file(file: Path) -> Path:
    """Writes the SQLite file of the store as the code of November left it."""
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute((FILES / "november.sql").read_text(encoding="utf-8"))
    return file


def november_backup(file: Path) -> Path:
    """Writes the file that `eta backup` of November made."""
    file.write_bytes(gzip.decompress((FILES / "november_backup.sqlite.gz").read_bytes()))
    return file


def fill_first_migration(url: str, file: Path) -> None:
    """Fills an empty database with the rows and tables of a SQLite file of November."""
    engine = engine_from_url(url)
    with closing(apsw.Connection(str(file))) as source, closing(engine.writer()) as target:
        migrate(target, engine, MIGRATIONS[:1])
        clock = source.execute("SELECT known_through, number, secret FROM clock").fetchall()
        target.execute_many("UPDATE clock SET known_through = ?, number = ?, secret = ?", clock)
        for table in TABLES_OF_NOVEMBER:
            rows: list[Row] = source.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # names of ours
            marks = ", ".join("?" * len(rows[0]))
            target.execute_many(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608  # names of ours


@pytest.fixture(
    params=["sqlite", "postgresql", "sqlite from the backup", "postgresql from the backup"]
)
def november_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[str]:
    """The URL of November's store, of each kind, as it was and restored from a backup."""
    kind, _, is_restored = request.param.partition(" ")
    if kind == "postgresql":
        require_postgres()
    with fresh_url(kind, tmp_path, postgres) as url:
        if is_restored:
            restore(engine_from_url(url), november_backup(tmp_path / "backup.sqlite"))
        elif kind == "sqlite":
            november_file(tmp_path / "eta.sqlite")
        else:
            fill_first_migration(url, november_file(tmp_path / "november.sqlite"))
        yield url


@pytest.fixture
def november(november_url: str) -> Iterator[SqlStore]:
    with opened_store(november_url, Clock(NOW)) as store:
        yield store


def renamed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of November with today's names; JSON in it is parsed."""
    named = {RENAMED_COLUMNS.get(name, name): value for name, value in row.items()}
    for column, keys in RENAMED_KEYS.items():
        if column in named:
            content = json.loads(named[column])
            named[column] = {keys.get(key, key): value for key, value in content.items()}
    if "assessment" in named:
        # A withdrawn flag was a state, and three states raised one.
        state = named["assessment"]["delay_state"]
        named["assessment"]["is_flagged"] = state in ("predicted_late", "stalled", "overdue")
        if state == "cleared":
            named["assessment"]["delay_state"] = "on_track"
    return named


def parsed(row: Any) -> dict[str, Any]:
    """A row of today's store by name; JSON in it is parsed."""
    named: dict[str, Any] = row._asdict()
    for column in RENAMED_KEYS.keys() & named.keys():
        named[column] = json.loads(named[column])
    return named


def same_event(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what came after November: its present id, and whether it is corrected."""
    added = {"event_id", "correction_number", "corrected"}
    return {name: value for name, value in event.items() if name not in added}


def histories(session: Session, at: datetime) -> dict[str, Any]:
    shipments = session.all_shipments(DEFAULT_TENANT)
    return {
        history.stored.shipment_id: {
            "stored": parsed(history.stored),
            "state": parsed(history.state),
            "events": [same_event(parsed(event)) for event in history.events],
            "versions": [parsed(version) for version in history.versions],
            "forecasts": [parsed(forecast) for forecast in history.forecasts],
            "flags": [parsed(flag) for flag in history.flags],
        }
        for history in shipment_histories(session, DEFAULT_TENANT, shipments, at)
    }


def test_histories_are_the_same_at_each_moment(november: SqlStore) -> None:
    assert len(EXPECTED["histories"]) >= 5
    for at, expected in EXPECTED["histories"].items():
        with november.snapshot() as session:
            actual = histories(session, datetime.fromisoformat(at))
        expected_histories: dict[str, Any] = {
            shipment_id: {
                name: renamed(part) if isinstance(part, dict) else [renamed(row) for row in part]
                for name, part in history.items()
            }
            for shipment_id, history in expected.items()
        }
        for history in expected_histories.values():
            history["events"] = list(map(same_event, history["events"]))
        # In November the end of a flag was shown before it was known.
        flags = [flag for history in expected_histories.values() for flag in history["flags"]]
        for flag in flags:
            if flag["ended_at"] and flag["ended_at"] > microseconds(datetime.fromisoformat(at)):
                flag["ended_at"] = None
        assert actual == expected_histories, at


def test_every_other_row_is_the_same(november: SqlStore) -> None:
    with november.snapshot() as session:
        assert session.counts(DEFAULT_TENANT) == EXPECTED["counts"]
        quarantined = session.quarantined(DEFAULT_TENANT, "", 100)
        rows = [same_event(parsed(row)) for row in quarantined]
        expected_rows = [same_event(renamed(row)) for row in EXPECTED["quarantined"]]
        for row in (*rows, *expected_rows):
            row["content"] = same_event(row["content"])
        assert rows == expected_rows
        assert [list(row) for row in session.outbox(DEFAULT_TENANT)] == EXPECTED["outbox"]
        estimate = session.estimate(DEFAULT_TENANT, EXPECTED["estimate_id"])
    assert estimate
    assert json.loads(estimate) == renamed_answer(EXPECTED["estimate"])


#: Values and keys of the HTTP contract of November and their names today.
RENAMED_OBJECTS = {"Estimate": "estimate", "Shipment": "shipment"}
RENAMED_CAUSES = {"first": "created", "scan": "event", "correction": "update"}
RENAMED_CONTRACT_KEYS = {"is_ours": "is_proposed", "known_at": "recorded_at"}


def renamed_answer(value: Any) -> Any:
    """An answer of November with the names of today's HTTP contract."""
    if isinstance(value, list):
        return [renamed_answer(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    answer = {
        RENAMED_CONTRACT_KEYS.get(key, key): renamed_answer(entry) for key, entry in value.items()
    }
    if "object" in answer:
        answer["object"] = RENAMED_OBJECTS[answer["object"]]
    if "cause" in answer:
        answer["cause"] = RENAMED_CAUSES.get(answer["cause"], answer["cause"])
    return answer


def without_added_keys(shipment: dict[str, Any]) -> dict[str, Any]:
    """A shipment without the keys, its own and those of its forecast, that came after November."""
    forecast = dict(shipment["forecast"])
    delay = dict(forecast["delay"])
    flag = delay.pop("flag")
    open_flags = [flag for flag in shipment["flags"] if flag["ended_at"] is None]
    assert flag["raised"] == bool(open_flags)
    assert (flag["first_flagged_at"] is None) == (not shipment["flags"])
    is_delivered = forecast["status"] == "delivered"
    assert (forecast.pop("first_attempt_date") is not None) == is_delivered
    # Today an old model is degraded; in November only a missing one was.
    forecast["degraded"] = False
    journey = [same_event(event) for event in shipment["journey"]]
    before = {**shipment, "journey": journey, "forecast": {**forecast, "delay": delay}}
    del before["messages"]
    return before


def test_a_stored_response_is_that_of_the_same_request(november: SqlStore) -> None:
    reply = EXPECTED["reply"]
    with november.snapshot() as session:
        stored = session.responses(DEFAULT_TENANT, [reply["key"]])[reply["key"]]
    assert (stored.status, stored.body) == (reply["status"], reply["body"])
    # The service deletes it later, as its shipment was deleted.
    request = b"POST\n/v1/shipments\n" + reply["request"].encode()
    assert stored.digest == hashlib.sha256(request).hexdigest()


def test_the_api_answers_as_before_and_goes_on(november_url: str, tmp_path: Path) -> None:
    settings = Settings(models=tmp_path / "models", is_demo=True, database_url=november_url)
    app = create_app(settings, clock=Clock(NOW))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        app.state.resources.model_loader.current = fixed(400)
        for at, expected in EXPECTED["shipments"].items():
            params = {"ids": ",".join(expected), "as_of": at}
            answer = client.get("/v1/shipments", params=params)
            shipments = {
                shipment["id"]: without_added_keys(shipment)
                for shipment in answer.json()["results"]
            }
            expected_shipments = renamed_answer(expected)
            for shipment in expected_shipments.values():
                shipment["journey"] = list(map(same_event, shipment["journey"]))
            assert shipments == expected_shipments, at
        quarantined = client.get("/v1/quarantine").json()["results"]
        assert list(map(same_event, quarantined)) == list(map(same_event, EXPECTED["quarantine"]))
        # Today's code writes to the store and derives flags and forecasts from what is there.
        delivered = {
            "external_id": "A-4",
            "event_code": "delivered",
            "occurred_at": "2026-09-02T20:30:00Z",
        }
        [result] = client.post("/v1/events", json={"events": [delivered]}).json()["results"]
        assert result["status"] == "stored"
        shipment = client.get(f"/v1/shipments/{result['shipment_id']}").json()
    assert shipment["forecast"]["status"] == "delivered"
    assert [flag["ended_at"] is None for flag in shipment["flags"]] == [False, False]
    assert [revision["cause"] for revision in shipment["revisions"]][-1] == "event"


def test_a_migration_on_postgresql_has_no_time_limit(
    postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_postgres()
    monkeypatch.setattr(postgres_module, "_STATEMENT_TIMEOUT_SECONDS", 0.1)
    slow = "SELECT pg_sleep(0.3)"
    with fresh_url("postgresql", tmp_path, postgres) as url:
        engine = engine_from_url(url)
        with closing(engine.writer()) as connection:
            migrate(connection, engine, [(slow,)])
            # The limit is back once the migration is over.
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute(slow)


def test_a_process_waits_for_the_migration_of_another_one(
    postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_postgres()
    monkeypatch.setattr(postgres_module, "_STATEMENT_TIMEOUT_SECONDS", 0.1)
    with fresh_url("postgresql", tmp_path, postgres) as url, psycopg.connect(url) as other:
        [lock] = [text for text in PostgresEngine.migration_setup if "advisory" in text]
        other.execute(lock)
        engine = engine_from_url(url)
        with closing(engine.writer()) as connection:
            connection.execute("SET lock_timeout = '0.1s'")
            timer = threading.Timer(0.4, other.rollback)
            timer.start()
            migrate(connection, engine)
            timer.join()
