"""What `eta train` and its siblings make of data that end raggedly, or that are faulty."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eta.model.registry import Registry
from support.cli import run, run_ok

pytestmark = pytest.mark.xdist_group("training data")

FEW_TREES = "[model]\ntrees = 4\nleaves = 8\n"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated year of parcels; not to be changed."""
    folder = tmp_path_factory.mktemp("simulated") / "data"
    run_ok("simulate", folder, "--shipments", "2000", models=folder.with_name("models"))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder of a registry that does not exist yet, beside a configuration with few trees."""
    (tmp_path / "train.toml").write_text(FEW_TREES, encoding="utf-8")
    return tmp_path / "models"


def train(data: Path, models: Path, *options: object) -> Any:
    """The JSON that training writes."""
    report = models.with_name("trained.json")
    config = models.with_name("train.toml")
    run_ok("train", data, "--config", config, "--json", report, *options, models=models)
    return json.loads(report.read_text(encoding="utf-8"))


def with_changes(data: Path, folder: Path, events: pd.DataFrame) -> Path:
    """Other events with their shipments."""
    folder.mkdir()
    shipments = pd.read_parquet(data / "shipments.parquet")
    has_events = shipments["shipment_id"].isin(events["shipment_id"])
    shipments[has_events].to_parquet(folder / "shipments.parquet")
    events.to_parquet(folder / "events.parquet")
    return folder


def test_tail_of_late_scans_is_not_the_date_of_a_version(
    simulated: Path, models: Path, tmp_path: Path
) -> None:
    events = pd.read_parquet(simulated / "events.parquet")
    last_order = events.loc[events["event_code"] == "order_created", "received_at"].max()
    # One late scan a day for half a year.
    late = events[events["event_code"] == "delivered"].tail(180)
    days = pd.Series(range(180), index=late.index)
    late_at = last_order + pd.to_timedelta(days + 10, unit="D")
    late = late.assign(event_code="info", raw_code="info", occurred_at=late_at, received_at=late_at)
    data = with_changes(simulated, tmp_path / "data", pd.concat([events, late]))
    ran = run("train", data, "--config", models.with_name("train.toml"), models=models)
    assert ran.status == 0
    (name,) = Registry(models).names()
    version = Registry(models).load(name)
    assert last_order < version.data_through < last_order + pd.Timedelta(days=21)
    assert version.manifest["check"] is not None
    last_day = (version.data_through - timedelta(days=1)).date()
    line = f"learns through {last_day}, the last day with a normal number of received rows"
    assert line in ran.err
    counted = re.search(r"([0-9,]+) rows were received later", ran.err)
    assert counted is not None
    assert int(counted[1]) > 180


@pytest.mark.parametrize("days_later", [40, 300])
def test_mistyped_receipt_is_not_the_date_of_a_version(
    simulated: Path, models: Path, tmp_path: Path, days_later: int
) -> None:
    events = pd.read_parquet(simulated / "events.parquet")
    events = events[events["received_at"] < "2025-07-01"]
    is_last = events["received_at"] == events["received_at"].max()
    mistyped_at = events["received_at"] + pd.Timedelta(days=days_later)
    received_at = events["received_at"].where(~is_last, mistyped_at)
    mistyped = events.assign(received_at=received_at)
    report = train(with_changes(simulated, tmp_path / "data", mistyped), models)
    assert report["data"]["through"] == "2025-07-01T00:00:00+00:00"
    assert report["check"] is not None


def test_update_without_as_of_uses_the_last_normal_day(simulated: Path, models: Path) -> None:
    version = train(simulated, models, "--as-of", "2025-12-20")["version"]
    report = models.with_name("updated.json")
    run_ok("update", simulated, "--model", version, "--json", report, models=models)
    updated = json.loads(report.read_text(encoding="utf-8"))["version"]
    assert Registry(models).load(updated).data_through.isoformat() < "2026-01-22"


SHIPMENTS = "shipment_id,order_id,origin_country,destination_country,carrier,ordered_at"
EVENTS = "shipment_id,event_code,occurred_at,received_at"
COMMANDS = (
    "train DATA",
    "score DATA --as-of 2026-03-01",
    "backtest DATA --from 2026-01-20 --to 2026-01-21 --models B1,B4,eta",
)


def write_csv(folder: Path, shipments: list[str], events: list[str]) -> Path:
    """A small folder of CSV files."""
    folder.mkdir()
    for name, rows in (("shipments", [SHIPMENTS, *shipments]), ("events", [EVENTS, *events])):
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def order(number: int, *, carrier: str = "dhl", ordered_at: str | None = None) -> str:
    """The row of a shipment, ordered on one of the first 28 days of 2026."""
    at = f"2026-01-{1 + number % 28:02d}T08:00:00Z" if ordered_at is None else ordered_at
    return f"A{number},O{number},DE,DE,{carrier},{at}"


def scan(number: int, code: str = "delivered", days: int = 1) -> str:
    """The row of an event so many days after the order."""
    at = f"2026-01-{1 + number % 28 + days:02d}T10:00:00Z"
    return f"A{number},{code},{at},{at}"


UNREADABLE = "A1,delivered,yesterday,2026-01-05T10:00:00Z"


def run_each(data: Path, models: Path) -> dict[str, tuple[int, str]]:
    """Exit status and standard error of each command, none of which may end in a traceback."""
    results = {}
    for command in COMMANDS:
        ran = run(*(data if word == "DATA" else word for word in command.split()), models=models)
        assert "Traceback" not in ran.err
        assert len(ran.errors) == (ran.status == 2)
        results[command.split()[0]] = (ran.status, ran.err)
    return results


@pytest.mark.parametrize(
    ("shipments", "events", "problem", "reason", "example"),
    [
        pytest.param(
            [order(1, ordered_at="")],
            [UNREADABLE],
            "holds no scans that can be used",
            "unreadable_occurred_at",
            "yesterday",
            id="every scan",
        ),
        pytest.param(
            [order(1).removeprefix("A1")],
            [scan(1)],
            "holds no orders that can be used",
            "no_shipment_id (1)",
            ",O1,DE,DE",
            id="every order",
        ),
        pytest.param(
            [order(1, ordered_at="")],
            [scan(2), scan(3)],
            "holds no scans that can be used",
            "event_of_no_shipment (2)",
            "A2,delivered",
            id="every scan is of another parcel",
        ),
        pytest.param(
            [],
            [scan(2)],
            "holds no orders that can be used",
            "event_of_no_shipment",
            "A2,delivered",
            id="scans without orders",
        ),
    ],
)
def test_data_of_rejected_rows_are_refused_with_reasons_and_examples(
    shipments: list[str],
    events: list[str],
    problem: str,
    reason: str,
    example: str,
    models: Path,
) -> None:
    data = write_csv(models.with_name("data"), shipments, events)
    for status, err in run_each(data, models).values():
        assert status == 2
        error = err.splitlines()[-1]
        assert problem in error
        assert reason in error
        assert example in err
    quarantine = pd.read_csv(models.with_name("quarantine.csv"))
    assert reason.split()[0] in set(quarantine["reason"])
    assert not models.exists()


@pytest.mark.parametrize(
    ("shipments", "events", "problem"),
    [
        pytest.param([], [], "holds no orders", id="no rows"),
        pytest.param([order(1, ordered_at="")], [], "holds no scans", id="no scans"),
        pytest.param([order(1)], [], "none of 1 parcels had arrived", id="one parcel"),
        pytest.param([order(1)], [UNREADABLE], "none of 1 parcels", id="its scan was rejected"),
        pytest.param(
            [order(number) for number in range(60)],
            [scan(number, "accepted") for number in range(60)],
            "none of 60 parcels had arrived",
            id="nothing was delivered",
        ),
        pytest.param(
            [order(number) for number in range(60)],
            [scan(number, "cancelled") for number in range(60)],
            "none of 60 parcels had arrived",
            id="all were cancelled",
        ),
    ],
)
def test_data_without_an_arrival_are_refused_with_the_number_of_parcels(
    shipments: list[str], events: list[str], problem: str, models: Path
) -> None:
    data = write_csv(models.with_name("data"), shipments, events)
    results = run_each(data, models)
    assert {status for status, _ in results.values()} == {2}
    for command in ("train", "score"):
        assert problem in results[command][1].splitlines()[-1]
    assert not models.exists()


@pytest.mark.parametrize(
    ("shipments", "events"),
    [
        pytest.param([order(1)], [scan(1)], id="one parcel"),
        pytest.param(
            [order(1 + 28 * number) for number in range(40)],
            [scan(1 + 28 * number, days=0) for number in range(40)],
            id="one day",
        ),
        pytest.param(
            [order(number, carrier="") for number in range(200)],
            [scan(number) for number in range(200)],
            id="no carrier",
        ),
    ],
)
def test_little_data_with_an_arrival_train_a_version_that_is_not_checked(
    shipments: list[str], events: list[str], models: Path
) -> None:
    data = write_csv(models.with_name("data"), shipments, events)
    report = train(data, models)
    assert report["check"] is None
    results = run_each(data, models)
    assert results["train"][0] == results["score"][0] == 0


def test_missing_deliveries_refuse_a_training_unless_forced_or_allowed(
    simulated: Path, models: Path, tmp_path: Path
) -> None:
    events = pd.read_parquet(simulated / "events.parquet")
    number = events["shipment_id"].str.removeprefix("sim").astype(int)
    is_end = events["event_code"].isin(
        ["delivered", "picked_up_by_recipient", "available_for_pickup", "delivery_attempted"]
    )
    data = with_changes(simulated, tmp_path / "data", events[~(is_end & (number % 10 < 3))])
    config = models.with_name("train.toml")
    options = ("train", data, "--config", config, "--as-of", "2025-08-01")
    ran = run(*options, models=models)
    assert ran.status == 2
    (error,) = ran.errors
    for part in ("never_delivered", "old orders", "max_never_delivered_share is 0.1", "sim00"):
        assert part in error
    assert "correct the data, or train anyway with --force, or with a higher threshold" in error
    assert not models.exists()
    quality = train(data, models, "--as-of", "2025-08-01", "--force")["quality"]
    assert quality["forced"] is True
    finding = next(entry for entry in quality["findings"] if entry["kind"] == "never_delivered")
    assert 0.25 < finding["share"] < 0.35
    assert sum(finding["by_carrier"].values()) == finding["count"]
    config.write_text(FEW_TREES + "[quality]\nmax_never_delivered_share = 0.4\n", encoding="utf-8")
    quality = train(data, models, "--as-of", "2025-08-01")["quality"]
    assert (quality["forced"], quality["thresholds"]["max_never_delivered_share"]) == (False, 0.4)


def test_score_refuses_to_train_on_data_that_are_not_fit(models: Path) -> None:
    scans = [scan(number, days=-1 if 0 < number % 28 < 14 else 2) for number in range(280)]
    scans = [line.replace("2026-01-29", "2026-02-01").replace("-30T", "-28T") for line in scans]
    data = write_csv(models.with_name("data"), [order(number) for number in range(280)], scans)
    for command in ("train DATA", "score DATA --as-of 2026-02-01"):
        ran = run(*(data if word == "DATA" else word for word in command.split()), models=models)
        assert ran.status == 2
        assert "delivered_before_order" in ran.errors[0]
        assert "dhl" in ran.err


def test_carrier_with_a_wrong_clock_is_named_and_trained_on(
    simulated: Path, models: Path, tmp_path: Path
) -> None:
    events = pd.read_parquet(simulated / "events.parquet")
    shipments = pd.read_parquet(simulated / "shipments.parquet")
    ids = shipments.loc[shipments["carrier"].eq("rhinefast"), "shipment_id"]
    is_scan = events["shipment_id"].isin(ids) & events["event_code"].ne("order_created")
    occurred_at = events["occurred_at"].where(~is_scan, events["occurred_at"] - pd.Timedelta("5h"))
    data = with_changes(simulated, tmp_path / "data", events.assign(occurred_at=occurred_at))
    findings = train(data, models)["quality"]["findings"]
    (finding,) = (entry for entry in findings if entry["kind"] == "clock_shifted")
    assert "rhinefast: hours of the day are -5 h" in finding["example"]


def test_clean_simulated_data_have_no_suspicious_figures(simulated: Path, models: Path) -> None:
    quality = train(simulated, models, "--as-of", "2025-09-01")["quality"]
    assert {entry["kind"]: entry["share"] < 0.02 for entry in quality["findings"]} == {
        "delivered_before_order": True,
        "never_delivered": True,
    }
    assert quality["rows"]["scans"] > 10_000
