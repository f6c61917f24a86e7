"""The clock of the service as callers and operators see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.settings import Settings
from support.cli import run, run_ok
from support.store import NOW, TENANT, Clock, Machine, opened_store, register, registration

PLACE = {"country": "AT"}
SHIPMENT = {
    "external_id": "A-1",
    "carrier_code": "post",
    "tracking_number": "1234",
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-18T10:00:00+02:00",
}
SCAN = {
    "carrier_code": "post",
    "tracking_number": "1234",
    "event_code": "accepted",
    "occurred_at": "2026-05-19T09:30:00Z",
}
#: Requests that write something.
WRITES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/v1/shipments", {**SHIPMENT, "external_id": "A-2", "tracking_number": "99"}),
    ("POST", "/v1/events", {"events": [SCAN]}),
    ("PATCH", "/v1/shipments/{id}", {"weight": {"value": 2, "unit": "kg"}}),
    ("DELETE", "/v1/shipments/{id}", None),
    (
        "POST",
        "/v1/estimates",
        {"origin_address": PLACE, "destination_address": PLACE, "save": True},
    ),
)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def client(tmp_path: Path, machine: Machine) -> Iterator[TestClient]:
    settings = Settings(models=tmp_path / "models", is_demo=True, retention_days=400)
    app = create_app(settings, machine, machine.steady)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


@pytest.mark.parametrize("ahead", [timedelta(seconds=61), timedelta(days=400)])
def test_a_clock_that_is_ahead_refuses_writes_and_answers_reads(
    client: TestClient, machine: Machine, ahead: timedelta
) -> None:
    shipment_id = client.post("/v1/shipments", json=SHIPMENT).json()["id"]
    machine.set_clock(ahead=ahead)
    for method, path, body in WRITES:
        refused = client.request(method, path.format(id=shipment_id), json=body)
        assert refused.status_code == 503, refused.text
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert "clock" in refused.json()["detail"]
    answer = client.get(f"/v1/shipments/{shipment_id}").json()
    assert answer["as_of"].startswith("2026-05-20T08:00:00")
    assert answer["forecast"]["status"] == "pre_transit"
    readiness = client.get("/readyz")
    assert (readiness.status_code, readiness.json()["status"]) == (503, "unavailable")
    for moment in (NOW, NOW + ahead):
        assert moment.isoformat().replace("+00:00", "Z") in readiness.text
    [lead] = re.findall(r"^eta_clock_lead_seconds (.*)$", client.get("/metrics").text, re.MULTILINE)
    assert float(lead) == ahead.total_seconds()
    machine.set_clock(ahead=-ahead)
    assert client.get("/readyz").status_code == 200
    for method, path, body in WRITES:
        assert client.request(method, path.format(id=shipment_id), json=body).is_success


def test_estimates_go_on_at_a_time_that_does_not_jump(client: TestClient, machine: Machine) -> None:
    body = {"origin_address": PLACE, "destination_address": PLACE}
    before = client.post("/v1/estimates", json=body).json()
    machine.set_clock(ahead=timedelta(days=400))
    assert client.post("/v1/estimates", json=body).json() == before


def test_a_clock_that_is_set_back_is_a_problem_that_refuses_nothing(
    client: TestClient, machine: Machine
) -> None:
    shipment_id = client.post("/v1/shipments", json=SHIPMENT).json()["id"]
    machine.set_clock(ahead=-timedelta(days=400))
    outcomes = client.post("/v1/events", json={"events": [SCAN]}).json()["results"]
    assert [outcome["status"] for outcome in outcomes] == ["stored"]
    answer = client.get(f"/v1/shipments/{shipment_id}").json()
    assert answer["as_of"].startswith("2026-05-20T08:00:00")
    assert "eta_clock_lead_seconds -" in client.get("/metrics").text


def test_commands_that_write_wait_for_an_accepted_clock(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", Clock()) as store:
        register(store, registration(1))
        register(store, registration(2))
    refused = run("erase", "A-1", "--tenant", TENANT, models=models)
    assert refused.status == 2
    assert "2026-05-20T08:00:00Z" in refused.err
    assert "--accept-clock" in refused.err
    assert "erased A-1" in run_ok(
        "erase", "A-1", "--tenant", TENANT, "--accept-clock", models=models
    )
    assert "erased A-2" in run_ok("erase", "A-2", "--tenant", TENANT, models=models)


def test_the_accepted_idle_time_can_be_set(tmp_path: Path) -> None:
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", Clock()) as store:
        register(store, registration(1))
    erased = run(
        "erase", "A-1", "--tenant", TENANT, models=tmp_path / "models", ETA_MAX_IDLE_DAYS="36500"
    )
    assert erased.status == 0
