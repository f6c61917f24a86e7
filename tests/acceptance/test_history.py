"""An ingested history over HTTP and on the command line, as it was known then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.client import Client
from eta.domain.access import DEFAULT_TENANT
from eta.settings import Settings
from support.cli import run, run_ok
from support.history import days_ago, event, ingest, parcel
from support.model_app import fixed
from support.store import NOW, Clock

pytestmark = pytest.mark.xdist_group("commands")

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
REHEARSAL = OPERATIONS.partition("## Rehearse a notifier")[2].partition("\n## ")[0]


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> FastAPI:
    return create_app(Settings(models=tmp_path / "models", is_demo=True), clock=clock)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A service that has ingested parcels of last month."""
    with TestClient(app, base_url="http://127.0.0.1") as client:
        app.state.resources.model_loader.current = fixed(400)
        shipments = [
            parcel("A", registered_at=days_ago(29), tracking_number="1Z 1"),
            parcel("B", ordered_at=days_ago(3)),
        ]
        events = [
            event("A", "order_created", 30.0),
            event("A", days=28.0),
            event("A", "delivered", 25.0, received_at=days_ago(24)),
            event("B", "order_created", 3.0),
        ]
        ingest(app.state.resources.store, shipments, events, DEFAULT_TENANT)
        yield client


def listed(client: TestClient, **query: object) -> dict[str, Any]:
    answer = client.get("/v1/shipments", params={name: str(query[name]) for name in query})
    assert answer.status_code == 200, answer.text
    return {row["external_id"]: row for row in answer.json()["results"]}


def iso(days: float) -> str:
    return days_ago(days).isoformat()


def test_a_list_before_the_import_holds_what_was_known_then(client: TestClient) -> None:
    assert not listed(client, as_of=iso(29.5))
    [early] = listed(client, as_of=iso(28.5)).values()
    assert [entry["event_code"] for entry in early["journey"]] == ["order_created"]
    [moving] = listed(client, as_of=iso(24.5)).values()
    assert moving["forecast"]["status"] == "in_transit"
    assert moving["created_at"] == moving["changed_at"] == iso(29).replace("+00:00", "Z")
    assert moving["tracking_number"] == "1Z1"
    assert moving["forecast"]["estimated_delivery_date"]
    assert {name: row["forecast"]["status"] for name, row in listed(client).items()} == {
        "A": "delivered",
        "B": "pre_transit",
    }


def test_a_single_shipment_before_its_registration_is_not_found(client: TestClient) -> None:
    shipment_id = listed(client)["A"]["id"]
    answers = [
        client.get(f"/v1/shipments/{shipment_id}", params={"as_of": iso(days)})
        for days in (29.1, 29.0)
    ]
    assert [answer.status_code for answer in answers] == [404, 200]


@pytest.mark.parametrize(
    ("status", "days", "names"),
    [
        ("in_transit", 24.5, ["A"]),
        ("delivered", 24.5, []),
        ("delivered", 24.0, ["A"]),
        ("pre_transit", 28.5, ["A"]),
        ("pre_transit", 2.0, ["B"]),
    ],
)
def test_a_status_with_as_of_is_that_of_then(
    client: TestClient, status: str, days: float, names: list[str]
) -> None:
    assert list(listed(client, status=status, as_of=iso(days))) == names


