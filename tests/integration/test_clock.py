"""Clocks that are wrong for a while: nothing gets a wrong time, and nothing is erased early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from eta.calendars.local_time import microseconds
from eta.domain.errors import ClockRefused
from eta.domain.vocabulary import EventCode
from eta.service.storage.idempotency import IdempotentRequest, WriteResponse, respond_once
from eta.service.storage.retention import Retention, purge_expired
from eta.service.tracking.record_events import RecordingStatus
from eta.service.tracking.register_shipments import RegisterShipment, register_shipments
from eta.store.clock_guard import ClockGuard
from eta.store.session import Session
from eta.store.store import SqlStore, open_store
from support.postgres import SettableClock
from support.store import (
    NOW,
    TENANT,
    Machine,
    fresh_url,
    record,
    register,
    registration,
    require_postgres,
    scan,
    shipment_history,
)

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
JUMPS = (61 * SECOND, 400 * DAY)


class Service(Machine):
    """A service that can be restarted, on a machine whose clock can be set.

    On PostgreSQL the database's clock shows the same, unless it is set apart.
    """

    def __init__(self, url: str, database: SettableClock | None) -> None:
        super().__init__()
        self.url, self._database = url, database
        self._show()
        self.store = self._open()

    def _open(self) -> SqlStore:
        return open_store(self.url, self, ClockGuard(self.steady, max_idle_days=14))

    def restart(self, *, after: timedelta = timedelta(0), ahead: timedelta = timedelta(0)) -> None:
        self.store.close()
        self.pass_hours(after / HOUR)
        self.set_clock(ahead=ahead)
        self.store = self._open()

    def pass_hours(self, hours: float) -> None:
        super().pass_hours(hours)
        self._show()

    def set_clock(self, *, ahead: timedelta) -> None:
        super().set_clock(ahead=ahead)
        self._show()

    def set_clock_of_machine_alone(self, *, ahead: timedelta) -> None:
        super().set_clock(ahead=ahead)

    def _show(self) -> None:
        if self._database:
            self._database.set(self.now)

    def registered(self, number: int = 1) -> str:
        return register(self.store, registration(number)).shipment_id

    def shipments(self) -> int:
        return len(self.store.read(lambda session: session.all_shipments(TENANT)))

    def run_for(self, hours: float) -> None:
        """Lets time pass; the service writes at both ends."""
        self.store.write(purge_expired, Retention(None))
        self.pass_hours(hours)
        self.store.write(purge_expired, Retention(None))


@pytest.fixture(params=("memory", "sqlite", "postgresql"))
def service(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[Service]:
    """A new service, with a store of each kind in turn."""
    if request.param == "postgresql":
        require_postgres()
    with fresh_url(request.param, tmp_path, postgres) as url:
        database = SettableClock(url) if request.param == "postgresql" else None
        opened = Service(database.url if database else url, database)
        yield opened
        opened.store.close()
        if database:
            database.close()


durable = pytest.mark.parametrize("service", ["sqlite", "postgresql"], indirect=True)
on_postgres = pytest.mark.parametrize("service", ["postgresql"], indirect=True)


@pytest.mark.parametrize("ahead", JUMPS)
def test_writes_are_refused_while_the_clock_is_ahead(service: Service, ahead: timedelta) -> None:
    shipment_id = service.registered()
    service.set_clock(ahead=ahead)
    for _ in range(2):
        with pytest.raises(ClockRefused, match="2026-05-20T08:00:00Z"):
            service.registered(2)
        assert service.store.clock_reading.is_refused
        assert service.store.now() <= NOW + SECOND
    service.pass_hours(1)
    # Answers go on, at a time that does not jump.
    assert NOW + HOUR <= service.store.safe_now() <= NOW + HOUR + SECOND
    assert shipment_history(service.store, shipment_id)
    service.set_clock(ahead=-ahead)
    service.registered(2)
    assert not service.store.clock_reading.problem
    assert service.store.safe_now() <= NOW + HOUR + SECOND


@pytest.mark.parametrize("back", JUMPS)
def test_a_clock_that_is_set_back_hurts_nobody(service: Service, back: timedelta) -> None:
    shipment_id = service.registered()
    before = service.store.safe_now()
    history = shipment_history(service.store, shipment_id, before)
    service.set_clock(ahead=-back)
    service.pass_hours(60)
    # A scan of today is neither too far in the future nor too far in the past.
    assert record(service.store, scan(1, hours_ago=-59.0))[0].status is RecordingStatus.STORED
    assert before < service.store.safe_now() <= NOW + 60 * HOUR
    assert shipment_history(service.store, shipment_id, before) == history
    service.set_clock(ahead=back)
    assert record(service.store, scan(1, EventCode.SORTED))[0].status is RecordingStatus.STORED
    now = service.store.safe_now()
    assert NOW + 60 * HOUR <= now <= NOW + 60 * HOUR + SECOND
    assert not service.store.clock_reading.problem


def test_nothing_is_recorded_before_the_start_of_an_empty_store(service: Service) -> None:
    service.set_clock(ahead=-400 * DAY)
    service.registered()
    assert service.store.safe_now() >= NOW
    service.set_clock(ahead=400 * DAY)
    week = Retention(7 * DAY // timedelta(microseconds=1))
    assert service.store.write(purge_expired, week) == 0
    service.run_for(80)
    assert service.store.write(purge_expired, week) == 0


@durable
def test_a_start_with_a_clock_years_ahead_erases_nothing(service: Service) -> None:
    shipment_id = service.registered()
    service.restart(after=SECOND * 10, ahead=401 * DAY)
    assert service.shipments() == 1
    with pytest.raises(ClockRefused, match="--accept-clock"):
        service.store.write(purge_expired, Retention(400 * DAY // timedelta(microseconds=1)))
    assert service.shipments() == 1
    assert service.store.safe_now() <= NOW + 12 * SECOND
    service.set_clock(ahead=-401 * DAY)
    record(service.store, scan(1))
    assert shipment_history(service.store, shipment_id, service.store.safe_now())
    assert service.store.safe_now() <= NOW + 12 * SECOND


@durable
def test_after_a_long_idle_time_writes_wait_for_an_operator(service: Service) -> None:
    service.registered()
    service.restart(after=13 * DAY)
    service.registered(2)
    service.restart(after=15 * DAY)
    with pytest.raises(ClockRefused):
        service.registered(3)
    service.store.accept_clock()
    service.registered(3)
    service.restart()
    service.registered(4)
    assert service.store.safe_now() >= NOW + 28 * DAY


@durable
def test_nothing_is_purged_until_the_clock_ran_for_three_days(service: Service) -> None:
    service.registered()
    week = Retention(7 * DAY // timedelta(microseconds=1))
    for _ in range(8):
        # A restart every day does not begin the time anew.
        service.run_for(24)
        service.restart(after=timedelta(minutes=5))
    service.registered(2)
    # Ten days ahead is a plausible start, yet a clock that must prove itself.
    service.restart(ahead=10 * DAY)
    for _ in range(7):
        assert service.store.write(purge_expired, week) == 0
        service.pass_hours(10)
    service.set_clock(ahead=HOUR)
    with pytest.raises(ClockRefused):
        service.store.write(purge_expired, week)
    service.set_clock(ahead=-HOUR)
    service.run_for(71)
    assert service.store.write(purge_expired, week) == 0
    service.run_for(2)
    assert service.store.write(purge_expired, week) == 2


@durable
def test_a_stored_response_outlives_a_clock_that_is_ahead(service: Service) -> None:
    request = IdempotentRequest(
        TENANT,
        "key",
        "d",
        register_shipments,
        RegisterShipment(TENANT, registration(1)),
        lambda done: WriteResponse(201, done.shipment_id),
    )
    first = service.store.write(respond_once, request)
    service.restart(ahead=10 * DAY)
    service.store.write(purge_expired, Retention(None))
    assert service.store.write(respond_once, request) == first


@on_postgres
@pytest.mark.parametrize("ahead", [61 * SECOND, -61 * SECOND, 400 * DAY])
def test_a_replica_whose_clock_is_off_refuses_to_write(service: Service, ahead: timedelta) -> None:
    shipment_id = service.registered()
    service.set_clock_of_machine_alone(ahead=ahead)
    with pytest.raises(ClockRefused, match="of the database"):
        service.registered(2)
    assert service.store.clock_reading.is_refused
    assert NOW <= service.store.safe_now() <= NOW + SECOND
    assert shipment_history(service.store, shipment_id)
    service.set_clock_of_machine_alone(ahead=-ahead)
    service.registered(2)
    assert not service.store.clock_reading.problem


@on_postgres
def test_the_clock_of_the_database_decides(service: Service) -> None:
    service.set_clock_of_machine_alone(ahead=30 * SECOND)
    commit_time = service.store.write(
        lambda session, items: [session.commit_time for _ in items], None
    )
    assert microseconds(NOW) <= commit_time <= microseconds(NOW + SECOND)


@on_postgres
def test_one_replica_accepts_the_clock_for_all(service: Service) -> None:
    service.registered()
    service.restart(after=20 * DAY)
    other = open_store(service.url, service, ClockGuard(service.steady, max_idle_days=14))
    try:
        with pytest.raises(ClockRefused):
            register(other, registration(2))
        service.store.accept_clock()
        assert other.safe_now() >= NOW + 20 * DAY
        register(other, registration(2))
    finally:
        other.close()


@on_postgres
def test_no_replica_gives_a_moment_that_another_still_writes_to(service: Service) -> None:
    other = open_store(service.url, service, ClockGuard(service.steady, max_idle_days=14))
    writes, may_finish = threading.Event(), threading.Event()

    def slow(session: Session, items: Sequence[None]) -> list[int]:
        writes.set()
        assert may_finish.wait(10)
        return [session.commit_time for _ in items]

    try:
        service.registered()
        service.pass_hours(1)
        future = service.store.submit(slow, None)
        assert writes.wait(10)
        service.pass_hours(1)
        meanwhile = max(microseconds(other.safe_now()) for _ in range(3))
        may_finish.set()
        assert meanwhile < future.result() <= microseconds(other.safe_now())
    finally:
        may_finish.set()
        other.close()


def test_times_of_answers_never_go_back(service: Service) -> None:
    moments: list[datetime] = []
    for hours in (5, -3, 0.01, 9_000, -9_000, 0.02, -400, 401):
        service.set_clock(ahead=timedelta(hours=hours))
        moments.append(service.store.safe_now())
        service.pass_hours(0.1)
        moments.append(service.store.safe_now())
    assert moments == sorted(moments)
