"""A wrong event code is corrected by a record, and readings of one scan count as one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from eta.calendars.local_time import from_microseconds
from eta.domain.errors import Conflict, NotFound
from eta.domain.vocabulary import EventCode
from eta.journey.timelines import Timelines
from eta.service.storage.backup import back_up, restore
from eta.service.storage.export import export_store
from eta.service.storage.import_dataset import import_dataset
from eta.service.storage.retention import EraseShipments, erase_shipments
from eta.service.tracking import correct_events as correcting
from eta.service.tracking.correct_events import CorrectedEvent, CorrectEvent, correct_events
from eta.service.tracking.record_events import EventReport, RecordingStatus
from eta.store.store import SqlStore, engine_from_url
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

pytestmark = pytest.mark.xdist_group("stores")

DELIVERED, OUT, INFO = EventCode.DELIVERED, EventCode.OUT_FOR_DELIVERY, EventCode.INFO


def reading(code: EventCode, *, hours_ago: float = 6.0) -> EventReport:
    """A reading of one scan of the carrier."""
    return replace(scan(1, code, hours_ago=hours_ago), raw_code="X1", place="Wien")


def correct(store: SqlStore, event_id: str, code: EventCode, tenant: str = TENANT) -> Any:
    return store.write(correct_events, CorrectEvent(tenant, event_id, code))


def codes(store: SqlStore, shipment_id: str, as_of: datetime | None = None) -> list[str]:
    history = shipment_history(store, shipment_id, as_of)
    assert history
    return [event.event_code for event in history.events]


def status(store: SqlStore, shipment_id: str, as_of: datetime | None = None) -> str:
    history = shipment_history(store, shipment_id, as_of)
    assert history
    return history.state.status


@pytest.mark.parametrize("order", list(permutations((OUT, DELIVERED, INFO))))
def test_the_highest_reading_counts_in_any_order(
    order: tuple[EventCode, ...], clock: Clock
) -> None:
    with opened_store("memory:", clock) as store:
        shipment_id = register(store, registration(1)).shipment_id
        for code in (*order, *order):
            record(store, reading(code))
        assert status(store, shipment_id) == "delivered"
        assert codes(store, shipment_id) == ["order_created", "delivered"]
        with store.snapshot() as session:
            assert session.counts(TENANT)["events"] == 4
            [state] = session.states(TENANT, [shipment_id])
        assert (state.status, state.scan_count) == ("delivered", 2)


def test_scans_without_a_carriers_code_are_no_readings(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    record(store, scan(1, EventCode.ARRIVED_AT_FACILITY), scan(1, EventCode.SORTED))
    assert codes(store, shipment_id) == ["order_created", "arrived_at_facility", "sorted"]


def test_a_correction_counts_from_its_receipt_on(store: SqlStore, clock: Clock) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [wrong] = record(store, reading(DELIVERED))
    clock.pass_hours(1)
    before = store.safe_now()
    clock.pass_hours(1)
    corrected = correct(store, wrong.event_id, OUT)
    assert isinstance(corrected, CorrectedEvent)
    assert (corrected.created, corrected.shipment_id) == (True, shipment_id)
    assert (status(store, shipment_id), status(store, shipment_id, before)) == (
        "out_for_delivery",
        "delivered",
    )
    history = shipment_history(store, shipment_id)
    assert history
    event = history.events[-1]
    assert (event.event_id, event.raw_code, event.correction_number) == (wrong.event_id, "X1", 1)
    assert from_microseconds(event.received_at) > before
    # The same scan in the wrong reading is a duplicate, and another reading does not count.
    assert record(store, reading(DELIVERED))[0].status is RecordingStatus.DUPLICATE
    assert record(store, reading(INFO))[0].status is RecordingStatus.STORED
    assert status(store, shipment_id) == "out_for_delivery"
    with store.snapshot() as session:
        assert session.states(TENANT, [shipment_id])[0].status == "out_for_delivery"


def test_a_correction_is_recorded_once_and_can_be_corrected(store: SqlStore, clock: Clock) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [wrong] = record(store, reading(DELIVERED))
    times = [store.safe_now()]
    for code in (OUT, DELIVERED, OUT):
        clock.pass_hours(1)
        assert correct(store, wrong.event_id, code).created
        assert not correct(store, wrong.event_id, code).created
        times.append(store.safe_now())
    assert [status(store, shipment_id, at) for at in times] == [
        "delivered",
        "out_for_delivery",
        "delivered",
        "out_for_delivery",
    ]
    commands = [CorrectEvent(TENANT, wrong.event_id, code) for code in (INFO, DELIVERED)]
    results = store.write(lambda session, items: [correct_events(session, items[0])], commands)
    assert [result.created for result in results] == [True, True]  # type: ignore[union-attr]
    assert status(store, shipment_id) == "delivered"


def test_a_scan_without_a_carriers_code_is_corrected(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [wrong] = record(store, scan(1, DELIVERED))
    record(store, scan(1, EventCode.SORTED))
    assert correct(store, wrong.event_id, EventCode.DEPARTED_FACILITY).created
    assert codes(store, shipment_id) == ["order_created", "departed_facility", "sorted"]
    history = shipment_history(store, shipment_id)
    assert history
    assert history.events[1].raw_code is None


def test_a_number_is_corrected_before_its_shipment_is_registered(store: SqlStore) -> None:
    [wrong] = record(store, reading(DELIVERED))
    assert correct(store, wrong.event_id, OUT).shipment_id is None
    assert status(store, register(store, registration(1)).shipment_id) == "out_for_delivery"


def test_only_a_recorded_event_of_the_tenant_can_be_corrected(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [wrong] = record(store, reading(DELIVERED))
    [far] = record(store, reading(DELIVERED, hours_ago=-60))
    for event_id, tenant, error in (
        ("evt_nobody", TENANT, NotFound),
        (wrong.event_id, "other", NotFound),
        (far.event_id, TENANT, Conflict),
        ("evt_" + shipment_id[4:], TENANT, Conflict),
    ):
        with pytest.raises(error):
            correct(store, event_id, OUT, tenant)
    monkeypatch.setattr(correcting, "MAX_EVENTS_PER_PARCEL", 1)
    with pytest.raises(Conflict, match="limit"):
        correct(store, wrong.event_id, OUT)
    assert status(store, shipment_id) == "delivered"


def test_a_correction_survives_export_import_and_backup(
    store_url: str, clock: Clock, tmp_path: Path
) -> None:
    with opened_store(store_url, clock) as store:
        shipment_id = register(store, registration(1)).shipment_id
        [wrong] = record(store, reading(DELIVERED))
        before = store.safe_now()
        clock.pass_hours(1)
        correct(store, wrong.event_id, OUT)
        after = store.safe_now()
        dataset = store.read(lambda session: export_store(session, TENANT))
        if store_url != "memory:":
            back_up(engine_from_url(store_url), tmp_path / "backup.sqlite")
    clock.pass_hours(1)
    with opened_store("memory:", clock) as other:
        for expected in ("stored", "duplicate"):
            counts = import_dataset(dataset, other, TENANT).counts
            assert counts[f"events_{expected}"] == 3
        with other.snapshot() as session:
            [imported] = session.shipments(TENANT, "external_id", ["A-1"])
        statuses = [status(other, imported.shipment_id, at) for at in (before, after)]
        assert statuses == ["delivered", "out_for_delivery"]
    if store_url != "memory:":
        restored_url = f"sqlite:{tmp_path / 'restored.sqlite'}"
        restore(engine_from_url(restored_url), tmp_path / "backup.sqlite")
        with opened_store(restored_url, clock) as restored:
            assert status(restored, shipment_id) == "out_for_delivery"
            assert status(restored, shipment_id, before) == "delivered"


def test_what_is_trained_on_is_known_only_from_its_receipt_on(
    store: SqlStore, clock: Clock
) -> None:
    register(store, registration(1))
    [wrong] = record(store, reading(DELIVERED))
    clock.pass_hours(24)
    correct(store, wrong.event_id, OUT)
    dataset = store.read(lambda session: export_store(session, TENANT))
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    assert len(timelines.event_code) == 3
    early, late = (
        timelines.event_code[timelines.counts_at(timelines.received_at.max() + offset)]
        for offset in (-1, 1)
    )
    assert DELIVERED in [list(EventCode)[code] for code in early]
    assert DELIVERED not in [list(EventCode)[code] for code in late]


def test_a_correction_is_erased_with_its_shipment(store: SqlStore) -> None:
    register(store, registration(1))
    [wrong] = record(store, reading(DELIVERED))
    correct(store, wrong.event_id, OUT)
    store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A-1"))
    with store.snapshot() as session:
        assert session.all_events(TENANT) == []


def test_a_correction_is_announced_as_a_change_of_status(store: SqlStore) -> None:
    register(store, registration(1))
    [wrong] = record(store, reading(DELIVERED))
    correct(store, wrong.event_id, OUT)
    with store.snapshot() as session:
        payloads = [row[4] for row in session.outbox(TENANT)]
    assert '"status": "out_for_delivery", "previous_status": "delivered"' in payloads[-1]
    assert len(payloads) == 3


def test_moments_are_those_of_the_clock(store: SqlStore, clock: Clock) -> None:
    register(store, registration(1))
    [wrong] = record(store, reading(DELIVERED))
    clock.now = NOW + timedelta(hours=2)
    correct(store, wrong.event_id, OUT)
    with store.snapshot() as session:
        [correction] = [event for event in session.all_events(TENANT) if event.correction_number]
    assert from_microseconds(correction.received_at) >= clock.now
    assert correction.occurred_at < correction.received_at
