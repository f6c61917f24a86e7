"""The contract of importing a history: bad rows are rejected alone, and the past stays the past."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from eta.domain.errors import StoreUnavailable
from eta.domain.vocabulary import EventCode
from eta.service.storage.import_dataset import import_dataset
from eta.service.storage.retention import EraseShipments, Retention, erase_shipments, purge_expired
from eta.service.tracking.record_events import EventReport, RecordingStatus
from eta.service.tracking.register_shipments import UpdateShipment, update_shipments
from eta.store.store import SqlStore
from support.history import (
    Row,
    codes,
    dataset,
    days_ago,
    event,
    export,
    histories,
    ingest,
    parcel,
)
from support.store import NOW, TENANT, Clock, record, register, registration, scan

pytestmark = pytest.mark.xdist_group("stores")

_DAY = 24 * 3_600_000_000
JOURNEY = (("order_created", 30.0), ("accepted", 28.0), ("delivered", 25.0))


def journey(name: str) -> list[Row]:
    return [event(name, code, days) for code, days in JOURNEY]


def reasons(result: Any) -> list[tuple[str, str]]:
    return [(row.shipment_id, row.reason) for row in result.rejected]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ordered_at": days_ago(-365)}, "invalid_ordered_at"),
        ({"registered_at": days_ago(-0.1)}, "invalid_registered_at"),
        ({"origin_country": "Austria"}, "invalid_origin_country"),
        ({"destination_country": None}, "invalid_destination_country"),
        ({"shipment_id": "bad" + "x" * 3_000}, "invalid_shipment_id"),
        ({"tracking_number": "7", "carrier": None}, "invalid_carrier"),
        ({"tracking_number": "00000009"}, "recorded_with_other_values"),
        ({"shipment_id": "A-9", "destination_country": "DE"}, "recorded_with_other_values"),
    ],
)
def test_a_shipment_that_cannot_be_recorded_is_rejected_alone(
    store: SqlStore, columns: dict[str, Any], reason: str
) -> None:
    live = registration(9, ordered_at=days_ago(30))
    register(store, live)
    bad = parcel("bad", **columns)
    name = bad["shipment_id"]
    shipments = [parcel("good"), bad, parcel("fine")]
    events = [*journey("good"), event(name), *journey("fine"), event(name, "delivered")]
    result = ingest(store, shipments, events)
    event_reason = "event_of_rejected_shipment" if name in ("bad", "A-9") else reason
    assert reasons(result) == [(name, reason), *[(name, event_reason)] * 2]
    assert result.counts == {
        "shipments_created": 2,
        "shipments_rejected": 1,
        "events_stored": 6,
        "events_rejected": 2,
    }
    counts = result.rows["events"]
    assert (counts.read, counts.accepted, counts.duplicate, counts.rejected) == (8, 6, 0, 2)
    recorded = histories(store, NOW)
    assert [codes(recorded[name]) for name in ("good", "fine")] == [
        ["order_created", "accepted", "delivered"]
    ] * 2
    assert result.rejected[0].message
    assert name in result.quarantine()["content"].iloc[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("weight_kg", -1.0),
        ("weight_kg", 7_590.0),
        ("length_cm", float("inf")),
        ("price", -0.5),
        ("package_count", 0),
        ("origin_latitude", 91.0),
        ("destination_longitude", -181.0),
        ("origin_region", "9\0"),
        ("tracking_number", "1" * 65),
        ("promised_on", "9999-12-31"),
        ("promised_on", "1900-01-01"),
    ],
)
def test_an_impossible_optional_value_is_left_out_alone(
    store: SqlStore, column: str, value: object
) -> None:
    rows = [parcel("A", **{column: value}, service_level="fast"), parcel("B")]
    result = ingest(store, rows, journey("A"))
    assert reasons(result) == [("A", f"invalid_{column}")]
    assert result.quarantine()["kind"].tolist() == ["value"]
    counts = result.rows["shipments"]
    assert (counts.read, counts.accepted, counts.rejected) == (2, 2, 0)
    history = histories(store, NOW)["A"]
    assert codes(history) == ["order_created", "accepted", "delivered"]
    assert history.registration.shipment.service_level == "fast"
    assert ingest(store, rows).counts == {"shipments_existing": 2}


def test_a_shipment_without_any_time_is_rejected(store: SqlStore) -> None:
    result = ingest(store, [parcel("A", ordered_at=None), parcel("B")])
    assert reasons(result) == [("A", "invalid_ordered_at")]
    assert list(histories(store, NOW)) == ["B"]


def test_a_shipment_without_an_order_time_is_ordered_at_its_first_event(store: SqlStore) -> None:
    ingest(store, [parcel("A", ordered_at=None)], [event("A", received_at=days_ago(27))])
    [history] = histories(store, NOW).values()
    assert history.registration.shipment.ordered_at == days_ago(28)
    assert not histories(store, days_ago(27.1))
    assert histories(store, days_ago(27))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"occurred_at": days_ago(-3)}, "too_far_in_the_future"),
        ({"occurred_at": days_ago(500)}, "too_far_in_the_past"),
        ({"event_code": "beamed"}, "invalid_event_code"),
        ({"event_code": None}, "invalid_event_code"),
        ({"occurred_at": None}, "invalid_occurred_at"),
        ({"received_at": None}, "invalid_received_at"),
        ({"place": "Wi\0en"}, "invalid_place"),
        ({"raw_code": "\0"}, "invalid_raw_code"),
        ({"shipment_id": "nobody"}, "event_of_rejected_shipment"),
        ({"shipment_id": None}, "invalid_shipment_id"),
    ],
)
def test_an_event_that_cannot_be_recorded_is_rejected_alone(
    store: SqlStore, columns: dict[str, Any], reason: str
) -> None:
    result = ingest(store, [parcel("A")], [event("A"), {**event("A", "sorted"), **columns}])
    assert [row.reason for row in result.rejected] == [reason]
    assert result.counts["events_stored"] == result.counts["events_rejected"] == 1
    assert codes(histories(store, NOW)["A"]) == ["accepted"]


def test_an_outage_ends_the_import_and_rejects_no_row(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset([parcel("A")], journey("A"))
    attempts = count()
    submit = store.submit

    def submit_once(*arguments: Any, **options: Any) -> Any:
        if next(attempts):
            raise StoreUnavailable
        return submit(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store, "submit", submit_once)
        with pytest.raises(StoreUnavailable):
            import_dataset(data, store, TENANT)
    assert codes(histories(store, NOW)["A"]) == []
    again = import_dataset(data, store, TENANT)
    assert again.counts == {"shipments_existing": 1, "events_stored": 3}
    assert not again.rejected
    assert codes(histories(store, NOW)["A"]) == ["order_created", "accepted", "delivered"]
    assert import_dataset(data, store, TENANT).counts == {
        "shipments_existing": 1,
        "events_duplicate": 3,
    }


def test_a_history_answers_as_it_was_known_then(store: SqlStore) -> None:
    ingest(
        store,
        [parcel("A", registered_at=days_ago(29)), parcel("B"), parcel("C", ordered_at=None)],
        [
            *journey("A"),
            event("A", "sorted", 27.5, received_at=days_ago(26)),
            *journey("B"),
            event("C", days=20),
        ],
    )
    assert not histories(store, days_ago(30.01))
    assert list(histories(store, days_ago(29.5))) == ["B"]
    statuses = {
        name: history.state.status for name, history in histories(store, days_ago(27)).items()
    }
    assert statuses == {"A": "in_transit", "B": "in_transit"}
    assert codes(histories(store, days_ago(27))["A"]) == ["order_created", "accepted"]
    assert codes(histories(store, days_ago(26))["A"]) == ["order_created", "accepted", "sorted"]
    now = histories(store, NOW)
    assert [now[name].state.status for name in "ABC"] == ["delivered", "delivered", "in_transit"]
    [version] = now["A"].versions
    assert version.recorded_at == now["A"].stored.created_at


def test_scans_received_before_the_registration_show_from_then_on(store: SqlStore) -> None:
    ingest(store, [parcel("A", registered_at=days_ago(26))], journey("A"))
    assert not histories(store, days_ago(26.5))
    assert codes(histories(store, days_ago(26))["A"]) == ["order_created", "accepted"]


def test_an_order_slightly_ahead_of_our_clock_is_known_from_now_on(store: SqlStore) -> None:
    result = ingest(store, [parcel("A", ordered_at=NOW + timedelta(hours=2))])
    assert not result.rejected
    assert not histories(store, NOW - timedelta(seconds=1))
    assert histories(store, store.safe_now())


def test_later_scans_by_number_find_the_imported_parcel(store: SqlStore) -> None:
    ingest(
        store,
        [parcel("A", tracking_number="0000 0001")],
        [event("A", days=2.0, raw_code="AC", place="Wien")],
    )
    accepted = replace(scan(1, hours_ago=48, place="Wien"), raw_code="AC")
    again, new = record(store, accepted, scan(1, EventCode.DELIVERED))
    [history] = histories(store, store.safe_now()).values()
    assert (again.status, new.status) == (RecordingStatus.DUPLICATE, RecordingStatus.STORED)
    assert again.shipment_id == new.shipment_id == history.stored.shipment_id
    assert codes(history) == ["accepted", "delivered"]
    # The export knows the scan that came by number, and its import finds nothing new.
    data = export(store)
    assert import_dataset(data, store, TENANT).counts == {
        "shipments_existing": 1,
        "events_duplicate": 2,
    }


def test_scans_that_came_before_the_import_belong_to_the_parcel(store: SqlStore) -> None:
    [orphan] = record(store, scan(1))
    assert orphan.shipment_id is None
    result = ingest(
        store, [parcel("A", tracking_number="00000001")], [event("A", days=1.0), event("A")]
    )
    assert result.counts["events_duplicate"] == 1
    [history] = histories(store, store.safe_now()).values()
    assert codes(history) == ["accepted", "accepted"]
    assert history.state.scan_count == 2


def test_a_number_of_an_earlier_parcel_is_another_use_of_it(store: SqlStore) -> None:
    """The shipment that has the number now stays its holder."""
    live = register(store, registration(1)).shipment_id
    old = [
        parcel("old", ordered_at=days_ago(300), tracking_number="00000001"),
        parcel("older", ordered_at=days_ago(600), tracking_number="00000001"),
        parcel("near", ordered_at=days_ago(290), tracking_number="00000001"),
    ]
    result = ingest(store, old, [event("old", "delivered", 295.0)])
    assert reasons(result) == [("near", "recorded_with_other_values")]
    new, late = record(
        store, scan(1, EventCode.ACCEPTED), replace(scan(1), occurred_at=days_ago(10))
    )
    assert (new.shipment_id, late.shipment_id) == (live, live)
    # A scan of the parcel before comes once more, and belongs to that one.
    delivered = replace(scan(1, EventCode.DELIVERED), occurred_at=days_ago(295))
    [again] = record(store, delivered)
    at_end = histories(store, store.safe_now())
    assert again.status is RecordingStatus.DUPLICATE
    assert again.shipment_id == at_end["old"].stored.shipment_id
    assert sorted(codes(at_end["A-1"])) == ["accepted", "accepted", "order_created"]


def test_a_number_reused_within_a_history_belongs_to_both_parcels(store: SqlStore) -> None:
    shipments = [
        parcel("late", ordered_at=days_ago(20), tracking_number="1"),
        parcel("early", ordered_at=days_ago(200), tracking_number="1"),
    ]
    assert not ingest(store, shipments).rejected
    [outcome] = record(store, replace(scan(1), tracking_number="1"))
    late = histories(store, store.safe_now())["late"]
    assert outcome.shipment_id == late.stored.shipment_id


def test_scans_of_a_new_parcel_do_not_join_one_that_arrived_months_ago(store: SqlStore) -> None:
    ingest(
        store,
        [parcel("A", ordered_at=days_ago(150), tracking_number="00000001")],
        [event("A", "delivered", 140.0)],
    )
    [outcome] = record(store, scan(1))
    assert outcome.shipment_id is None
    assert register(store, registration(1)).created


def test_a_registration_over_http_keeps_its_time(store: SqlStore) -> None:
    live = register(store, registration(1, ordered_at=days_ago(30))).shipment_id
    result = ingest(store, [parcel("A-1", registered_at=days_ago(29))], journey("A-1"))
    assert result.counts["shipments_existing"] == 1
    assert not result.rejected
    assert not histories(store, days_ago(20))
    [history] = histories(store, store.safe_now()).values()
    assert history.stored.shipment_id == live
    # The service received the order itself, so that of the history is a repetition.
    assert codes(history) == ["order_created", "accepted", "delivered"]


def test_an_update_after_the_import_leaves_the_past_as_it_was(store: SqlStore) -> None:
    ingest(store, [parcel("A", weight_kg=1.0)])
    [history] = histories(store, NOW).values()
    command = UpdateShipment(TENANT, history.stored.shipment_id, {"weight_kg": 2.0})
    store.write(update_shipments, command)
    weights = [
        histories(store, at)["A"].registration.shipment.weight_kg
        for at in (days_ago(10), store.safe_now())
    ]
    assert weights == [1.0, 2.0]


def test_what_a_history_does_not_state_is_no_conflict(store: SqlStore) -> None:
    full = parcel("A", weight_kg=1.0, origin_region="9", tracking_number="7", price=3.0)
    ingest(store, [full])
    assert ingest(store, [parcel("A")]).counts == {"shipments_existing": 1}
    assert reasons(ingest(store, [parcel("A", origin_region="8")])) == [
        ("A", "recorded_with_other_values")
    ]


def test_an_import_does_not_reorder_live_events(store: SqlStore, clock: Clock) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    record(store, scan(1))
    before = histories(store, store.safe_now())["A-1"]
    clock.pass_hours(1)
    ingest(store, [parcel(str(number)) for number in range(30)], journey("7"))
    record(store, scan(1, EventCode.DELIVERED, hours_ago=1))
    after = histories(store, store.safe_now())["A-1"]
    assert after.stored == before.stored
    assert list(after.events[:-1]) == list(before.events)
    assert after.events[-1].received_at > before.events[-1].received_at
    assert after.stored.shipment_id == shipment_id


def test_an_imported_shipment_is_erased_and_retained_like_any_other(
    store: SqlStore, clock: Clock
) -> None:
    rows = [parcel("A", tracking_number="1"), parcel("B", ordered_at=days_ago(390))]
    ingest(store, rows, journey("A"))
    # The age counts from the import, else the next hour would delete what was just recorded.
    assert store.write(purge_expired, Retention(90 * _DAY)) == 0
    assert store.write(erase_shipments, EraseShipments(TENANT, "external_id", "A")) == 1
    assert list(histories(store, NOW)) == ["B"]
    assert not export(store).events["shipment_id"].isin(["A"]).any()
    clock.pass_hours(91 * 24)
    assert store.write(purge_expired, Retention(90 * _DAY)) == 1
    assert not histories(store, clock.now)


def test_tenants_import_the_same_history_without_meeting(store: SqlStore) -> None:
    rows = [parcel("A", tracking_number="00000001")]
    for tenant in ("north", "south"):
        result = ingest(store, rows, journey("A"), tenant)
        assert result.counts == {"shipments_created": 1, "events_stored": 3}
    assert not histories(store, NOW)
    assert [outcome.shipment_id for outcome in record(store, scan(1))] == [None]


def past(store: SqlStore, moments: Sequence[float], tenant: str = TENANT) -> list[Any]:
    """What is known of each shipment some days ago, without our ids."""
    answers: list[Any] = []
    for days in moments:
        for name, history in sorted(histories(store, days_ago(days), tenant).items()):
            state = history.state._asdict() | {"shipment_id": name}
            events = [row._asdict() | {"event_owner": "", "event_id": ""} for row in history.events]
            attributes = history.registration.to_attributes() | {"order_id": ""}
            answers.append((days, state, events, attributes, history.stored.created_at))
    return answers


def test_an_export_ingested_elsewhere_answers_the_same(store: SqlStore, clock: Clock) -> None:
    moments = [31.0, 29.0, 27.6, 27.2, 25.0, 4.0, 2.9, 0.5, -0.1]
    clock.now = days_ago(3)
    register(store, registration(1, promised_on=NOW.date(), weight_kg=1.5))
    register(store, replace(registration(2), tracking_number=None))
    record(store, replace(scan(1), occurred_at=days_ago(3.2), place="Wien"), scan(4, hours_ago=80))
    clock.now = NOW
    ingest(
        store,
        [
            parcel("A", registered_at=days_ago(27.5), tracking_number="00000003", price=2.5),
            parcel("B", ordered_at=None),
            parcel("C", promised_on="2026-05-01", origin_postcode="01050", package_count=2),
        ],
        [
            *journey("A"),
            event("B", days=27.4, is_received_at_assumed=True),
            event("C", "order_created", 30.0, received_at=days_ago(29.5)),
            event("C", "info", 27.3, raw_code="ZZ", received_at=days_ago(26)),
        ],
    )
    record(store, scan(3, EventCode.INFO), scan(2))
    clock.pass_hours(1)
    data = export(store)
    assert not import_dataset(data, store, "copy").rejected
    expected = past(store, moments)
    assert len(expected) > 15
    assert past(store, moments, "copy") == expected
    # Once more into the same store, nothing changes.
    again = import_dataset(data, store, TENANT)
    assert {name.rpartition("_")[2] for name in again.counts} == {"existing", "duplicate"}
    assert past(store, moments) == expected


def random_history(seed: int) -> tuple[list[Row], list[Row]]:
    """Parcels and events of which some times, numbers and values are missing or repeated."""
    rng = random.Random(seed)
    shipments, events = [], []
    for number in range(12):
        name, ordered = f"P{number}", rng.uniform(5.0, 60.0)
        columns = {
            "ordered_at": rng.choice([days_ago(ordered), None]),
            "registered_at": rng.choice([days_ago(ordered - rng.uniform(-1.0, 3.0)), None]),
            "tracking_number": rng.choice([f"N {number}", None]),
            "carrier": "post",
            "weight_kg": rng.choice([1.5, None]),
            "promised_on": rng.choice(["2026-05-01", None]),
        }
        shipments.append(parcel(name, **columns))
        if columns["ordered_at"]:
            events.append(event(name, "order_created", ordered))
        for code in rng.sample(["accepted", "sorted", "info", "delivered"], rng.randrange(1, 5)):
            occurred = rng.uniform(0.5, ordered)
            received = days_ago(occurred - rng.choice([0.0, 0.2, 1.5]))
            received = min(received, NOW)
            events.append(event(name, code, occurred, received_at=received, raw_code=f"r {code}"))
    return shipments, events + rng.sample(events, 5)


@pytest.mark.parametrize("seed", range(4))
def test_any_history_survives_an_export_and_an_import(
    store: SqlStore, clock: Clock, seed: int
) -> None:
    rng = random.Random(seed)
    moments = [rng.uniform(0.0, 62.0) for _ in range(12)]
    data = dataset(*random_history(seed))
    assert not import_dataset(data, store, TENANT).rejected
    clock.pass_hours(1)
    expected = past(store, moments)
    assert expected
    # What was known at a moment does not depend on the moment of the import.
    assert not import_dataset(data, store, "later").rejected
    assert past(store, moments, "later") == expected
    assert not import_dataset(export(store), store, "copy").rejected
    assert past(store, moments, "copy") == expected


def test_a_parcel_without_the_shops_id_is_recognised_in_its_export(store: SqlStore) -> None:
    nameless = replace(registration(1), external_id=None)
    register(store, nameless)
    register(store, replace(registration(2), external_id=None, tracking_number=None))
    again = import_dataset(export(store), store, TENANT)
    assert not again.rejected, again.rejected
    assert again.counts == {"shipments_existing": 2, "events_duplicate": 2}


def test_an_event_by_the_shops_id_finds_the_imported_parcel(store: SqlStore) -> None:
    ingest(store, [parcel("A")], [event("A", days=2.0)])
    report = EventReport(event_code=EventCode.ACCEPTED, external_id="A", occurred_at=days_ago(2.0))
    assert record(store, report)[0].status is RecordingStatus.DUPLICATE
