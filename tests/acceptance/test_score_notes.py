"""`eta score` notes names that the model has not seen, and a model that is old."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from eta.model.registry import Registry
from support.cli import run, run_ok

TRAINED, SCORED = "2025-12-01", "2025-12-08"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated parcels, and a registry with a version of them."""
    folder = tmp_path_factory.mktemp("notes")
    data, models = folder / "data", folder / "models"
    run_ok("simulate", data, "--shipments", 2_000, models=models)
    run_ok("train", data, "--as-of", TRAINED, models=models)
    return folder


@pytest.fixture
def mistyped(folder: Path, tmp_path: Path) -> Path:
    """The same parcels, with one carrier's name mistyped and one without a name."""
    data = shutil.copytree(folder / "data", tmp_path / "data")
    shipments = pd.read_parquet(data / "shipments.parquet")
    first, second, *_ = shipments["carrier"].value_counts().index
    names = shipments["carrier"].astype(object).replace({first: f"{first}x", second: None})
    shipments.assign(carrier=names).to_parquet(data / "shipments.parquet")
    return data


def test_known_names_and_a_new_model_have_no_note(folder: Path) -> None:
    json_file = folder / "scored.json"
    models = folder / "models"
    ran = run("score", folder / "data", "--as-of", SCORED, "--json", json_file, models=models)
    assert (ran.status, "note:" in ran.err) == (0, False)
    assert json.loads(json_file.read_text())["unseen"] == []


def test_unseen_carriers_are_noted_with_their_parcels(folder: Path, mistyped: Path) -> None:
    carriers = pd.read_parquet(folder / "data" / "shipments.parquet")["carrier"].value_counts()
    name = carriers.index[0]
    json_file, out = mistyped.with_name("scored.json"), mistyped.with_name("scored.csv")
    models = folder / "models"
    arguments = ("score", mistyped, "--as-of", SCORED, "--json", json_file, "--out", out)
    ran = run(*arguments, models=models)
    assert ran.status == 0
    unseen = json.loads(json_file.read_text())["unseen"]
    (note,) = [name for name in unseen if name["kind"] == "carrier"]
    table = pd.read_csv(out)
    # After a failed attempt nothing is forecast.
    is_forecast = table["delay_state"].notna()
    parcels = int((is_forecast & (table["carrier"] == f"{name}x")).sum())
    assert (note["name"], note["nearest"], note["parcels"]) == (f"{name}x", name, parcels)
    text = " ".join(ran.err.split())
    assert f"{parcels} parcel" in text
    assert f"the nearest known is {name!r}" in text


def test_an_outdated_version_is_noted(folder: Path) -> None:
    arguments = ("score", folder / "data", "--as-of", SCORED)
    ran = run(*arguments, models=folder / "models", ETA_MAX_MODEL_AGE_DAYS="6")
    assert ran.status == 0
    assert "7 days before" in " ".join(ran.err.split())
    ran = run(*arguments, models=folder / "models", ETA_MAX_MODEL_AGE_DAYS="7")
    assert "days before" not in " ".join(ran.err.split())


def test_a_version_of_simulated_parcels_says_so_in_its_manifest(folder: Path) -> None:
    registry = Registry(folder / "models")
    (name,) = registry.names()
    assert registry.load(name).manifest["data"]["is_simulated"] is True
