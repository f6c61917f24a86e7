"""What callers send is counted in the metrics, by what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.settings import Settings
from support.model_app import fixed
from support.store import NOW, Clock

pytestmark = pytest.mark.xdist_group("api")

PLACE = {"country": "AT"}
SHIPMENT: dict[str, Any] = {
    "external_id": "A-1",
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-18T10:00:00Z",
}
SCAN = {"external_id": "A-1", "event_code": "accepted", "occurred_at": "2026-05-19T09:30:00Z"}


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> Iterator[TestClient]:
    app = create_app(Settings(models=tmp_path / "models", is_demo=True), clock=clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        app.state.resources.model_loader.current = fixed(400)
        yield client


def counted(client: TestClient) -> tuple[int, int, int, int]:
    """The kept, duplicate and rejected rows, and the unmapped codes."""
    text = client.get("/metrics").text
    figures = {
        name: int(float(value))
        for name, value in re.findall(r"^(eta_(?:rows|unmapped)\S+) (\S+)$", text, re.MULTILINE)
    }
    kinds = ("kept", "duplicate", "rejected")
    rows = [figures[f'eta_rows_total{{kind="{kind}"}}'] for kind in kinds]
    return (rows[0], rows[1], rows[2], figures["eta_unmapped_codes_total"])


def send_events(client: TestClient, *events: dict[str, Any], **headers: str) -> None:
    answer = client.post("/v1/events", json={"events": list(events)}, headers=headers)
    assert answer.status_code == 200, answer.text


def test_every_kind_is_there_before_anything_is_received(client: TestClient) -> None:
    assert counted(client) == (0, 0, 0, 0)


def test_registered_shipments_are_counted(client: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    assert client.post("/v1/shipments", json=SHIPMENT, headers=key).status_code == 201
    assert counted(client) == (1, 0, 0, 0)
    client.post("/v1/shipments", json=SHIPMENT, headers=key)
    client.post("/v1/shipments", json=SHIPMENT)
    assert counted(client) == (1, 2, 0, 0)
    other = {**SHIPMENT, "destination_address": {"country": "DE"}}
    assert client.post("/v1/shipments", json=other).status_code == 409
    assert client.post("/v1/shipments", json={**SHIPMENT, "weight": "heavy"}).status_code == 422
    assert counted(client) == (1, 2, 2, 0)


def test_recorded_events_are_counted(client: TestClient) -> None:
    client.post("/v1/shipments", json=SHIPMENT)
    far = {**SCAN, "occurred_at": "2020-01-01T00:00:00Z"}
    nobody = {**SCAN, "external_id": "A-2"}
    unmapped = {**SCAN, "event_code": "Z9"}
    send_events(client, SCAN, SCAN, far, nobody, unmapped, {**unmapped, "event_code": "Z8"})
    assert counted(client) == (2, 1, 4, 2)
    of_number = {**SCAN, "external_id": None, "carrier_code": "post", "tracking_number": "7"}
    send_events(client, {**of_number, "event_code": "info"}, **{"Idempotency-Key": "a"})
    send_events(client, {**of_number, "event_code": "info"}, **{"Idempotency-Key": "a"})
    assert counted(client) == (3, 2, 4, 2)


def test_events_as_json_lines_are_counted(client: TestClient) -> None:
    client.post("/v1/shipments", json=SHIPMENT)
    good = '{"external_id":"A-1","event_code":"accepted","occurred_at":"2026-05-19T09:30:00Z"}'
    content = "\n".join((good, good, "not json", good.replace("accepted", "Z9")))
    headers = {"Content-Type": "application/x-ndjson"}
    assert client.post("/v1/events", content=content, headers=headers).status_code == 200
    assert counted(client) == (2, 1, 2, 1)


def test_scored_shipments_and_their_events_are_counted(client: TestClient) -> None:
    event = {"event_code": "accepted", "occurred_at": "2026-05-19T09:30:00Z"}
    late = {**event, "received_at": "2026-05-19T12:00:00Z"}
    order = {name: value for name, value in SHIPMENT.items() if name != "external_id"}
    shipments = [
        {**order, "events": [event, late, {**event, "place": "Wien"}]},
        order,
        {**order, "events": [{**event, "event_code": "Z9"}]},
        {**order, "order_time": "yesterday"},
    ]
    body = {"as_of": NOW.isoformat(), "shipments": shipments}
    assert client.post("/v1/score", json=body).status_code == 200
    assert counted(client) == (4, 1, 2, 1)


def test_requests_that_are_no_rows_are_not_counted(client: TestClient) -> None:
    estimate = {**SHIPMENT, "external_id": None}
    client.post("/v1/estimates", json=estimate)
    client.get("/v1/shipments")
    client.post("/v1/events", json={"events": []})
    client.post("/v1/events", content="{")
    client.patch("/v1/shipments/shp_0", json={"carrier_code": "post"})
    assert counted(client) == (0, 0, 0, 0)
