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
