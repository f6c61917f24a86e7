"""One contract for all stores: what is acknowledged stays, once, and it is always known what was known when."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eta.calendars.local_time import microseconds
from eta.domain.errors import (
    Conflict,
    InvalidValue,
    KeyReused,
    NotRecorded,
    RegisteredOtherwise,
    StoreBusy,
    StoreLocked,
    StoreRejected,
    StoreUnavailable,
)
from eta.domain.vocabulary import EventCode
from eta.service.estimates.estimate_delivery import Showing, keep_estimates
from eta.service.storage.backup import back_up, restore
from eta.service.storage.export import export_store
from eta.service.storage.idempotency import KEPT_FOR, Asking, Said, answer_once
from eta.service.storage.retention import Erasing, Retaining, erase_shipments, let_go_of_the_old
from eta.service.tracking import record_events as recording
from eta.service.tracking.forecast_history import Issuing, issue_forecasts
from eta.service.tracking.record_events import Outcome, Recorded, Report, Told, record_events
from eta.service.tracking.register_shipments import (
    Correcting,
    Registering,
    correct_shipments,
    register_shipments,
)
from eta.service.tracking.shipment_states import states_of
from eta.store import store as stores
from eta.store.migrations import MIGRATIONS, TABLES, migrate
from eta.store.records import StoredForecast
from eta.store.session import Session
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore, engine_of, open_store
from support.store import (
    NOW,
    TENANT,
    Clock,
    a_store,
    a_url,
    known,
    record,
    register,
    registration,
    require_postgres,
    scan,
)

pytestmark = pytest.mark.xdist_group("stores")

JOURNEY = (
    (EventCode.ACCEPTED, 60.0),
    (EventCode.ARRIVED_AT_FACILITY, 50.0),
    (EventCode.SORTED, 49.0),
    (EventCode.OUT_FOR_DELIVERY, 6.0),
    (EventCode.DELIVERED, 3.0),
)


def everything(store: SqlStore) -> dict[str, list[str]]:
    with store.snapshot() as session:
        return {
            table: sorted(map(repr, session._connection.rows(f"SELECT * FROM {table}")))  # noqa: S608, SLF001  # type: ignore[misc]
            for table in TABLES
        }


def status(store: SqlStore, shipment_id: str) -> str | None:
    return store.read(lambda session: session.statuses(TENANT, [shipment_id])).get(shipment_id)


def test_a_scan_is_stored_once_however_often_it_is_told(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    first, again = record(store, scan(1)), record(store, scan(1))
    assert [answer.outcome for answer in (*first, *again)] == [Outcome.STORED, Outcome.DUPLICATE]
    assert first[0].event_id == again[0].event_id
    twice = record(store, scan(1, EventCode.SORTED), scan(1, EventCode.SORTED))
    assert [answer.outcome for answer in twice] == [Outcome.STORED, Outcome.DUPLICATE]
    told = known(store, shipment_id)
    assert told
    assert [event.event_code for event in told.events] == ["order_created", "accepted", "sorted"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_scans_are_told_does_not_matter(store: SqlStore, seed: int) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    reports = [scan(1, code, hours_ago=hours) for code, hours in JOURNEY]
    random.Random(seed).shuffle(reports)
    for report in reports:
        record(store, report)
    assert status(store, shipment_id) == "delivered"


def test_what_was_told_of_a_number_before_it_was_registered_counts(store: SqlStore) -> None:
    [early] = record(store, scan(1, EventCode.OUT_FOR_DELIVERY))
    assert early.shipment_id is None
    shipment_id = register(store, registration(1)).shipment_id
    assert status(store, shipment_id) == "out_for_delivery"
    assert record(store, scan(1, EventCode.OUT_FOR_DELIVERY))[0] == Recorded(
        Outcome.DUPLICATE, early.event_id, shipment_id
    )


def test_a_scan_of_no_shipment_is_refused_alone(store: SqlStore) -> None:
    register(store, registration(1))
    stray = Report(event_code=EventCode.SORTED, external_id="nobody's", occurred_at=NOW)
    answers = store.write(record_events, Told(TENANT, [stray, scan(1)]))
    assert isinstance(answers[0], NotRecorded)
    assert isinstance(answers[1], Recorded)


def test_a_shipment_is_registered_once(store: SqlStore) -> None:
    first = register(store, registration(1))
    assert first.is_new
    assert register(store, registration(1)) == replace(first, is_new=False)
    by_number = replace(registration(1), external_id=None)
    with pytest.raises(Conflict, match="external_id"):
        register(store, by_number)
    with pytest.raises(RegisteredOtherwise) as refused:
        register(store, registration(1, weight_kg=2.0))
    assert refused.value.fields == ["weight_kg"]
    with pytest.raises(InvalidValue, match="48 hours"):
        register(store, registration(5, ordered_at=NOW + timedelta(hours=49)))
    nameless = register(store, replace(registration(2), external_id=None))
    assert (
        register(
            store, replace(registration(2), external_id=None, tracking_number="0000 0002")
        ).shipment_id
        == nameless.shipment_id
    )


def test_a_number_that_comes_again_after_months_is_another_parcels(
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


def test_a_scan_of_a_number_given_again_is_the_new_parcels(store: SqlStore, clock: Clock) -> None:
    old = register(store, registration(1)).shipment_id
    record(store, scan(1, EventCode.DELIVERED))
    clock.pass_hours(100 * 24)
    fresh = replace(scan(1), occurred_at=clock.now)
    # Told before the new one is registered, and the last one of the old told again.
    assert [
        answer.shipment_id for answer in record(store, fresh, scan(1, EventCode.DELIVERED))
    ] == [None, old]
    new = register(
        store, replace(registration(1, ordered_at=clock.now), external_id="A-2")
    ).shipment_id
    assert (status(store, old), status(store, new)) == ("delivered", "in_transit")
    again = record(store, scan(1, EventCode.DELIVERED), fresh)
    assert [(answer.outcome, answer.shipment_id) for answer in again] == [
        (Outcome.DUPLICATE, old),
        (Outcome.DUPLICATE, new),
    ]


def test_a_parcel_that_is_still_on_its_way_keeps_its_number(store: SqlStore, clock: Clock) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    clock.pass_hours(100 * 24)
    record(store, replace(scan(1, EventCode.DELIVERED), occurred_at=clock.now))
    assert status(store, shipment_id) == "delivered"


def test_a_number_that_somebody_told_of_long_ago_starts_anew(store: SqlStore, clock: Clock) -> None:
    record(store, scan(1, EventCode.DELIVERED))
    clock.pass_hours(150 * 24)
    assert (
        status(store, register(store, registration(1, ordered_at=clock.now)).shipment_id)
        == "pre_transit"
    )


def test_a_number_has_one_bearer_whatever_was_corrected(store: SqlStore, clock: Clock) -> None:
    early = register(store, replace(registration(7), tracking_number=None)).shipment_id
    register(store, registration(1))
    clock.pass_hours(100 * 24)
    store.write(correct_shipments, Correcting(TENANT, early, {"tracking_number": "00000001"}))
    record(store, replace(scan(1), occurred_at=clock.now))
    assert status(store, early) == "in_transit"
    with pytest.raises(Conflict, match="external_id"):
        register(store, replace(registration(1), external_id="A-3"))
    clock.pass_hours(100 * 24)
    assert register(store, replace(registration(1), external_id="A-3")).is_new


def test_what_is_told_of_a_shipment_stays_with_it_whatever_its_number(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    packed = Report(
        event_code=EventCode.ORDER_PACKED, external_id="A-1", occurred_at=NOW - timedelta(hours=30)
    )
    record(store, packed, scan(1))
    by_id, by_number = (
        replace(scan(1), carrier=None, tracking_number=None, shipment_id=shipment_id),
        replace(packed, external_id=None, carrier="post", tracking_number="1"),
    )
    assert [answer.outcome for answer in record(store, by_id, packed)] == [Outcome.DUPLICATE] * 2
    assert (
        record(store, replace(by_number, tracking_number="00000001"))[0].outcome
        is Outcome.DUPLICATE
    )
    store.write(correct_shipments, Correcting(TENANT, shipment_id, {"tracking_number": "99"}))
    told = known(store, shipment_id)
    assert told
    assert [event.event_code for event in told.events] == ["order_created", "order_packed"]
    assert record(store, packed)[0].outcome is Outcome.DUPLICATE
    other = known(store, register(store, replace(registration(1), external_id="A-2")).shipment_id)
    assert other
    assert [event.event_code for event in other.events] == ["order_created", "accepted"]


def test_a_scan_told_of_both_its_number_and_its_shipment_is_one(store: SqlStore) -> None:
    shipment_id = register(store, replace(registration(1), tracking_number=None)).shipment_id
    record(store, replace(scan(1), carrier=None, tracking_number=None, external_id="A-1"), scan(1))
    store.write(correct_shipments, Correcting(TENANT, shipment_id, {"tracking_number": "00000001"}))
    told = known(store, shipment_id)
    assert told
    assert [event.event_code for event in told.events] == ["order_created", "accepted"]
    assert told.state.scan_count == 2


def test_a_local_time_is_the_same_scan_whatever_zone_it_was_read_in(store: SqlStore) -> None:
    local = replace(
        scan(1), occurred_at=None, occurred_local=(NOW - timedelta(hours=9)).replace(tzinfo=None)
    )
    record(store, local)
    shipment_id = register(store, registration(1)).shipment_id
    assert record(store, local)[0].outcome is Outcome.DUPLICATE
    told = known(store, shipment_id)
    assert told
    assert told.state.scan_count == 2


def test_a_clock_that_was_ahead_for_a_while_does_not_make_scans_old(
    store: SqlStore, clock: Clock
) -> None:
    register(store, registration(1))
    clock.pass_hours(500 * 24)
    register(store, registration(2))
    clock.pass_hours(-500 * 24)
    assert record(store, scan(1))[0].outcome is Outcome.STORED


def test_one_parcel_has_only_so_many_scans(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_SCANS", 5)
    answers = record(store, *(scan(1, EventCode.INFO, hours_ago=hours) for hours in range(8)))
    assert [answer.outcome for answer in answers] == [Outcome.STORED] * 5 + [
        Outcome.QUARANTINED
    ] * 3
    assert answers[-1].reason == "too_many_scans"


def test_a_corrected_carrier_changes_what_counts_and_not_what_was_known(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    record(store, scan(1, EventCode.DELIVERED), scan(1, EventCode.SORTED, carrier="other"))
    before = store.as_of()
    store.write(correct_shipments, Correcting(TENANT, shipment_id, {"carrier": "other"}))
    assert status(store, shipment_id) == "in_transit"
    now, then = known(store, shipment_id), known(store, shipment_id, before)
    assert now
    assert then
    assert (now.state.status, then.state.status) == ("in_transit", "delivered")
    assert (now.registration.shipment.carrier, then.registration.shipment.carrier) == (
        "other",
        "post",
    )
    assert len(now.versions) == 2
    # And back again: the scans of the first carrier count once more.
    store.write(correct_shipments, Correcting(TENANT, shipment_id, {"carrier": "post"}))
    assert status(store, shipment_id) == "delivered"


def test_a_correction_is_refused_where_it_cannot_be(store: SqlStore) -> None:
    one, _ = register(store, registration(1)).shipment_id, register(store, registration(2))
    with pytest.raises(Conflict, match="bears that number"):
        store.write(correct_shipments, Correcting(TENANT, one, {"tracking_number": "00000002"}))
    with pytest.raises(NotRecorded):
        store.write(correct_shipments, Correcting(TENANT, "shp_nobody", {"carrier": "other"}))
    with pytest.raises(InvalidValue):
        store.write(correct_shipments, Correcting(TENANT, one, {"weight_kg": 5_000.0}))


@pytest.mark.parametrize(
    ("hours", "reason"), [(401 * 24.0, "too_far_in_the_past"), (-49.0, "too_far_in_the_future")]
)
def test_a_scan_that_cannot_be_right_is_kept_apart(
    store: SqlStore, hours: float, reason: str
) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    [answer] = record(store, scan(1, EventCode.DELIVERED, hours_ago=hours))
    assert (answer.outcome, answer.reason) == (Outcome.QUARANTINED, reason)
    assert status(store, shipment_id) == "pre_transit"
    assert [
        row.event_id for row in store.read(lambda session: session.quarantined(TENANT, "", 9))
    ] == [answer.event_id]
    assert store.read(lambda session: session.counts(TENANT)) == {
        "shipments": 1,
        "events": 1,
        "quarantine": 1,
    }


def test_each_change_of_status_is_told_once_to_the_outbox(store: SqlStore) -> None:
    register(store, registration(1))
    for code, hours in (*JOURNEY, *JOURNEY):
        record(store, scan(1, code, hours_ago=hours))
    rows = store.read(lambda session: session.outbox(TENANT))
    assert [row[1] for row in rows] == ["shipment.updated"] * 4
    assert ['"pre_transit"' in rows[0][4], '"delivered"' in rows[-1][4]] == [True, True]
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})


def test_what_was_answered_as_of_a_moment_stays_true_of_it(store: SqlStore, clock: Clock) -> None:
    ids = [register(store, registration(number)).shipment_id for number in range(3)]
    random_ = random.Random(7)
    reports = [
        scan(number, code, hours_ago=hours) for number in range(3) for code, hours in JOURNEY
    ]
    random_.shuffle(reports)
    answered = []
    for report in reports:
        record(store, report)
        answered.append((at := store.as_of(), [known(store, each, at) for each in ids]))
        clock.pass_hours(random_.choice([0.0, 0.0, 1.0]))
    assert len({at for at, _ in answered}) == len(answered)
    for at, told in answered:
        assert [known(store, each, at) for each in ids] == told


def test_what_is_being_written_is_not_known_as_of_now(store: SqlStore, clock: Clock) -> None:
    writes, goes_on = threading.Event(), threading.Event()

    def slow(session: Session, items: Sequence[int]) -> Sequence[int]:
        stamps = [session.stamp for _ in items]
        writes.set()
        assert goes_on.wait(10)
        return stamps

    future = store.submit(slow, 1)
    assert writes.wait(10)
    clock.pass_hours(1)
    meanwhile = [microseconds(store.as_of()) for _ in range(3)]
    goes_on.set()
    stamp = future.result()
    assert max(meanwhile) < stamp
    # And what is written after a moment was told as now becomes known after it.
    now = microseconds(store.as_of())
    assert stamp <= now < store.write(slow, 1)


def test_states_are_those_that_the_log_comes_to(store: SqlStore) -> None:
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
            for state in session.states(TENANT, (each.shipment_id for each in shipments))
        }
        again = states_of(shipments, session.all_events(TENANT), microseconds(store.as_of()))
    assert {state.shipment_id: state._replace(as_of=0) for state in again} == {
        name: state._replace(as_of=0) for name, state in written.items()
    }


def test_a_write_that_fails_is_undone_and_takes_nobody_with_it(store: SqlStore) -> None:
    def poison(session: Session, items: Sequence[int]) -> Sequence[int]:
        register_shipments(session, [Registering(TENANT, registration(item)) for item in items])
        if 13 in items:
            raise RuntimeError("a bug")
        return items

    futures = [store.submit(poison, number) for number in (12, 13, 14)]
    assert (futures[0].result(), futures[2].result()) == (12, 14)
    with pytest.raises(RuntimeError):
        futures[1].result()
    assert {
        each.external_id for each in store.read(lambda session: session.all_shipments(TENANT))
    } == {"A-12", "A-14"}


def test_more_than_can_wait_is_refused(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LONGEST_QUEUE", 10)
    with pytest.raises(StoreBusy):
        store.submit(record_events, Told(TENANT, [scan(1)] * 11), weight=11)
    record(store, scan(1))


def test_a_reply_is_given_again_with_its_key(store: SqlStore, clock: Clock) -> None:
    def asking(number: int, digest: str = "d") -> Asking:
        return Asking(
            TENANT,
            "key",
            digest,
            register_shipments,
            Registering(TENANT, registration(number)),
            lambda done: Said(201, done.shipment_id),
        )

    first = store.write(answer_once, asking(1))
    assert store.write(answer_once, asking(1)) == first
    with pytest.raises(KeyReused):
        store.write(answer_once, asking(1, "another"))
    assert len(store.read(lambda session: session.all_shipments(TENANT))) == 1
    clock.pass_hours(KEPT_FOR / 3.6e9 + 1)
    assert store.write(answer_once, asking(2, "another")) != first


def test_the_date_that_was_shown_becomes_the_promise(store: SqlStore) -> None:
    answer = '{"results": [{"carrier_code": "post", "service_code": null, "promise": {"date": "2026-05-29"}}]}'
    estimate_id = store.write(keep_estimates, Showing(TENANT, NOW, None, answer))
    told = known(
        store, register(store, replace(registration(1), estimate_id=estimate_id)).shipment_id
    )
    assert told
    assert str(told.registration.shipment.promised_on) == "2026-05-29"
    # The same again is the same shipment.
    assert not register(store, replace(registration(1), estimate_id=estimate_id)).is_new
    with pytest.raises(InvalidValue, match="estimate_id"):
        register(store, replace(registration(2), estimate_id="est_nobody"))
    with pytest.raises(InvalidValue, match="carrier and service"):
        register(store, replace(registration(2, carrier="other"), estimate_id=estimate_id))


def test_what_is_erased_is_nowhere_any_more(store: SqlStore) -> None:
    keep, go = (
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
    store.write(correct_shipments, Correcting(TENANT, go, {"carrier": "other"}))
    said = Asking(
        TENANT,
        "key",
        "d",
        register_shipments,
        Registering(TENANT, registration(77777777, carrier="other")),
        lambda done: Said(200, f'"{done.shipment_id}"'),
    )
    store.write(answer_once, said)
    assert store.write(erase_shipments, Erasing(TENANT, "external_id", "A-77777777")) == 1
    # A reply that may be given again holds our id alone, and goes after its 72 hours.
    assert not [
        row
        for table, rows in everything(store).items()
        if table != "replies"
        for row in rows
        if go in row or "77777777" in row
    ]
    assert status(store, keep) == "in_transit"
    assert store.write(erase_shipments, Erasing(TENANT, "external_id", "A-77777777")) == 0
    assert register(store, registration(77777777)).is_new


def test_erasing_takes_nothing_that_was_told_of_another_shipment(store: SqlStore) -> None:
    one = register(store, registration(1)).shipment_id
    store.write(correct_shipments, Correcting(TENANT, one, {"tracking_number": "99"}))
    two = register(store, replace(registration(1), external_id="A-2")).shipment_id
    record(store, scan(1))
    before = store.as_of()
    assert store.write(erase_shipments, Erasing(TENANT, "shipment_id", one)) == 1
    told, then = known(store, two), known(store, two, before)
    assert told
    assert then
    assert told.events == then.events
    assert told.state.status == status(store, two) == "in_transit"


def test_what_nobody_registered_is_let_go_of_too(store: SqlStore, clock: Clock) -> None:
    record(store, scan(1), scan(2, hours_ago=9_999.0))
    store.write(keep_estimates, Showing(TENANT, NOW, None, "{}"))
    clock.pass_hours(100)
    record(store, scan(3))
    clock.pass_hours(100)
    assert store.write(let_go_of_the_old, Retaining(150 * 3_600_000_000)) == 2
    left = {table: len(rows) for table, rows in everything(store).items() if rows}
    assert left == {"trackings": 1, "events": 1}


def test_an_answer_about_what_was_erased_meanwhile_is_not_kept(store: SqlStore) -> None:
    answer = json.dumps(
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
        "shp_gone", 1, None, json.dumps({**json.loads(answer), "delay_state": "overdue"})
    )
    store.write(issue_forecasts, Issuing(TENANT, [forecast]))
    assert not any(everything(store).values())


def test_what_nobody_has_heard_of_for_long_is_let_go_of(store: SqlStore, clock: Clock) -> None:
    register(store, registration(1))
    two = register(store, registration(2)).shipment_id
    clock.pass_hours(100)
    record(store, scan(2))
    clock.pass_hours(100)
    assert store.write(let_go_of_the_old, Retaining(None)) == 0
    assert store.write(let_go_of_the_old, Retaining(150 * 3_600_000_000)) == 1
    assert [
        each.shipment_id for each in store.read(lambda session: session.all_shipments(TENANT))
    ] == [two]


def test_what_was_written_is_there_after_a_restart(durable_url: str, clock: Clock) -> None:
    with a_store(durable_url, clock) as store:
        register(store, registration(1))
        record(store, *[scan(1, code, hours_ago=hours) for code, hours in JOURNEY])
        before, last = everything(store), store.as_of()
    with a_store(durable_url, Clock(NOW - timedelta(days=1))) as store:
        assert everything(store) == before
        # A clock that was set back does not take knowledge back.
        assert store.as_of() >= last


def test_a_copy_made_meanwhile_is_whole_and_fills_any_store(
    durable_url: str, clock: Clock, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with a_store(durable_url, clock) as store:
        for number in range(30):
            register(store, registration(number))
        waiting = [
            store.submit(
                record_events,
                Told(TENANT, [scan(number, code, hours_ago=hours) for code, hours in JOURNEY]),
            )
            for number in range(30)
        ]
        back_up(engine_of(durable_url), tmp_path / "copy.sqlite")
        for future in waiting:
            future.result()
        back_up(engine_of(durable_url), tmp_path / "later.sqlite")
        after = everything(store)
    with pytest.raises(StoreRejected, match="there already"):
        back_up(engine_of(durable_url), tmp_path / "copy.sqlite")
    other = "sqlite" if durable_url.startswith("postgresql") else "postgresql"
    with a_url(other, tmp_path / "other", postgres) as url:
        restore(engine_of(url), tmp_path / "later.sqlite")
        with a_store(url, clock) as store:
            assert everything(store) == after
            restored_id = register(store, registration(99)).shipment_id
        with a_store(durable_url, clock) as store:
            # Who was registered after the copy has an id that nobody gets from the copy.
            assert register(store, registration(98)).shipment_id != restored_id
        (tmp_path / "thesis.txt").write_text("no database", encoding="utf-8")
        with pytest.raises(StoreRejected, match="no copy"):
            restore(engine_of(f"sqlite:{tmp_path / 'empty.sqlite'}"), tmp_path / "thesis.txt")
        with pytest.raises(StoreRejected, match="holds something"):
            restore(engine_of(url), tmp_path / "later.sqlite")
    with a_url("sqlite", tmp_path / "early", postgres) as url:
        restore(engine_of(url), tmp_path / "copy.sqlite")
        with a_store(url, clock) as store:
            # All that was acknowledged before the copy began, and of each batch after it all or
            # nothing.
            assert len(store.read(lambda session: session.all_shipments(TENANT))) == 30
            told = store.read(lambda session: session.all_events(TENANT))
            assert len(told) % len(JOURNEY) == 0


def test_what_is_exported_is_what_was_told(store: SqlStore) -> None:
    register(store, registration(1, weight_kg=2.5))
    record(store, *[scan(1, code, hours_ago=hours) for code, hours in JOURNEY], scan(2))
    exported = store.read(lambda session: export_store(session, TENANT))
    assert exported.shipments[
        ["shipment_id", "weight_kg", "destination_region"]
    ].to_numpy().tolist() == [["A-1", 2.5, "8"]]
    assert sorted(exported.events["event_code"]) == sorted(
        ["order_created", *(code.value for code, _ in JOURNEY)]
    )
    assert exported.notes["events_of_no_shipment"] == 1


class Killed(BaseException):
    """The process dies here."""


def test_a_migration_killed_at_any_statement_begins_anew(
    durable_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(durable_url)
    migrations = (
        *MIGRATIONS,
        (
            "ALTER TABLE estimates ADD COLUMN note TEXT",
            "CREATE TABLE notes (note TEXT)",
            "INSERT INTO notes VALUES ('made')",
        ),
    )
    statements = 3 + sum(map(len, migrations)) + 3 * len(migrations)
    deaths = 0
    for last in range(statements):
        connection = engine.writer()
        count, rows = 0, connection.rows

        def dying(sql: str, *values: object, last: int = last, rows: Any = rows) -> Any:
            nonlocal count
            count += 1
            if count > last:
                raise Killed
            return rows(sql, *values)

        monkeypatch.setattr(connection, "rows", dying)
        try:
            migrate(connection, engine, migrations)
        except Killed:
            deaths += 1
            # What is not committed when a process dies is as if it had never been.
            connection.rollback()
        connection.close()
        engine.close()
    assert deaths > sum(map(len, migrations))
    connection = engine.writer()
    migrate(connection, engine, migrations)
    assert connection.rows("SELECT note FROM notes") == [("made",)]
    assert connection.rows("SELECT number FROM migrations ORDER BY number") == [(1,), (2,)]
    with pytest.raises(StoreRejected, match="newer version"):
        migrate(connection, engine, MIGRATIONS)
    connection.close()
    engine.close()


def test_a_second_process_may_not_write_to_a_file(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    with a_store(url, clock), pytest.raises(StoreLocked, match="PostgreSQL"), a_store(url, clock):
        pass
    with a_store(url, clock) as store:
        register(store, registration(1))


def test_every_commit_to_a_file_is_synced_and_what_is_deleted_is_overwritten(
    tmp_path: Path,
) -> None:
    connection = SqliteEngine(tmp_path / "eta.sqlite").writer()
    assert [
        connection.rows(f"PRAGMA {name}")
        for name in ("journal_mode", "synchronous", "secure_delete")
    ] == [[("wal",)], [(2,)], [(1,)]]
    connection.close()
    assert (tmp_path / "eta.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("fate", ["deleted", "replaced", "moved"])
def test_nothing_is_acknowledged_into_a_file_that_nobody_will_find(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    monkeypatch.setattr(stores, "TRY_AGAIN_AFTER", 0.05)
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
        assert record(store, scan(1))[0].outcome is Outcome.STORED
        assert known(store, shipment_id)
    store.close()


def test_a_log_without_its_database_is_not_given_to_another(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "eta.sqlite-wal").write_bytes(b"what was acknowledged")
    with pytest.raises(StoreRejected, match="not there"):
        open_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock)
    assert (tmp_path / "eta.sqlite-wal").read_bytes() == b"what was acknowledged"
    # Refused, it holds nothing: once the log is taken away, the same process may open it.
    (tmp_path / "eta.sqlite-wal").unlink()
    open_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock).close()


def test_who_has_written_nothing_lately_finds_out_whether_it_could(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.try_out() is None
    monkeypatch.setattr(stores, "TRY_OUT_AFTER", 0.0)
    tried = store.try_out()
    assert tried
    assert tried.result(10) is None


def test_two_processes_write_to_postgresql_together(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with (
        a_url("postgresql", tmp_path, postgres) as url,
        a_store(url, clock) as one,
        a_store(url, clock) as two,
    ):
        shipment_id = register(one, registration(1)).shipment_id
        reports = [
            scan(1, code, hours_ago=hours + minutes / 60)
            for code, hours in JOURNEY
            for minutes in range(20)
        ]
        futures = [
            each.submit(record_events, Told(TENANT, [report]))
            for report in reports
            for each in (one, two)
        ]
        outcomes = [future.result()[0].outcome for future in futures]  # type: ignore[union-attr]
        assert outcomes.count(Outcome.STORED) == outcomes.count(Outcome.DUPLICATE) == len(reports)
        told = known(two, shipment_id)
        assert told
        assert (told.state.status, told.state.scan_count) == ("delivered", 1 + len(reports))
        state = one.read(lambda session: session.states(TENANT, [shipment_id]))[0]
        assert state.scan_count == 1 + len(reports)
        # A clock that is behind does not make knowledge older than what another process knew
        # before.
        last = microseconds(one.as_of())
        with a_store(url, Clock(NOW - timedelta(hours=5))) as behind:
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


def test_a_server_that_was_restarted_is_asked_again(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with a_url("postgresql", tmp_path, postgres) as url, a_store(url, clock) as store:
        shipment_id = register(store, registration(1)).shipment_id
        assert known(store, shipment_id)
        with psycopg.connect(postgres(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (url.rpartition("/")[2],),
            )
        assert known(store, shipment_id)
        assert record(store, scan(1))[0].outcome is Outcome.STORED
        assert store.can_write


def test_processes_that_start_at_once_make_the_tables_once(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with a_url("postgresql", tmp_path, postgres) as url, ThreadPoolExecutor(4) as pool:
        for store in pool.map(lambda _: SqlStore(engine_of(url), clock), range(4)):
            store.close()


def test_what_another_process_acknowledged_is_known_whatever_the_clocks_say(
    postgres: Callable[[], str], tmp_path: Path, clock: Clock
) -> None:
    require_postgres()
    with (
        a_url("postgresql", tmp_path, postgres) as url,
        a_store(url, clock) as one,
        a_store(url, Clock(NOW - timedelta(hours=1))) as behind,
    ):
        assert known(behind, register(one, registration(1)).shipment_id)


def test_a_full_disk_refuses_what_is_told_and_answers_what_is_asked(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "TRY_AGAIN_AFTER", 0.05)
    engine = SqliteEngine(tmp_path / "eta.sqlite")
    store = SqlStore(engine, clock)
    shipment_id = register(store, registration(0)).shipment_id
    connection = store._connection  # noqa: SLF001  # the disk is filled behind its back
    assert connection
    pages = connection.rows("PRAGMA page_count")[0][0]
    original = SqliteEngine.writer

    def full(self: SqliteEngine) -> Any:
        opened = original(self)
        opened.rows(f"PRAGMA max_page_count = {pages + 2}")
        return opened

    monkeypatch.setattr(SqliteEngine, "writer", full)
    connection.rows(f"PRAGMA max_page_count = {pages + 2}")
    kept = list[str]()
    with pytest.raises(StoreUnavailable):
        while len(kept) < 1_000:
            kept.append(register(store, registration(1 + len(kept))).shipment_id)
    assert not store.can_write
    assert known(store, shipment_id)
    monkeypatch.setattr(SqliteEngine, "writer", original)
    for _ in range(100):
        if store.can_write:
            break
        threading.Event().wait(0.05)
    assert store.can_write, "nobody has to ask for it to be tried again"
    register(store, registration(5_000))
    assert all(known(store, each) for each in kept)
    store.close()
