"""The contract of every store: acknowledged rows are durable, unique and dated."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import psycopg
import pytest

from eta.calendars.local_time import microseconds
from eta.domain.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidValue,
    NotFound,
    ShipmentConflict,
    StoreBusy,
    StoreLocked,
    StoreRejected,
    StoreUnavailable,
)
from eta.domain.vocabulary import EventCode
from eta.service.estimates.estimate_delivery import SaveEstimate, save_estimates
from eta.service.storage.backup import back_up, restore
from eta.service.storage.export import export_store
from eta.service.storage.idempotency import (
    RESPONSE_LIFETIME,
    IdempotentRequest,
    WriteResponse,
    respond_once,
)
from eta.service.storage.retention import EraseShipments, Retention, erase_shipments, purge_expired
from eta.service.tracking import read_shipments as reading
from eta.service.tracking import record_events as recording
from eta.service.tracking.forecast_history import SaveForecasts, save_forecasts
from eta.service.tracking.read_shipments import PageQuery, page_of_histories
from eta.service.tracking.record_events import (
    EventOutcome,
    EventReport,
    RecordEvents,
    RecordingStatus,
    record_events,
)
from eta.service.tracking.register_shipments import (
    RegisterShipment,
    UpdateShipment,
    register_shipments,
    update_shipments,
)
from eta.service.tracking.shipment_states import compute_states
from eta.store import store as stores
from eta.store.engine import Connection
from eta.store.migrations import MIGRATIONS, TABLES, check_migrated, migrate
from eta.store.records import StoredForecast
from eta.store.session import Session
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore, engine_from_url, open_store
from support.store import (
    NOW,
    TENANT,
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

JOURNEY = (
    (EventCode.ACCEPTED, 60.0),
    (EventCode.ARRIVED_AT_FACILITY, 50.0),
    (EventCode.SORTED, 49.0),
    (EventCode.OUT_FOR_DELIVERY, 6.0),
    (EventCode.DELIVERED, 3.0),
)


def dump(store: SqlStore) -> dict[str, list[str]]:
    with store.snapshot() as session:
        return {
            table: sorted(map(repr, session._connection.execute(f"SELECT * FROM {table}")))  # noqa: S608, SLF001  # type: ignore[misc]
            for table in TABLES
        }


def status(store: SqlStore, shipment_id: str) -> str | None:
    return store.read(lambda session: session.statuses(TENANT, [shipment_id])).get(shipment_id)


def test_a_repeated_event_is_stored_once(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    first, again = record(store, scan(1)), record(store, scan(1))
    assert [outcome.status for outcome in (*first, *again)] == [
        RecordingStatus.STORED,
        RecordingStatus.DUPLICATE,
    ]
    assert first[0].event_id == again[0].event_id
    twice = record(store, scan(1, EventCode.SORTED), scan(1, EventCode.SORTED))
    assert [outcome.status for outcome in twice] == [
        RecordingStatus.STORED,
        RecordingStatus.DUPLICATE,
    ]
    history = shipment_history(store, shipment_id)
    assert history
    assert [event.event_code for event in history.events] == ["order_created", "accepted", "sorted"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_receipt_does_not_change_the_status(store: SqlStore, seed: int) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    reports = [scan(1, code, hours_ago=hours) for code, hours in JOURNEY]
    random.Random(seed).shuffle(reports)
    for report in reports:
        record(store, report)
    assert status(store, shipment_id) == "delivered"


def test_events_received_before_registration_count(store: SqlStore) -> None:
    [early] = record(store, scan(1, EventCode.OUT_FOR_DELIVERY))
    assert early.shipment_id is None
    shipment_id = register(store, registration(1)).shipment_id
    assert status(store, shipment_id) == "out_for_delivery"
    assert record(store, scan(1, EventCode.OUT_FOR_DELIVERY))[0] == EventOutcome(
        RecordingStatus.DUPLICATE, early.event_id, shipment_id
    )


def test_an_event_of_no_shipment_is_rejected_alone(store: SqlStore) -> None:
    register(store, registration(1))
    orphan = EventReport(event_code=EventCode.SORTED, external_id="nobody's", occurred_at=NOW)
    outcomes = store.write(record_events, RecordEvents(TENANT, [orphan, scan(1)]))
    assert isinstance(outcomes[0], NotFound)
    assert isinstance(outcomes[1], EventOutcome)


def test_a_shipment_is_registered_once(store: SqlStore) -> None:
    first = register(store, registration(1))
    assert first.created
    assert register(store, registration(1)) == replace(first, created=False)
    by_number = replace(registration(1), external_id=None)
    with pytest.raises(Conflict, match="external_id"):
        register(store, by_number)
    with pytest.raises(ShipmentConflict) as conflict:
        register(store, registration(1, weight_kg=2.0))
    assert conflict.value.fields == ["weight_kg"]
    with pytest.raises(InvalidValue, match="48 hours"):
        register(store, registration(5, ordered_at=NOW + timedelta(hours=49)))
    without_external_id = register(store, replace(registration(2), external_id=None))
    assert (
        register(
            store, replace(registration(2), external_id=None, tracking_number="0000 0002")
        ).shipment_id
        == without_external_id.shipment_id
    )


def test_a_number_registered_again_after_months_is_another_parcel(
    store: SqlStore, clock: Clock
) -> None:
    old = register(store, replace(registration(1), external_id=None)).shipment_id
    record(store, scan(1, EventCode.DELIVERED))
    clock.pass_hours(93 * 24)
    new = register(
        store, replace(registration(1, ordered_at=clock.now), external_id=None)
    ).shipment_id
    assert new != old
    assert status(store, new) == "pre_transit"
    record(store, replace(scan(1), occurred_at=clock.now))
    assert (status(store, old), status(store, new)) == ("delivered", "in_transit")


def test_an_event_of_a_reused_number_belongs_to_the_new_parcel(
    store: SqlStore, clock: Clock
) -> None:
    old = register(store, registration(1)).shipment_id
    record(store, scan(1, EventCode.DELIVERED))
    clock.pass_hours(100 * 24)
    fresh = replace(scan(1), occurred_at=clock.now)
    # An event before the new shipment is registered, and the last event of the old one again.
    assert [
        outcome.shipment_id for outcome in record(store, fresh, scan(1, EventCode.DELIVERED))
    ] == [None, old]
    new = register(
        store, replace(registration(1, ordered_at=clock.now), external_id="A-2")
    ).shipment_id
    assert (status(store, old), status(store, new)) == ("delivered", "in_transit")
    again = record(store, scan(1, EventCode.DELIVERED), fresh)
    assert [(outcome.status, outcome.shipment_id) for outcome in again] == [
        (RecordingStatus.DUPLICATE, old),
        (RecordingStatus.DUPLICATE, new),
    ]


def test_an_open_shipment_holds_its_number_beyond_the_reuse_period(
    store: SqlStore, clock: Clock
) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    clock.pass_hours(100 * 24)
    record(store, replace(scan(1, EventCode.DELIVERED), occurred_at=clock.now))
    assert status(store, shipment_id) == "delivered"


def test_old_events_of_a_number_do_not_count_for_a_new_shipment(
    store: SqlStore, clock: Clock
) -> None:
    record(store, scan(1, EventCode.DELIVERED))
    clock.pass_hours(150 * 24)
    assert (
        status(store, register(store, registration(1, ordered_at=clock.now)).shipment_id)
        == "pre_transit"
    )


def test_a_number_has_one_holder_after_updates(store: SqlStore, clock: Clock) -> None:
    early = register(store, replace(registration(7), tracking_number=None)).shipment_id
    register(store, registration(1))
    clock.pass_hours(100 * 24)
    store.write(update_shipments, UpdateShipment(TENANT, early, {"tracking_number": "00000001"}))
    record(store, replace(scan(1), occurred_at=clock.now))
    assert status(store, early) == "in_transit"
    with pytest.raises(Conflict, match="external_id"):
        register(store, replace(registration(1), external_id="A-3"))
    clock.pass_hours(100 * 24)
    assert register(store, replace(registration(1), external_id="A-3")).created


def test_events_of_a_shipment_stay_with_it_when_its_number_changes(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    packed = EventReport(
        event_code=EventCode.ORDER_PACKED, external_id="A-1", occurred_at=NOW - timedelta(hours=30)
    )
    record(store, packed, scan(1))
    by_id, by_number = (
        replace(scan(1), carrier=None, tracking_number=None, shipment_id=shipment_id),
        replace(packed, external_id=None, carrier="post", tracking_number="1"),
    )
    assert [outcome.status for outcome in record(store, by_id, packed)] == [
        RecordingStatus.DUPLICATE
    ] * 2
    assert (
        record(store, replace(by_number, tracking_number="00000001"))[0].status
        is RecordingStatus.DUPLICATE
    )
    store.write(update_shipments, UpdateShipment(TENANT, shipment_id, {"tracking_number": "99"}))
    history = shipment_history(store, shipment_id)
    assert history
    assert [event.event_code for event in history.events] == ["order_created", "order_packed"]
    assert record(store, packed)[0].status is RecordingStatus.DUPLICATE
    other = shipment_history(
        store, register(store, replace(registration(1), external_id="A-2")).shipment_id
    )
    assert other
    assert [event.event_code for event in other.events] == ["order_created", "accepted"]


def test_an_event_of_a_number_and_of_its_shipment_is_one_event(store: SqlStore) -> None:
    shipment_id = register(store, replace(registration(1), tracking_number=None)).shipment_id
    record(store, replace(scan(1), carrier=None, tracking_number=None, external_id="A-1"), scan(1))
    store.write(
        update_shipments, UpdateShipment(TENANT, shipment_id, {"tracking_number": "00000001"})
    )
    history = shipment_history(store, shipment_id)
    assert history
    assert [event.event_code for event in history.events] == ["order_created", "accepted"]
    assert history.state.scan_count == 2


def test_a_local_time_is_the_same_event_in_any_zone(store: SqlStore) -> None:
    local = replace(
        scan(1), occurred_at=None, occurred_local=(NOW - timedelta(hours=9)).replace(tzinfo=None)
    )
    record(store, local)
    shipment_id = register(store, registration(1)).shipment_id
    assert record(store, local)[0].status is RecordingStatus.DUPLICATE
    history = shipment_history(store, shipment_id)
    assert history
    assert history.state.scan_count == 2


def test_events_are_plausible_after_the_clock_was_set_back(store: SqlStore, clock: Clock) -> None:
    register(store, registration(1))
    clock.pass_hours(500 * 24)
    register(store, registration(2))
    clock.pass_hours(-500 * 24)
    assert record(store, scan(1))[0].status is RecordingStatus.STORED


def test_events_beyond_the_limit_of_a_parcel_are_quarantined(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_EVENTS_PER_PARCEL", 5)
    outcomes = record(store, *(scan(1, EventCode.INFO, hours_ago=hours) for hours in range(8)))
    assert [outcome.status for outcome in outcomes] == [RecordingStatus.STORED] * 5 + [
        RecordingStatus.QUARANTINED
    ] * 3
    assert outcomes[-1].reason == "too_many_scans"


def test_an_updated_carrier_changes_the_present_and_not_the_past(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    record(store, scan(1, EventCode.DELIVERED), scan(1, EventCode.SORTED, carrier="other"))
    before = store.safe_now()
    store.write(update_shipments, UpdateShipment(TENANT, shipment_id, {"carrier": "other"}))
    assert status(store, shipment_id) == "in_transit"
    now, then = shipment_history(store, shipment_id), shipment_history(store, shipment_id, before)
    assert now
    assert then
    assert (now.state.status, then.state.status) == ("in_transit", "delivered")
    assert (now.registration.shipment.carrier, then.registration.shipment.carrier) == (
        "other",
        "post",
    )
    assert len(now.versions) == 2
    # Changed back, the events of the first carrier count again.
    store.write(update_shipments, UpdateShipment(TENANT, shipment_id, {"carrier": "post"}))
    assert status(store, shipment_id) == "delivered"


def test_an_invalid_update_is_rejected(store: SqlStore) -> None:
    one, _ = register(store, registration(1)).shipment_id, register(store, registration(2))
    with pytest.raises(Conflict, match="has that number"):
        store.write(update_shipments, UpdateShipment(TENANT, one, {"tracking_number": "00000002"}))
    with pytest.raises(NotFound):
        store.write(update_shipments, UpdateShipment(TENANT, "shp_nobody", {"carrier": "other"}))
    with pytest.raises(InvalidValue):
        store.write(update_shipments, UpdateShipment(TENANT, one, {"weight_kg": 5_000.0}))


@pytest.mark.parametrize(
    ("hours", "reason"), [(401 * 24.0, "too_far_in_the_past"), (-49.0, "too_far_in_the_future")]
)
def test_an_implausible_event_is_quarantined(store: SqlStore, hours: float, reason: str) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [outcome] = record(store, scan(1, EventCode.DELIVERED, hours_ago=hours))
    assert (outcome.status, outcome.reason) == (RecordingStatus.QUARANTINED, reason)
    assert status(store, shipment_id) == "pre_transit"
    assert [
        row.event_id for row in store.read(lambda session: session.quarantined(TENANT, "", 9))
    ] == [outcome.event_id]
    assert store.read(lambda session: session.counts(TENANT)) == {
        "shipments": 1,
        "events": 1,
        "quarantine": 1,
    }


def test_each_change_of_status_is_one_outbox_message(store: SqlStore) -> None:
    register(store, registration(1))
    for code, hours in (*JOURNEY, *JOURNEY):
        record(store, scan(1, code, hours_ago=hours))
    rows = store.read(lambda session: session.outbox(TENANT))
    assert [row[1] for row in rows] == ["shipment.updated"] * 4
    assert ['"pre_transit"' in rows[0][4], '"delivered"' in rows[-1][4]] == [True, True]
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})


def test_a_history_as_of_a_moment_never_changes(store: SqlStore, clock: Clock) -> None:
    ids = [register(store, registration(number)).shipment_id for number in range(3)]
    random_ = random.Random(7)
    reports = [
        scan(number, code, hours_ago=hours) for number in range(3) for code, hours in JOURNEY
    ]
    random_.shuffle(reports)
    recorded = []
    for report in reports:
        record(store, report)
        recorded.append(
            (
                at := store.safe_now(),
                [shipment_history(store, shipment_id, at) for shipment_id in ids],
            )
        )
        clock.pass_hours(random_.choice([0.0, 0.0, 1.0]))
    assert len({at for at, _ in recorded}) == len(recorded)
    for at, histories in recorded:
        assert [shipment_history(store, shipment_id, at) for shipment_id in ids] == histories


def test_a_write_in_flight_is_not_recorded_as_of_now(store: SqlStore, clock: Clock) -> None:
    writes, may_finish = threading.Event(), threading.Event()

    def slow(session: Session, items: Sequence[int]) -> Sequence[int]:
        commit_times = [session.commit_time for _ in items]
        writes.set()
        assert may_finish.wait(10)
        return commit_times

    future = store.submit(slow, 1)
    assert writes.wait(10)
    clock.pass_hours(1)
    meanwhile = [microseconds(store.safe_now()) for _ in range(3)]
    may_finish.set()
    commit_time = future.result()
    assert max(meanwhile) < commit_time
    # A write after a moment was returned as now is recorded after that moment.
    now = microseconds(store.safe_now())
    assert commit_time <= now < store.write(slow, 1)


def test_written_states_equal_those_folded_from_all_events(store: SqlStore) -> None:
    random_ = random.Random(3)
    for number in range(20):
        register(store, registration(number))
    reports = [
        scan(number, code, hours_ago=hours + random_.random())
        for number in range(20)
        for code, hours in JOURNEY
    ]
    random_.shuffle(reports)
    for start in range(0, 70, 7):
        record(store, *reports[start : start + 7])
    with store.snapshot() as session:
        shipments = session.all_shipments(TENANT)
        written = {
            state.shipment_id: state
            for state in session.states(TENANT, (shipment.shipment_id for shipment in shipments))
        }
        again = compute_states(
            shipments, session.all_events(TENANT), microseconds(store.safe_now())
        )
    assert {state.shipment_id: state._replace(as_of=0) for state in again} == {
        name: state._replace(as_of=0) for name, state in written.items()
    }


def test_a_failing_write_is_undone_alone(store: SqlStore) -> None:
    def poison(session: Session, items: Sequence[int]) -> Sequence[int]:
        register_shipments(
            session, [RegisterShipment(TENANT, registration(item)) for item in items]
        )
        if 13 in items:
            raise RuntimeError("a bug")
        return items

    futures = [store.submit(poison, number) for number in (12, 13, 14)]
    assert (futures[0].result(), futures[2].result()) == (12, 14)
    with pytest.raises(RuntimeError):
        futures[1].result()
    assert {
        shipment.external_id
        for shipment in store.read(lambda session: session.all_shipments(TENANT))
    } == {"A-12", "A-14"}


def test_writes_beyond_the_queue_limit_are_rejected(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_QUEUED_ITEMS", 10)
    with pytest.raises(StoreBusy):
        store.submit(record_events, RecordEvents(TENANT, [scan(1)] * 11), weight=11)
    record(store, scan(1))


def blocked(store: SqlStore) -> tuple[threading.Event, Future[None]]:
    """An event that lets the writer go on, and what it is at."""
    started, released = threading.Event(), threading.Event()

    def wait(_: Session, items: Sequence[None]) -> Sequence[None]:
        started.set()
        released.wait(10)
        return items

    future = store.submit(wait, None)
    assert started.wait(10)
    return released, future


def test_writes_that_have_waited_too_long_are_not_made(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_QUEUE_SECONDS", 0.05)
    released, first = blocked(store)
    late = [
        store.submit(register_shipments, RegisterShipment(TENANT, registration(number)))
        for number in range(3)
    ]
    sleep(0.1)
    released.set()
    first.result(10)
    for future in late:
        with pytest.raises(StoreBusy):
            future.result(10)
    assert not store.read(lambda session: session.all_shipments(TENANT))
    register(store, registration(4))


def test_writes_are_refused_at_once_behind_one_that_is_overdue(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_QUEUE_SECONDS", 0.05)
    released, _ = blocked(store)
    store.submit(record_events, RecordEvents(TENANT, [scan(1)]))
    sleep(0.1)
    with pytest.raises(StoreBusy):
        store.submit(record_events, RecordEvents(TENANT, [scan(2)]))
    released.set()


def test_a_stored_response_is_returned_for_its_key(store: SqlStore, clock: Clock) -> None:
    def idempotent_request(number: int, digest: str = "d") -> IdempotentRequest:
        return IdempotentRequest(
            TENANT,
            "key",
            digest,
            register_shipments,
            RegisterShipment(TENANT, registration(number)),
            lambda done: WriteResponse(201, done.shipment_id),
        )

    first = store.write(respond_once, idempotent_request(1))
    assert store.write(respond_once, idempotent_request(1)) == first
    with pytest.raises(IdempotencyKeyReused):
        store.write(respond_once, idempotent_request(1, "another"))
    assert len(store.read(lambda session: session.all_shipments(TENANT))) == 1
    clock.pass_hours(RESPONSE_LIFETIME / 3.6e9 + 1)
    assert store.write(respond_once, idempotent_request(2, "another")) != first


def test_the_date_of_a_saved_estimate_becomes_the_promise(store: SqlStore) -> None:
    promise = {"date": "2026-05-29"}
    result = {"carrier_code": "post", "service_code": None, "promise": promise}
    estimate = json.dumps({"results": [result]})
    estimate_id = store.write(save_estimates, SaveEstimate(TENANT, NOW, None, estimate))
    history = shipment_history(
        store, register(store, replace(registration(1), estimate_id=estimate_id)).shipment_id
    )
    assert history
    assert str(history.registration.shipment.promised_on) == "2026-05-29"
    # Registering the same again returns the same shipment.
    assert not register(store, replace(registration(1), estimate_id=estimate_id)).created
    with pytest.raises(InvalidValue, match="estimate_id"):
        register(store, replace(registration(2), estimate_id="est_nobody"))
    with pytest.raises(InvalidValue, match="carrier and service"):
        register(store, replace(registration(2, carrier="other"), estimate_id=estimate_id))


def test_no_row_holds_data_of_an_erased_shipment(store: SqlStore) -> None:
    remaining_id, erased_id = (
        register(store, registration(1)).shipment_id,
        register(store, registration(77777777)).shipment_id,
    )
    record(
        store,
        scan(1),
        scan(77777777),
        scan(77777777, hours_ago=9_999.0),
        scan(77777777, carrier="other"),
    )
    store.write(update_shipments, UpdateShipment(TENANT, erased_id, {"carrier": "other"}))
    request = IdempotentRequest(
        TENANT,
        "key",
        "d",
        register_shipments,
        RegisterShipment(TENANT, registration(77777777, carrier="other")),
        lambda done: WriteResponse(200, f'"{done.shipment_id}"'),
    )
    store.write(respond_once, request)
    assert store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-77777777")) == 1
    # A stored response holds our id alone, and is purged after 72 hours.
    assert not [
        row
        for table, rows in dump(store).items()
        if table != "responses"
        for row in rows
        if erased_id in row or "77777777" in row
    ]
    assert status(store, remaining_id) == "in_transit"
    assert store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-77777777")) == 0
    assert register(store, registration(77777777)).created


def test_erasing_leaves_events_of_another_shipment(store: SqlStore) -> None:
    one = register(store, registration(1)).shipment_id
    store.write(update_shipments, UpdateShipment(TENANT, one, {"tracking_number": "99"}))
    two = register(store, replace(registration(1), external_id="A-2")).shipment_id
    record(store, scan(1))
    before = store.safe_now()
    assert store.write(erase_shipments, EraseShipments(TENANT, "shipment_id", one)) == 1
    history, then = shipment_history(store, two), shipment_history(store, two, before)
    assert history
    assert then
    assert history.events == then.events
    assert history.state.status == status(store, two) == "in_transit"


def test_old_unregistered_events_and_estimates_are_purged(store: SqlStore, clock: Clock) -> None:
    record(store, scan(1), scan(2, hours_ago=9_999.0))
    store.write(save_estimates, SaveEstimate(TENANT, NOW, None, "{}"))
    clock.pass_hours(100)
    record(store, scan(3))
    clock.pass_hours(100)
    assert store.write(purge_expired, Retention(150 * 3_600_000_000)) == 2
    left = {table: len(rows) for table, rows in dump(store).items() if rows}
    assert left == {"tracking_number_uses": 1, "events": 1}


def test_no_forecast_is_saved_for_an_erased_shipment(store: SqlStore) -> None:
    assessment = json.dumps(
        dict.fromkeys(
            (
                "code",
                "status",
                "estimated_on",
                "earliest_on",
                "latest_on",
                "promise_on",
                "delay_reason",
                "delay_probability",
            )
        )
    )
    forecast = StoredForecast(
        "shp_gone", 1, None, json.dumps({**json.loads(assessment), "delay_state": "overdue"})
    )
    store.write(save_forecasts, SaveForecasts(TENANT, [forecast]))
    assert not any(dump(store).values())


def test_inactive_shipments_are_purged(store: SqlStore, clock: Clock) -> None:
    register(store, registration(1))
    two = register(store, registration(2)).shipment_id
    clock.pass_hours(100)
    record(store, scan(2))
    clock.pass_hours(100)
    assert store.write(purge_expired, Retention(None)) == 0
    assert store.write(purge_expired, Retention(150 * 3_600_000_000)) == 1
    assert [
        shipment.shipment_id
        for shipment in store.read(lambda session: session.all_shipments(TENANT))
    ] == [two]


def test_rows_survive_a_restart(durable_url: str, clock: Clock) -> None:
    with opened_store(durable_url, clock) as store:
        register(store, registration(1))
        record(store, *[scan(1, code, hours_ago=hours) for code, hours in JOURNEY])
        before, last = dump(store), store.safe_now()
    with opened_store(durable_url, Clock(NOW - timedelta(days=1))) as store:
        assert dump(store) == before
        # The present moment does not go back with a clock that was set back.
        assert store.safe_now() >= last


def test_a_backup_made_during_writes_is_consistent_and_restores_anywhere(
    durable_url: str, clock: Clock, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with opened_store(durable_url, clock) as store:
        for number in range(30):
            register(store, registration(number))
        waiting = [
            store.submit(
                record_events,
                RecordEvents(
                    TENANT, [scan(number, code, hours_ago=hours) for code, hours in JOURNEY]
                ),
            )
            for number in range(30)
        ]
        back_up(engine_from_url(durable_url), tmp_path / "copy.sqlite")
        for future in waiting:
            future.result()
        back_up(engine_from_url(durable_url), tmp_path / "later.sqlite")
        after = dump(store)
    with pytest.raises(StoreRejected, match="there already"):
        back_up(engine_from_url(durable_url), tmp_path / "copy.sqlite")
    other = "sqlite" if durable_url.startswith("postgresql") else "postgresql"
    with fresh_url(other, tmp_path / "other", postgres) as url:
        restore(engine_from_url(url), tmp_path / "later.sqlite")
        with opened_store(url, clock) as store:
            assert dump(store) == after
            restored_id = register(store, registration(99)).shipment_id
        with opened_store(durable_url, clock) as store:
            # The restored store gives out other ids than the original after the copy.
            assert register(store, registration(98)).shipment_id != restored_id
        (tmp_path / "thesis.txt").write_text("no database", encoding="utf-8")
        with pytest.raises(StoreRejected, match="no copy"):
            restore(engine_from_url(f"sqlite:{tmp_path / 'empty.sqlite'}"), tmp_path / "thesis.txt")
        with pytest.raises(StoreRejected, match="holds something"):
            restore(engine_from_url(url), tmp_path / "later.sqlite")
    with fresh_url("sqlite", tmp_path / "early", postgres) as url:
        restore(engine_from_url(url), tmp_path / "copy.sqlite")
        with opened_store(url, clock) as store:
            # All writes acknowledged before the copy began, and whole batches of those after it.
            assert len(store.read(lambda session: session.all_shipments(TENANT))) == 30
            events = store.read(lambda session: session.all_events(TENANT))
            assert len(events) % len(JOURNEY) == 0


def test_an_export_holds_the_registered_shipments_and_events(store: SqlStore) -> None:
    register(store, registration(1, weight_kg=2.5))
    record(store, *[scan(1, code, hours_ago=hours) for code, hours in JOURNEY], scan(2))
    exported = store.read(lambda session: export_store(session, TENANT))
    assert exported.shipments[
        ["shipment_id", "weight_kg", "destination_region"]
    ].to_numpy().tolist() == [["A-1", 2.5, "8"]]
    assert sorted(exported.events["event_code"]) == sorted(
        ["order_created", *(code.value for code, _ in JOURNEY)]
    )
    assert exported.warnings["events_of_no_shipment"] == 1


class Killed(BaseException):
    """Stands for the death of the process."""


def applied_migrations(connection: Connection) -> int:
    connection.begin(writes=True)
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
    count = int(connection.execute("SELECT count(*) FROM migrations")[0][0])
    connection.commit()
    return count


def test_a_migration_killed_at_any_statement_is_repeated(
    durable_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_from_url(durable_url)
    migrations = (
        *MIGRATIONS,
        (
            "ALTER TABLE estimates ADD COLUMN note TEXT",
            "CREATE TABLE notes (note TEXT)",
            "INSERT INTO notes VALUES ('made')",
        ),
    )
    deaths, survived, applied = 0, 0, 0
    while applied < len(migrations):
        connection = engine.writer()
        count, execute = 0, connection.execute

        def dying(sql: str, *values: object, limit: int = survived, execute: Any = execute) -> Any:
            nonlocal count
            count += 1
            if count > limit:
                raise Killed
            return execute(sql, *values)

        with monkeypatch.context() as patched, suppress(Killed):
            patched.setattr(connection, "execute", dying)
            migrate(connection, engine, migrations)
        # A transaction that is open when a process dies is undone.
        connection.rollback()
        deaths += count > survived
        before, applied = applied, applied_migrations(connection)
        survived = 0 if applied > before else survived + 1
        connection.close()
        engine.close()
    assert deaths > sum(map(len, migrations))
    connection = engine.writer()
    migrate(connection, engine, migrations)
    assert connection.execute("SELECT note FROM notes") == [("made",)]
    numbers = connection.execute("SELECT number FROM migrations ORDER BY number")
    assert numbers == [(number,) for number in range(1, len(migrations) + 1)]
    with pytest.raises(StoreRejected, match="newer version"):
        migrate(connection, engine, MIGRATIONS)
    connection.close()
    engine.close()


def test_a_second_process_may_not_write_to_a_file(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    with (
        opened_store(url, clock),
        pytest.raises(StoreLocked, match="PostgreSQL"),
        opened_store(url, clock),
    ):
        pass
    with opened_store(url, clock) as store:
        register(store, registration(1))


def test_commits_are_synced_and_deleted_rows_overwritten(
    tmp_path: Path,
) -> None:
    connection = SqliteEngine(tmp_path / "eta.sqlite").writer()
    assert [
        connection.execute(f"PRAGMA {name}")
        for name in ("journal_mode", "synchronous", "secure_delete")
    ] == [[("wal",)], [(2,)], [(1,)]]
    connection.close()
    assert (tmp_path / "eta.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("fate", ["deleted", "replaced", "moved"])
def test_writes_to_a_lost_file_are_not_acknowledged(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.05)
    file = tmp_path / "eta.sqlite"
    store = open_store(f"sqlite:{file}", clock)
    shipment_id = register(store, registration(1)).shipment_id
    away = file.rename(tmp_path / "away.sqlite")
    if fate == "replaced":
        file.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            record(store, scan(1))
    assert not store.can_write
    assert (file.exists(), file.exists() and file.stat().st_size) == (
        fate == "replaced",
        0 if fate == "replaced" else False,
    )
    if fate == "moved":
        away.rename(file)
        assert record(store, scan(1))[0].status is RecordingStatus.STORED
        assert shipment_history(store, shipment_id)
    store.close()


def test_a_log_without_its_database_is_rejected(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "eta.sqlite-wal").write_bytes(b"what was acknowledged")
    with pytest.raises(StoreRejected, match="not there"):
        open_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock)
    assert (tmp_path / "eta.sqlite-wal").read_bytes() == b"what was acknowledged"
    # No lock is left: once the log is deleted, the same process may open the file.
    (tmp_path / "eta.sqlite-wal").unlink()
    open_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock).close()


def test_a_probe_writes_if_no_recent_write_succeeded(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.probe_write() is None
    monkeypatch.setattr(stores, "PROBE_AFTER_SECONDS", 0.0)
    probe = store.probe_write()
    assert probe
    assert probe.result(10) is None


def test_two_processes_write_to_postgresql_together(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with (
        fresh_url("postgresql", tmp_path, postgres) as url,
        opened_store(url, clock) as one,
        opened_store(url, clock) as two,
    ):
        shipment_id = register(one, registration(1)).shipment_id
        reports = [
            scan(1, code, hours_ago=hours + minutes / 60)
            for code, hours in JOURNEY
            for minutes in range(20)
        ]
        futures = [
            target.submit(record_events, RecordEvents(TENANT, [report]))
            for report in reports
            for target in (one, two)
        ]
        outcomes = [future.result()[0].status for future in futures]  # type: ignore[union-attr]
        assert (
            outcomes.count(RecordingStatus.STORED)
            == outcomes.count(RecordingStatus.DUPLICATE)
            == len(reports)
        )
        history = shipment_history(two, shipment_id)
        assert history
        assert (history.state.status, history.state.scan_count) == ("delivered", 1 + len(reports))
        state = one.read(lambda session: session.states(TENANT, [shipment_id]))[0]
        assert state.scan_count == 1 + len(reports)
        # Rows of a process with a late clock are recorded after those of another process before.
        last = microseconds(one.safe_now())
        with opened_store(url, Clock(NOW - timedelta(hours=5))) as behind:
            clock.pass_hours(1)
            record(one, scan(1, EventCode.INFO, hours_ago=1))
            record(behind, scan(1, EventCode.INFO, hours_ago=2))
        received = {
            event.occurred_at: event.received_at
            for event in one.read(lambda session: session.all_events(TENANT))
            if event.event_code == "info"
        }
        assert (
            last
            < received[microseconds(NOW - timedelta(hours=1))]
            < received[microseconds(NOW - timedelta(hours=2))]
        )


def test_reads_and_writes_reconnect_after_a_server_restart(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with fresh_url("postgresql", tmp_path, postgres) as url, opened_store(url, clock) as store:
        shipment_id = register(store, registration(1)).shipment_id
        assert shipment_history(store, shipment_id)
        with psycopg.connect(postgres(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (url.rpartition("/")[2],),
            )
        assert shipment_history(store, shipment_id)
        assert record(store, scan(1))[0].status is RecordingStatus.STORED
        assert store.can_write


def test_processes_that_start_together_migrate_once(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with fresh_url("postgresql", tmp_path, postgres) as url, ThreadPoolExecutor(4) as pool:
        for store in pool.map(lambda _: SqlStore(engine_from_url(url), clock), range(4)):
            store.close()


def test_acknowledged_rows_are_visible_to_a_process_with_a_late_clock(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with (
        fresh_url("postgresql", tmp_path, postgres) as url,
        opened_store(url, clock) as one,
        opened_store(url, Clock(NOW - timedelta(hours=1))) as behind,
    ):
        assert shipment_history(behind, register(one, registration(1)).shipment_id)


def test_a_full_disk_rejects_writes_and_allows_reads(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.05)
    engine = SqliteEngine(tmp_path / "eta.sqlite")
    store = SqlStore(engine, clock)
    shipment_id = register(store, registration(0)).shipment_id
    connection = store._connection  # noqa: SLF001  # the disk is filled behind its back
    assert connection
    pages = connection.execute("PRAGMA page_count")[0][0]
    original = SqliteEngine.writer

    def full(self: SqliteEngine) -> Any:
        opened = original(self)
        opened.execute(f"PRAGMA max_page_count = {pages + 2}")
        return opened

    monkeypatch.setattr(SqliteEngine, "writer", full)
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    registered_ids = list[str]()
    with pytest.raises(StoreUnavailable):
        while len(registered_ids) < 1_000:
            registered_ids.append(
                register(store, registration(1 + len(registered_ids))).shipment_id
            )
    assert not store.can_write
    assert shipment_history(store, shipment_id)
    monkeypatch.setattr(SqliteEngine, "writer", original)
    for _ in range(100):
        if store.can_write:
            break
        threading.Event().wait(0.05)
    assert store.can_write, "the store retries by itself"
    register(store, registration(5_000))
    assert all(shipment_history(store, registered_id) for registered_id in registered_ids)
    store.close()


def past_pages(store: SqlStore, at: datetime, limit: int, status: str | None) -> list[list[str]]:
    """Returns the shipments of all pages as of a moment."""
    pages = list[list[str]]()
    after: str | None = ""
    while after is not None:
        query = PageQuery(TENANT, after, limit, status, is_past=True)
        histories, after = store.read(partial(page_of_histories, query=query, as_of=at))
        pages.append([history.stored.shipment_id for history in histories])
    return pages


@pytest.mark.parametrize("read_size", [1, 3, 100])
@pytest.mark.parametrize(
    ("status", "limit", "sizes"),
    [
        ("in_transit", 2, [2, 2, 1]),
        ("in_transit", 100, [5]),
        ("pre_transit", 4, [4, 1]),
        ("delivered", 2, [0]),
        (None, 6, [6, 4]),
    ],
)
def test_a_past_page_is_full_unless_it_is_the_last(
    store: SqlStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    status: str | None,
    limit: int,
    sizes: list[int],
    read_size: int,
) -> None:
    monkeypatch.setattr(reading, "_READ_SIZE", read_size)
    monkeypatch.setattr(reading, "_MAX_READS", 30)
    for number in range(10):
        register(store, registration(number))
    record(store, *(scan(number) for number in range(0, 10, 2)))
    at = store.safe_now()
    clock.pass_hours(1)
    for number in range(10, 20):
        register(store, registration(number))
    record(store, *(scan(number, EventCode.DELIVERED, hours_ago=1) for number in range(20)))
    pages = past_pages(store, at, limit, status)
    # A last page may be empty: only then is it known that nothing follows.
    assert [len(page) for page in pages if page] == [size for size in sizes if size]
    found = [shipment_id for page in pages for shipment_id in page]
    assert found == sorted(set(found))


def test_a_past_page_examines_a_bounded_number_of_shipments(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_READ_SIZE", 2)
    monkeypatch.setattr(reading, "_MAX_READS", 2)
    for number in range(9):
        register(store, registration(number))
    at = store.safe_now()
    assert past_pages(store, at, 5, "in_transit") == [[], [], []]
    assert [len(page) for page in past_pages(store, at, 5, "pre_transit")] == [4, 4, 1]


def test_an_empty_database_is_not_copied(store_url: str, tmp_path: Path) -> None:
    engine = engine_from_url(store_url)
    with pytest.raises(StoreUnavailable, match=r"^nothing is recorded yet: .*; run `eta ingest"):
        back_up(engine, tmp_path / "copy.sqlite")
    engine.close()
    assert not (tmp_path / "copy.sqlite").exists()


def test_a_store_of_an_older_version_is_not_read(durable_url: str, clock: Clock) -> None:
    open_store(durable_url, clock).close()
    engine = engine_from_url(durable_url)
    writer = engine.writer()
    writer.begin(writes=True)
    writer.execute("DELETE FROM migrations WHERE number = ?", len(MIGRATIONS))
    writer.commit()
    with pytest.raises(StoreRejected, match="`eta serve` or `eta ingest` migrate it"):
        check_migrated(writer, engine)
    writer.close()
    engine.close()


def test_reading_a_store_that_was_never_written_names_the_next_command(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "eta.sqlite")
    with pytest.raises(
        StoreUnavailable, match=r"^nothing is recorded yet: .*eta\.sqlite; run `eta"
    ):
        engine.reader()
    assert not list(tmp_path.iterdir())
