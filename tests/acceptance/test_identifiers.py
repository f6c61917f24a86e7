"""An id that is recorded can be read back: others are refused at every door."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.datasets.tabular import read_tabular
from eta.domain.errors import InvalidValue
from eta.domain.registration import check_identifier
from eta.service.storage.import_dataset import import_dataset
from eta.settings import Settings
from eta.store.store import SqlStore, open_store

NOW = datetime(2026, 5, 20, 8, tzinfo=UTC)
BAD = {
    "a comma": "A,B",
    "a comma alone": ",",
    "a blank first": " A",
    "a blank last": "A ",
    "blanks alone": "  ",
    "a no-break space": "A\u00a0B",
    "a narrow no-break space": "A\u202fB",
    "an ideographic space": "A\u3000",
    "an em space": "\u2003A",
    "a line separator": "A\u2028B",
    "a zero-width space": "A\u200bB",
    "a zero-width joiner": "A\u200dB",
    "a byte-order mark": "\ufeffA",
    "a right-to-left override": "A\u202eB",
    "a soft hyphen": "A\u00adB",
    "a tab": "A\tB",
    "a line end": "A\n",
    "a unit separator": "A\u001fB",
    "a control character of Latin-1": "A\u0085B",
    "129 characters": "A" * 129,
}
GOOD = ["1", "A-1", "A B", "ä/ö.#?&=%+", "订单-7", "a" * 128, "A:B;C|D", "x'\"\\<>", "📦"]
PLACE = {"country": "AT"}
SHIPMENT = {
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-18T10:00:00+02:00",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("models")
    app = create_app(Settings(models=folder, is_demo=True), clock=lambda: NOW)
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.mark.parametrize("kind", BAD)
def test_the_api_refuses_it_and_names_the_field(client: TestClient, kind: str) -> None:
    shipment = {**SHIPMENT, "external_id": BAD[kind]}
    scored = {"shipments": [{**SHIPMENT, "shipment_id": BAD[kind]}]}
    for path, body, field in (
        ("/v1/shipments", shipment, "external_id"),
        ("/v1/score", scored, "shipment_id"),
    ):
        response = client.post(path, json=body)
        if response.status_code == 200:
            # A shipment of a score is refused alone.
            [problem] = response.json()["results"]
            text = str(problem)
        else:
            assert response.status_code == 422, response.text
            text = response.text
        assert field in text


@pytest.mark.parametrize("text", GOOD)
def test_what_is_accepted_is_read_back_and_deleted_by_it(client: TestClient, text: str) -> None:
    created = client.post("/v1/shipments", json={**SHIPMENT, "external_id": text})
    assert created.status_code == 201, created.text
    found = client.get("/v1/shipments", params={"external_ids": text}).json()["results"]
    assert [shipment["external_id"] for shipment in found] == [text]
    both = client.get("/v1/shipments", params={"external_ids": f"nobody,{text}"}).json()["results"]
    assert [shipment["external_id"] for shipment in both] == [text]
    assert client.delete("/v1/shipments", params={"external_id": text}).json() == {"deleted": 1}


def store() -> SqlStore:
    return open_store("memory:", lambda: NOW)


@pytest.mark.parametrize("as_parquet", [False, True])
def test_ingest_rejects_it_alone(tmp_path: Path, as_parquet: bool) -> None:
    ids = [BAD[kind] for kind in BAD if kind not in ("a line end", "blanks alone")] + GOOD
    frame = pd.DataFrame({"shipment_id": ids, "order_id": "o"})
    frame = frame.assign(origin_country="AT", destination_country="DE")
    frame = frame.assign(ordered_at="2026-05-18T10:00:00Z")
    events = pd.DataFrame(columns=["shipment_id", "event_code", "occurred_at"], dtype="str")
    for name, table in (("shipments", frame), ("events", events)):
        if as_parquet:
            table.to_parquet(tmp_path / f"{name}.parquet", index=False)
        else:
            table.to_csv(tmp_path / f"{name}.csv", index=False)
    dataset = read_tabular(tmp_path, now=NOW)
    opened = store()
    result = import_dataset(dataset, opened, "shop")
    recorded = opened.read(lambda session: session.all_shipments("shop"))
    opened.close()
    # Blanks around a text of a file are no part of it, so some ids are right without them.
    assert {row.external_id for row in recorded} == {*GOOD, "A"}
    assert {row.reason for row in result.rejected} <= {
        "invalid_shipment_id",
        "control_character_in_shipment_id",
        "shipment_id_comes_twice",
        "event_of_rejected_shipment",
    }
    wrong = {row.shipment_id for row in result.rejected if row.reason == "invalid_shipment_id"}
    assert {"A,B", "A\u00a0B", "A\u200bB", "A\u202eB", "A" * 129} <= wrong


@pytest.mark.parametrize("kind", BAD)
def test_one_function_defines_it(kind: str) -> None:
    with pytest.raises(InvalidValue, match=r"^external_id: "):
        check_identifier("external_id", BAD[kind])


def test_an_id_of_an_earlier_version_is_still_found_and_deleted(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'eta.sqlite'}"
    settings = Settings(models=tmp_path, is_demo=True, database_url=url)
    with TestClient(create_app(settings, clock=lambda: NOW), base_url="http://127.0.0.1") as client:
        shipment = client.post("/v1/shipments", json={**SHIPMENT, "external_id": "A"}).json()["id"]
    import apsw

    connection = apsw.Connection(str(tmp_path / "eta.sqlite"))
    connection.execute("UPDATE shipments SET external_id = ?", ["A,\u00a0B"])
    connection.close()
    with TestClient(create_app(settings, clock=lambda: NOW), base_url="http://127.0.0.1") as client:
        assert client.get(f"/v1/shipments/{shipment}").json()["external_id"] == "A,\u00a0B"
        event = {"external_id": "A,\u00a0B", "event_code": "accepted"}
        event["occurred_at"] = "2026-05-19T10:00:00Z"
        [result] = client.post("/v1/events", json={"events": [event]}).json()["results"]
        assert result["status"] == "stored"
        deleted = client.delete("/v1/shipments", params={"external_id": "A,\u00a0B"})
        assert deleted.json() == {"deleted": 1}
