"""Stores of every kind, and shipments and events to record in them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eta.domain.registration import Registration
from eta.domain.shipment import Place, Shipment
from eta.domain.vocabulary import EventCode
from eta.service.tracking.read_shipments import ShipmentHistory, shipment_histories
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
from eta.store.session import Session
from eta.store.store import SqlStore, open_store
from support.postgres import programs

KINDS = ("memory", "sqlite", "postgresql")
TENANT = "shop"
NOW = datetime(2026, 5, 20, 8, tzinfo=UTC)


class Clock:
    """A clock that shows a fixed time until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_hours(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


class Machine(Clock):
    """A wall clock that can be set, and a steady clock that cannot; time passes on both."""

    def __init__(self, now: datetime = NOW) -> None:
        super().__init__(now)
        self.steady_seconds = 0.0

    def steady(self) -> float:
        return self.steady_seconds

    def pass_hours(self, hours: float) -> None:
        super().pass_hours(hours)
        self.steady_seconds += hours * 3_600

    def set_clock(self, *, ahead: timedelta) -> None:
        """Sets the wall clock ahead, or back if negative, while no time passes."""
        self.now += ahead


def require_postgres() -> None:
    """Skips the test if PostgreSQL is not installed; fails it in CI."""
    if programs() is None:
        assert not os.environ.get("CI"), "PostgreSQL is not installed: apt-get install postgresql"
        pytest.skip("needs PostgreSQL: apt-get install postgresql")


@contextmanager
def fresh_url(kind: str, folder: Path, server: Callable[[], str]) -> Iterator[str]:
    """Yields the URL of an empty store of a kind."""
    if kind != "postgresql":
        yield "memory:" if kind == "memory" else f"sqlite:{folder / 'eta.sqlite'}"
        return
    name, address = f"eta_{uuid.uuid4().hex}", server()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield address.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def opened_store(url: str, clock: Clock) -> Iterator[SqlStore]:
    store = open_store(url, clock)
    try:
        yield store
    finally:
        store.close()


def registration(number: int, **attributes: object) -> Registration:
    """Returns the registration of a shipment from Vienna to Dornbirn, ordered three days ago."""
    values: dict[str, Any] = {
        "shipment_id": "",
        "order_id": f"A-{number}",
        "origin": Place(country="AT", region="9"),
        "destination": Place(country="AT", region="8"),
        "ordered_at": NOW - timedelta(days=3),
        "carrier": "post",
        **attributes,
    }
    shipment = Shipment(**values)
    return Registration(
        shipment=shipment, external_id=f"A-{number}", tracking_number=f"{number:08d}"
    )


def register(
    store: SqlStore, registration_: Registration, tenant: str = TENANT
) -> RegisteredShipment:
    return store.write(register_shipments, RegisterShipment(tenant, registration_))


def scan(
    number: int,
    code: EventCode = EventCode.ACCEPTED,
    *,
    hours_ago: float = 24.0,
    carrier: str = "post",
    place: str | None = None,
) -> EventReport:
    """Returns a report of an event of a carrier's number."""
    return EventReport(
        event_code=code,
        carrier=carrier,
        tracking_number=f"{number:08d}",
        occurred_at=NOW - timedelta(hours=hours_ago),
        place=place,
    )


def record(store: SqlStore, *reports: EventReport, tenant: str = TENANT) -> list[EventOutcome]:
    outcomes = store.write(record_events, RecordEvents(tenant, reports))
    assert all(isinstance(outcome, EventOutcome) for outcome in outcomes)
    return outcomes  # type: ignore[return-value]  # checked


def shipment_history(
    store: SqlStore, shipment_id: str, as_of: datetime | None = None, tenant: str = TENANT
) -> ShipmentHistory | None:
    """Returns the history of a shipment as of a moment, by default as of now."""
    at = as_of or store.safe_now()

    def read(session: Session) -> list[ShipmentHistory]:
        shipments = session.shipments(tenant, "shipment_id", [shipment_id])
        return shipment_histories(session, tenant, shipments, at)

    histories = store.read(read)
    return histories[0] if histories else None
