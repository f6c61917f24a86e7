"""An event has the id of its whole content, in new stores and in old ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from eta.calendars.local_time import microseconds
from eta.domain.registration import carrier_number
from eta.domain.vocabulary import EventCode
from eta.service.tracking.record_events import EventReport, RecordingStatus
from eta.store.migrations import MIGRATIONS, migrate
from eta.store.store import SqlStore, engine_from_url
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

#: The last migration before events got the ids of their whole content.
BEFORE = 5
NUMBER = carrier_number("post", "00000001")


def report(**fields: Any) -> EventReport:
    values = {"event_code": EventCode.SORTED, "carrier": "post", "tracking_number": "00000001"}
    return EventReport(**{**values, "occurred_at": NOW, **fields})


local = datetime.fromisoformat


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"raw_code": "A", "place": "B\x1fC"}, {"raw_code": "A\x1fB", "place": "C"}),
        ({"raw_code": "X", "place": '"],["'}, {"raw_code": 'X"],["', "place": ""}),
        ({"raw_code": "delivered"}, {"raw_code": "delivered", "event_code": EventCode.DELIVERED}),
        ({"place": "1"}, {"place": "11"}),
        ({"raw_code": "A,B", "place": "C"}, {"raw_code": "A", "place": "B,C"}),
    ],
)
def test_other_content_has_another_id(
    store: SqlStore, one: dict[str, Any], other: dict[str, Any]
) -> None:
    outcomes = record(store, report(**one), report(**other))
    assert [outcome.status for outcome in outcomes] == [RecordingStatus.STORED] * 2
    assert outcomes[0].event_id != outcomes[1].event_id


def former_id(owner: str, code: str, time: str, place: str | None) -> str:
    content = "\x1f".join((owner, code, time, place or ""))
    return f"evt_{blake2b(content.encode(), digest_size=12).hexdigest()}"


OLD_REPORTS = [
    report(),
    report(raw_code="X1", place="Wien"),
    report(raw_code="X1", place="Wien", event_code=EventCode.DELIVERED, occurred_at=NOW),
    report(place="Wien\x1fNord"),
    # A local time that clocks skip, and one that needs no zone of the sender.
    report(occurred_at=None, occurred_local=local("2026-03-29T02:30:00"), country="AT"),
    report(
        occurred_at=None,
        occurred_local=local("2026-05-19T12:00:00.000500"),
        country="AT",
    ),
    report(
        occurred_at=None,
        occurred_local=local("2026-05-19T12:00:00"),
        timezone="Asia/Tokyo",
    ),
    report(place="far", occurred_at=datetime.fromisoformat("2020-01-01T00:00:00+01:00")),
]


def write_old_store(url: str, rows: list[Any], quarantined: list[Any]) -> None:
    """Fills a store of the version before, with the ids of that version."""
    engine = engine_from_url(url)
    with closing(engine), closing(engine.writer()) as connection:
        migrate(connection, engine, MIGRATIONS[:BEFORE])
        connection.begin(writes=True)
        columns = ", ".join("?" * 12)
        connection.execute_many(f"INSERT INTO events VALUES ({columns})", rows)  # noqa: S608  # marks
        connection.execute_many("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?)", quarantined)
        use = (TENANT, f"{NUMBER}|1", NUMBER, 1, microseconds(NOW), None)
        connection.execute_many("INSERT INTO tracking_number_uses VALUES (?, ?, ?, ?, ?, ?)", [use])
        connection.commit()


def with_former_ids(store: SqlStore, reports: list[EventReport]) -> tuple[list[Any], list[Any]]:
    """The rows of recorded events as the version before would have written them."""
    outcomes = record(store, *reports)
    with store.snapshot() as session:
        events = {event.event_id: event for event in session.all_events(TENANT)}
        implausible = session.quarantined(TENANT, "", 100)
    quarantined = {row.event_id: row for row in implausible}
    rows, old_quarantined = [], []
    for reported, outcome in zip(reports, outcomes, strict=True):
        local, at = reported.occurred_local, reported.occurred_at
        time = local.isoformat() if local else str(microseconds(at or NOW))
        owner = f"{NUMBER}|1"
        code = reported.raw_code or reported.event_code.value
        old_id = former_id(owner, code, time, reported.place)
        if outcome.event_id in events:
            event = events[outcome.event_id]._replace(event_id=old_id)
            rows.append((TENANT, *event[:-1]))
        else:
            row = quarantined[outcome.event_id]
            content = {**json.loads(row.content), "event_id": old_id}
            del content["correction_number"]
            old_row = row._replace(event_id=old_id, content=json.dumps(content))
            old_quarantined.append((TENANT, *old_row))
    return rows, old_quarantined


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[str]:
    if request.param == "postgresql":
        require_postgres()
    with fresh_url(request.param, tmp_path, postgres) as url:
        yield url


def test_resending_an_old_store_gives_only_duplicates(old_url: str, clock: Clock) -> None:
    with opened_store("memory:", clock) as source:
        # What the version before took for one event was not recorded twice.
        reports = [one for one in OLD_REPORTS if one.event_code is not EventCode.DELIVERED]
        rows, quarantined = with_former_ids(source, reports)
    assert (len(rows), len(quarantined)) == (6, 1)
    write_old_store(old_url, rows, quarantined)
    with opened_store(old_url, clock) as store:
        outcomes = record(store, *reports)
        expected = [RecordingStatus.DUPLICATE] * 6 + [RecordingStatus.QUARANTINED]
        assert [outcome.status for outcome in outcomes] == expected
        with store.snapshot() as session:
            assert session.counts(TENANT) == {"shipments": 0, "events": 6, "quarantine": 1}
        # A reading that the version before took for a duplicate is another event now.
        [reading] = record(store, OLD_REPORTS[2])
        assert reading.status is RecordingStatus.STORED


def test_the_order_of_a_registration_has_the_id_of_its_shipment(store: SqlStore) -> None:
    shipment_id = register(store, registration(1)).shipment_id
    history = shipment_history(store, shipment_id)
    assert history
    assert [event.event_id for event in history.events] == ["evt_" + shipment_id[4:]]


def test_a_local_time_that_clocks_skip_is_one_event_in_any_zone(store: SqlStore) -> None:
    skipped = local("2026-03-29T02:30:00")
    early = report(occurred_at=None, occurred_local=skipped)
    [first] = record(store, early)
    register(store, registration(1))
    [again] = record(store, early)
    assert (again.status, again.event_id) == (RecordingStatus.DUPLICATE, first.event_id)
    assert record(store, scan(1))[0].status is RecordingStatus.STORED