def test_pages_by_status_as_of_a_moment_reach_every_shipment(client: TestClient) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"status": "in_transit", "as_of": iso(24.5), "limit": 1}
    for _ in range(5):
        page = client.get("/v1/shipments", params=query).json()
        seen += [row["external_id"] for row in page["results"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["A"]


def test_a_later_scan_by_number_moves_the_ingested_parcel(client: TestClient) -> None:
    scan = {
        "carrier_code": "post",
        "tracking_number": "1z1",
        "event_code": "return_started",
        "occurred_at": (NOW - timedelta(hours=1)).isoformat(),
    }
    [result] = client.post("/v1/events", json={"events": [scan]}).json()["results"]
    assert (result["status"], result["shipment_id"]) == ("stored", listed(client)["A"]["id"])
    again = {**scan, "event_code": "accepted", "occurred_at": iso(28.0)}
    [result] = client.post("/v1/events", json={"events": [again]}).json()["results"]
    assert result["status"] == "duplicate"
    assert listed(client, as_of=iso(24.0))["A"]["forecast"]["status"] == "delivered"
    assert client.delete("/v1/shipments", params={"external_id": "A"}).json() == {"deleted": 1}
    assert not listed(client, as_of=iso(24.0))


def write_history(folder: Path, shipments: list[Any], events: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(shipments).to_csv(folder / "shipments.csv", index=False)
    pd.DataFrame(events).to_csv(folder / "events.csv", index=False)
    return folder


@pytest.fixture
def command_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a new store, where commands find it."""
    monkeypatch.setenv("ETA_DATABASE_URL", f"sqlite:{tmp_path / 'eta.sqlite'}")
    return tmp_path


def counts_of(printed: str, file: str) -> list[int]:
    """The rows of a file that were read, kept, duplicate and rejected, as printed."""
    [line] = [line for line in printed.splitlines() if line.strip().startswith(file)]
    return [int(figure.replace(",", "")) for figure in line.split()[1:]]


def test_ingest_names_rejected_rows_and_records_the_others(command_store: Path) -> None:
    shipments = [
        parcel("A", registered_at=days_ago(29), tracking_number="1Z 1"),
        parcel("B", registered_at="2099-01-01T00:00:00Z"),
        parcel("C", tracking_number="1Z1"),
        parcel("D", registered_at=None),
        parcel("E", tracking_number="--", weight_kg=-1),
        parcel("F", tracking_number="9", carrier=None),
    ]
    events = [event(name) for name in "ABBCDEA"]
    folder = write_history(command_store / "data", shipments, events)
    quarantine = command_store / "rejected.csv"
    ran = run("ingest", folder, "--quarantine", quarantine, models=command_store)
    assert ran.status == 0, ran.err
    # The same number a day apart: one of the two parcels cannot have it.
    [named] = [line for line in ran.err.splitlines() if "is registered with another" in line]
    rejected = pd.read_csv(quarantine)
    assert dict(zip(rejected["reason"], rejected["row"], strict=True)) == {
        "implausible_registered_at": 1,
        "recorded_with_other_values": 0,
        "impossible_tracking_number": 4,
        "tracking_number_without_carrier": 5,
        "impossible_weight_kg": 4,
        "event_of_no_shipment": 2,
        "event_of_rejected_shipment": 0,
    }
    assert named.split()[:2] == ["rejected", "A:"]
    assert counts_of(ran.err, "shipments.csv") == [6, 4, 0, 2]
    assert counts_of(ran.err, "events.csv") == [7, 3, 1, 3]
    run_ok("export", command_store / "out", models=command_store)
    recorded = pd.read_parquet(command_store / "out" / "shipments.parquet")
    recorded = recorded.set_index("shipment_id").sort_index()
    assert list(recorded.index) == ["C", "D", "E", "F"]
    assert recorded["tracking_number"].dropna().to_dict() == {"C": "1Z1"}
    assert recorded["registered_at"].eq(days_ago(30)).all()
    again = run("ingest", folder, "--quarantine", quarantine, models=command_store)
    assert counts_of(again.err, "shipments.csv") == [6, 0, 4, 2]
    assert counts_of(again.err, "events.csv") == [7, 0, 4, 3]
    exported = run("ingest", command_store / "out", models=command_store)
    assert counts_of(exported.err, "shipments.parquet") == [4, 0, 4, 0]
    assert counts_of(exported.err, "events.parquet")[1:] == [0, 7, 0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ordered_at": days_ago(-900)}, "implausible_ordered_at (2)"),
        ({"ordered_at": None}, "invalid_ordered_at (2)"),
        ({"registered_at": days_ago(-20_000)}, "implausible_registered_at (2)"),
    ],
)
def test_a_history_of_which_nothing_can_be_recorded_is_an_error(
    command_store: Path, columns: dict[str, Any], reason: str
) -> None:
    rows = [parcel("A", **columns), parcel("B", **columns)]
    folder = write_history(command_store / "data", rows, [event("C")])
    quarantine = command_store / "rejected.csv"
    ran = run("ingest", folder, "--quarantine", quarantine, models=command_store)
    assert ran.status == 2
    assert len(ran.errors) == 1
    assert reason in ran.errors[0]
    assert len(pd.read_csv(quarantine)) == 3


def test_what_is_recorded_can_be_ingested_for_another_tenant(command_store: Path) -> None:
    folder = write_history(command_store / "data", [parcel("A"), parcel("B")], [event("A")])
    run_ok("ingest", folder, models=command_store)
    copied = run("ingest", "store:", "--tenant", "copy", models=command_store)
    assert counts_of(copied.err, "shipments") == [2, 2, 0, 0]
    assert counts_of(copied.err, "events") == [3, 3, 0, 0]
    run_ok("backup", command_store / "copy.sqlite", models=command_store)
    other = {"ETA_DATABASE_URL": f"sqlite:{command_store / 'other.sqlite'}"}
    restored = run("restore", command_store / "copy.sqlite", models=command_store, **other)
    assert restored.status == 0
    again = run("ingest", folder, "--tenant", "copy", models=command_store, **other)
    assert counts_of(again.err, "shipments.csv") == [2, 0, 2, 0]
    assert counts_of(again.err, "events.csv") == [1, 0, 1, 0]


def test_ingest_prints_codes_that_are_not_ours(command_store: Path) -> None:
    events = [event("A", "XX"), event("A", "XX", 27.0), event("A", "YY"), event("A")]
    folder = write_history(command_store / "data", [parcel("A")], events)
    ran = run("ingest", folder, models=command_store)
    assert [line.split() for line in ran.err.splitlines() if "unmapped " in line] == [
        ["unmapped", "2", "XX"],
        ["unmapped", "1", "YY"],
    ]
    assert counts_of(ran.err, "events.csv") == [4, 4, 0, 0]


def test_ingest_reads_nulls_in_parquet_and_a_tenant(command_store: Path) -> None:
    folder = command_store / "data"
    folder.mkdir()
    shipments = [
        parcel("A", registered_at=None, tracking_number=None, weight_kg=None),
        parcel("B", registered_at=days_ago(29), tracking_number="12", weight_kg=1.0),
        parcel("C", ordered_at=None, registered_at=None, tracking_number=12, price=None),
    ]
    pd.DataFrame(shipments).astype({"tracking_number": "str"}).to_parquet(
        folder / "shipments.parquet"
    )
    rows = [event("A", place=None), event("B", place="Wien"), event("C", days=2.0)]
    pd.DataFrame(rows).to_parquet(folder / "events.parquet")
    ran = run("ingest", folder, "--tenant", "shop", models=command_store)
    assert ran.status == 0, ran.err
    assert counts_of(ran.err, "shipments.parquet") == [3, 2, 0, 1]
    run_ok("export", command_store / "out", "--tenant", "shop", models=command_store)
    recorded = pd.read_parquet(command_store / "out" / "shipments.parquet")
    assert sorted(recorded["shipment_id"]) == ["A", "B"]
    assert run("export", command_store / "none", models=command_store).status == 2
    unnamed = run("ingest", folder, "--tenant", "", models=command_store)
    assert unnamed.errors == [
        "error: --tenant: '' is no name of a tenant; use up to 64 letters, digits, - and _"
    ]


def run_recipe(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the Python of the recipe over a test client; returns its variables."""

    def request(_: Client, verb: str, path: str, *, query: dict[str, Any]) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        answer = client.request(verb, path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    monkeypatch.setattr(Client, "_request", request)
    [recipe] = re.findall(r"```python\n(.*?)```", REHEARSAL, flags=re.DOTALL)
    variables: dict[str, Any] = {}
    exec(recipe, variables)  # noqa: S102 - our own documentation
    return variables


def test_the_commands_of_the_rehearsal_run_as_written(
    command_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ok("simulate", command_store / "history", "--shipments", 800, models=command_store)
    commands = re.findall(r"^eta (.*)$", REHEARSAL, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "ingest", "serve"]
    models = command_store / "models"
    for command in commands[:2]:
        run_ok(*command.split(), models=models)
    [body] = re.findall(r"-d '(.*?)'\n", REHEARSAL, flags=re.DOTALL)
    url = f"sqlite:{command_store / 'eta.sqlite'}"
    app = create_app(Settings(models=models, is_demo=True, database_url=url))
    capsys.readouterr()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        recipe = run_recipe(client, monkeypatch)
        [score] = client.post("/v1/score", json=json.loads(body)).json()["results"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    as_of, shipments = recipe["as_of"], recipe["shipments"]
    assert recipe["page"]["model_version"].startswith("2025.11.01")
    # A parcel that has been open for more than 60 days is no longer forecast.
    assert {"pre_transit", "in_transit"} <= {each["forecast"]["status"] for each in shipments}
    for shipment in shipments:
        assert max(entry["received_at"] for entry in shipment["journey"]) <= as_of
    assert score["delay"]["state"]
    assert score["estimated_delivery_date"]
    out = command_store / "flags.csv"
    run_ok("score", "store:", "--as-of", as_of, "--out", out, models=models)
    scored = pd.read_csv(out)
    flagged = {each["external_id"] for each in recipe["flagged"]}
    assert flagged == set(scored.loc[scored["flag_raised"], "shipment_id"])
    assert flagged
