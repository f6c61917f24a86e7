"""What a caller deletes is in no file of an idle service any more."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from eta.api import app as api
from eta.settings import Settings
from eta.store import trace_removal
from support.store import Clock

PLACE = {"country": "AT", "postal_code": "6850"}
SHIPMENT = {
    "external_id": "ORDER-4711",
    "carrier_code": "post",
    "tracking_number": "TRACK0815",
    "origin_address": PLACE,
    "destination_address": {"country": "AT", "postal_code": "6911"},
    "order_time": "2026-05-18T10:00:00+02:00",
}
SCAN = {
    "carrier_code": "post",
    "tracking_number": "TRACK0815",
    "event_code": "accepted",
    "occurred_at": "2026-05-19T09:30:00Z",
    "place": "Zimtweg",
}


def test_a_deleted_shipment_is_in_no_file_and_no_log(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(api, "_ORPHAN_PURGE_SECONDS", 0.1)
    monkeypatch.setattr(trace_removal, "TRACES_SECONDS", 0.5)
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    settings = Settings(models=tmp_path / "models", is_demo=True, database_url=url)
    with TestClient(api.create_app(settings, clock=clock), base_url="http://127.0.0.1") as client:
        headers = {"Idempotency-Key": "one"}
        shipment_id = client.post("/v1/shipments", json=SHIPMENT, headers=headers).json()["id"]
        headers = {"Idempotency-Key": "two"}
        recorded = client.post("/v1/events", json={"events": [SCAN]}, headers=headers)
        assert recorded.status_code == 200, recorded.text
        client.get(f"/v1/shipments/{shipment_id}")
        words = (
            shipment_id,
            "ORDER-4711",
            "TRACK0815",
            "Zimtweg",
            recorded.json()["results"][0]["event_id"],
        )
        assert set(_found(tmp_path, words)) >= {shipment_id, "ORDER-4711", "TRACK0815"}
        assert client.delete(f"/v1/shipments/{shipment_id}").json() == {"deleted": 1}
        deadline = time.monotonic() + 10
        while _found(tmp_path, words) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _found(tmp_path, words)
        assert client.get(f"/v1/shipments/{shipment_id}").status_code == 404
    assert not _found(tmp_path, words)
    logged = "".join(each.getMessage() for each in caplog.records if each.name.startswith("eta"))
    assert logged
    assert not [word for word in words if word in logged]


def _found(folder: Path, words: tuple[str, ...]) -> list[str]:
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [word for word in words if word.encode() in content]
