"""`PATCH /v1/events/{id}`, and control characters at the doors of the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from eta.datasets.tabular import read_tabular
from eta.service.storage.import_dataset import import_dataset
from support.model_app import KEY, application
from support.store import NOW, TENANT, Clock, opened_store

PLACE = {"country": "AT"}
SHIPMENT = {
    "external_id": "A-1",
    "carrier_code": "post",
    "tracking_number": "AB1",
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-18T10:00:00Z",
}
SCAN = {
    "external_id": "A-1",
    "event_code": "delivered",
    "carrier_event_code": "X1",
    "occurred_at": "2026-05-19T10:00:00Z",
    "place": "Wien",
}
#: Characters that no identifier may hold: of both ranges of control characters, and at an end.
CONTROLS = ("A\x1fB", "A\nB", "A\x7fB", "A\x85B", "A\x1f", "\x1fA", "AB\n")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(application(tmp_path_factory.mktemp("models"))) as client:
        client.headers["X-API-Key"] = KEY
        assert client.post("/v1/shipments", json=SHIPMENT).status_code == 201
        yield client


def record(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/events", json={"events": [{**SCAN, **fields}]})
    result: dict[str, Any] = response.json()["results"][0]
    return result


def shipment(client: TestClient, **params: str) -> dict[str, Any]:
    response = client.get("/v1/shipments", params={"external_ids": "A-1", **params})
    result: dict[str, Any] = response.json()["results"][0]
    return result


def test_a_wrong_code_is_corrected_from_now_on(client: TestClient) -> None:
    event_id = record(client)["event_id"]
    before = shipment(client)
    assert before["forecast"]["status"] == "delivered"
    path = f"/v1/events/{event_id}"
    corrected = client.patch(path, json={"event_code": "out_for_delivery"})
    assert corrected.json() == {
        "object": "event",
        "event_id": event_id,
        "shipment_id": before["id"],
        "event_code": "out_for_delivery",
        "carrier_event_code": "X1",
        "occurred_at": "2026-05-19T10:00:00Z",
        "place": "Wien",
        "corrected": True,
        "created": True,
    }
    again = client.patch(path, json={"event_code": "out_for_delivery"}).json()
    assert again == {**corrected.json(), "created": False}
    after = shipment(client)
    assert after["forecast"]["status"] == "out_for_delivery"
    [event] = [each for each in after["journey"] if each["event_id"] == event_id]
    assert (event["event_code"], event["corrected"]) == ("out_for_delivery", True)
    assert shipment(client, as_of=before["as_of"])["journey"] == before["journey"]
    assert record(client)["status"] == "duplicate"


def test_a_correction_is_answered_once_for_its_key(client: TestClient) -> None:
    event_id = record(client, carrier_event_code="X2")["event_id"]
    body, headers = {"event_code": "held"}, {"Idempotency-Key": "once"}
    answers = [client.patch(f"/v1/events/{event_id}", json=body, headers=headers) for _ in range(2)]
    assert [answer.json()["created"] for answer in answers] == [True, True]
    other = client.patch(f"/v1/events/{event_id}", json={"event_code": "lost"}, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("event_id", "body", "status"),
    [
        ("evt_nobody", {"event_code": "sorted"}, 404),
        ("evt_nobody", {"event_code": "sorted", "place": "Wien"}, 422),
        ("evt_nobody", {"event_code": "unknown"}, 422),
        ("evt_nobody", {}, 422),
        ("evt_%1F", {"event_code": "sorted"}, 422),
    ],
)
def test_a_correction_is_refused(
    client: TestClient, event_id: str, body: dict[str, str], status: int
) -> None:
    response = client.patch(f"/v1/events/{event_id}", json=body)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_quarantined_event_is_not_corrected(client: TestClient) -> None:
    result = record(client, occurred_at="2020-01-01T00:00:00Z")
    assert result["status"] == "quarantined"
    path = f"/v1/events/{result['event_id']}"
    assert client.patch(path, json={"event_code": "sorted"}).status_code == 409


@pytest.mark.parametrize("text", CONTROLS)
def test_identifiers_refuse_control_characters(client: TestClient, text: str) -> None:
    number = {"external_id": None, "carrier_code": "post", "tracking_number": "AB1"}
    for fields in (
        {"carrier_event_code": text},
        {"external_id": text},
        {**number, "tracking_number": text},
        {**number, "carrier_code": text},
        {"external_id": None, "shipment_id": text},
        {"event_code": text},
    ):
        sent = {name: value for name, value in {**SCAN, **fields}.items() if value is not None}
        result = client.post("/v1/events", json={"events": [sent]}).json()["results"][0]
        # An id of another event may be recorded already: there is none like it.
        assert result["problem"]["status"] in (404, 422), fields
    for field in ("external_id", "carrier_code", "tracking_number", "service_code"):
        body = {**SHIPMENT, field: text}
        assert client.post("/v1/shipments", json=body).status_code == 422, field
    for field in ("carrier_code", "service_code", "tracking_number"):
        path = f"/v1/shipments/{shipment(client)['id']}"
        assert client.patch(path, json={field: text}).status_code == 422, field


def test_control_characters_in_a_place_become_blanks(client: TestClient) -> None:
    first = record(client, carrier_event_code="X3", place="Wien\x1fNord\n")
    again = record(client, carrier_event_code="X3", place="Wien Nord ")
    assert (first["status"], again["status"]) == ("stored", "duplicate")
    assert "Wien Nord " in [event["place"] for event in shipment(client)["journey"]]


def write_files(folder: Path, shipments: dict[str, list[str]], events: dict[str, Any]) -> None:
    pd.DataFrame(shipments).to_parquet(folder / "shipments.parquet", index=False)
    pd.DataFrame(events).to_parquet(folder / "events.parquet", index=False)


def test_files_refuse_control_characters_in_identifiers(tmp_path: Path, clock: Clock) -> None:
    ids = ["A", "A\x1f", "B\x1fC", "D"]
    shipments = {
        "shipment_id": ids,
        "order_id": [*ids[:3], "D\x85"],
        "origin_country": ["AT"] * 4,
        "destination_country": ["AT"] * 4,
    }
    events = {
        "shipment_id": ["A", "A", "A", "A\x1f", "A\n"],
        "event_code": ["sorted"] * 3 + ["info"] * 2,
        "occurred_at": ["2026-05-19T10:00:00Z"] * 4 + ["2026-05-19T11:00:00Z"],
        "received_at": ["2026-05-19T10:00:00Z"] * 4 + ["2026-05-19T11:00:00Z"],
        "raw_code": ["X", "X\x1f", "X\x1fY", "X", None],
        "place": ["Wien\x1fNord", "Wien", "Wien", "Wien", None],
    }
    write_files(tmp_path, shipments, events)
    dataset = read_tabular(tmp_path, now=NOW)
    assert dataset.shipments["shipment_id"].tolist() == ["A"]
    assert dataset.events["place"].tolist()[:1] == ["Wien Nord"]
    assert len(dataset.events) == 2
    assert dataset.rejected() == {
        "control_character_in_order_id": 1,
        "control_character_in_raw_code": 2,
        "control_character_in_shipment_id": 3,
    }
    with opened_store("memory:", clock) as store:
        assert import_dataset(dataset, store, TENANT).counts["events_stored"] == 2


def test_readings_and_corrections_are_read_from_files(tmp_path: Path, clock: Clock) -> None:
    shipments = {
        "shipment_id": ["A"],
        "order_id": ["A"],
        "origin_country": ["AT"],
        "destination_country": ["AT"],
    }
    events = {
        "shipment_id": ["A"] * 4,
        "event_code": ["out_for_delivery", "delivered", "delivered", "sorted"],
        "occurred_at": ["2026-05-19T10:00:00Z"] * 4,
        "received_at": [f"2026-05-19T1{hour}:00:00Z" for hour in (1, 2, 3, 4)],
        "raw_code": ["X"] * 4,
        "correction_number": [0, 0, 0, 1],
    }
    write_files(tmp_path, shipments, events)
    dataset = read_tabular(tmp_path, now=NOW)
    assert dataset.events["correction_number"].tolist() == [0, 0, 1]
    assert dataset.rows["events.parquet"].duplicate == 1
    with opened_store("memory:", clock) as store:
        import_dataset(dataset, store, TENANT)
        with store.snapshot() as session:
            [row] = session.all_shipments(TENANT)
            [state] = session.states(TENANT, [row.shipment_id])
    assert (state.status, state.scan_count) == ("in_transit", 1)
