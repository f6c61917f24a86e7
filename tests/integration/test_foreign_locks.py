"""A lock that another program holds on the database delays no request for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import apsw
import psycopg
import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.cli.inputs import read_store
from eta.domain.access import DEFAULT_TENANT
from eta.domain.errors import StoreBlocked
from eta.settings import Settings
from eta.store.store import open_store
from support.store import (
    Clock,
    fresh_url,
    opened_store,
    record,
    register,
    registration,
    require_postgres,
    scan,
    shipment_history,
)

pytestmark = pytest.mark.xdist_group("stores")

#: Seconds in which every request must be answered.
LIMIT = 5.0
PLACE = {"country": "AT"}
SHIPMENT = {
    "external_id": "A-1",
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-18T10:00:00Z",
}
EVENT = {"external_id": "A-1", "event_code": "sorted", "occurred_at": "2026-05-19T10:00:00Z"}


@contextmanager
def foreign_lock(url: str, tables: str = "events") -> Iterator[None]:
    """Holds a lock on a database as another program would."""
    if url.startswith("sqlite:"):
        with closing(apsw.Connection(url.removeprefix("sqlite:"))) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.fixture
def client(durable_url: str, tmp_path: Path, clock: Clock) -> Iterator[TestClient]:
    settings = Settings(models=tmp_path / "models", is_demo=True, database_url=durable_url)
    with TestClient(create_app(settings, clock=clock), base_url="http://127.0.0.1") as client:
        assert client.post("/v1/shipments", json=SHIPMENT).status_code == 201
        assert client.post("/v1/events", json={"events": [EVENT]}).status_code == 200
        assert client.get("/v1/shipments", params={"external_ids": "A-1"}).status_code == 200
        yield client


@pytest.mark.parametrize("tables", ["events", "clock, shipments, states"])
def test_requests_are_refused_within_seconds(
    client: TestClient, durable_url: str, tables: str
) -> None:
    def send(number: int) -> tuple[int, str | None, float]:
        event = {**EVENT, "place": str(number)}
        began = monotonic()
        if number % 3 == 2:
            response = client.get("/v1/shipments", params={"external_ids": "A-1"})
        else:
            response = client.post("/v1/events", json={"events": [event]})
        return response.status_code, response.headers.get("Retry-After"), monotonic() - began

    with foreign_lock(durable_url, tables), ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(24)))
        began = monotonic()
        # An empty write succeeds if the table of the clock is not locked.
        assert client.get("/readyz").status_code in (200, 503)
        assert monotonic() - began < LIMIT
    is_sqlite = durable_url.startswith("sqlite:")
    for number, (status, retry_after, seconds) in enumerate(answers):
        assert seconds < LIMIT, answers
        # Readers of SQLite do not wait for a writer.
        expected = 200 if is_sqlite and number % 3 == 2 else 503
        assert status == expected, answers
        assert (retry_after is None) == (status == 200), answers
    assert client.post("/v1/events", json={"events": [EVENT]}).status_code == 200


def test_a_store_says_that_it_is_blocked(durable_url: str, clock: Clock) -> None:
    with opened_store(durable_url, clock) as store:
        shipment_id = register(store, registration(1)).shipment_id
        with foreign_lock(durable_url):
            began = monotonic()
            with pytest.raises(StoreBlocked, match="lock"):
                record(store, scan(1))
            assert monotonic() - began < LIMIT / 2
        record(store, scan(1))
        assert shipment_history(store, shipment_id)


def test_commands_that_write_say_that_the_database_is_locked(
    durable_url: str, clock: Clock
) -> None:
    open_store(durable_url, clock).close()
    with foreign_lock(durable_url, "clock"):
        began = monotonic()
        with pytest.raises(StoreBlocked, match="Another program holds a lock"):
            open_store(durable_url, clock)
        assert monotonic() - began < LIMIT
    open_store(durable_url, clock).close()


def test_commands_that_read_say_that_the_database_is_locked(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with fresh_url("postgresql", tmp_path, postgres) as url:
        open_store(url, clock).close()
        settings = Settings(models=tmp_path / "models", is_demo=True, database_url=url)
        with foreign_lock(url, "shipments"), pytest.raises(StoreBlocked, match="lock"):
            read_store(settings, DEFAULT_TENANT)
