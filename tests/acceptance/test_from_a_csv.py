"""The page that starts from a shop's export runs as written, on an export made up here."""

import json
import os
import re
import socket
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "from-a-csv.md"
SETUP, CONVERT, TRAIN, SERVE, ASK = blocks(PAGE, "sh")
(SCRIPT,) = blocks(PAGE, "python")
PARCELS, DAYS = 3_000, 240

pytestmark = pytest.mark.xdist_group("from-a-csv")


def export() -> pd.DataFrame:
    """An export of a shop in Germany, up to today, with the columns that the page shows."""
    random = np.random.default_rng(1)
    today = pd.Timestamp.now().normalize()
    ages = np.sort(random.uniform(0.0, DAYS, PARCELS))[::-1]
    ordered = pd.Series(today - pd.to_timedelta(ages, unit="D"))
    country = pd.Series(random.choice(["DE", "AT"], PARCELS, p=[0.8, 0.2]))
    carrier = pd.Series(random.choice(["dhl", "dpd"], PARCELS))
    days = 1.0 + random.gamma(6.0, 0.3, PARCELS) + 2.0 * (country == "AT")
    delivered = ordered.dt.normalize() + pd.to_timedelta(days.round(), unit="D")
    is_lost = random.random(PARCELS) < 0.01
    delivered = delivered.mask(is_lost | (delivered >= today))
    columns: dict[str, Any] = {"shipment_id": [f"{100_000 + number}" for number in range(PARCELS)]}
    columns["ordered"] = ordered.dt.strftime("%Y-%m-%d %H:%M")
    columns["delivered"] = delivered.dt.strftime("%Y-%m-%d")
    columns["destination_country"] = country
    columns["destination_postcode"] = country.map({"DE": "10115", "AT": "1010"})
    columns["carrier"] = carrier
    columns["service_level"] = "standard"
    return pd.DataFrame(columns)


def shell(command: str, folder: Path) -> str:
    """What a command prints, in the shell that the page prepares."""
    done = subprocess.run(
        ["bash", "-ec", command],  # noqa: S607  # as a reader would
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("ETA_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{others['PATH']}"
    return {**others, "ETA_HOME": str(folder), "PATH": path}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's export, in which the page was followed up to a promoted model."""
    place = tmp_path_factory.mktemp("shop")
    export().to_csv(place / "orders.csv", index=False)
    (place / "convert.py").write_text(SCRIPT, encoding="utf-8")
    shell(CONVERT, place)
    shell(TRAIN, place)
    return place


def test_the_page_shows_the_columns_of_the_export() -> None:
    text = PAGE.read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| shipment_id |"))
    assert re.findall(r"\w+", header) == list(export().columns)
    assert len([line for line in SCRIPT.splitlines() if line.strip()]) <= 10
    assert "export ETA_HOME=$PWD" in SETUP


def test_no_row_of_the_export_is_lost(folder: Path) -> None:
    orders = export()
    shipments = pd.read_csv(folder / "shop" / "shipments.csv")
    events = pd.read_csv(folder / "shop" / "events.csv")
    assert len(shipments) == len(orders)
    assert (events["event_code"] == "delivered").sum() == orders["delivered"].notna().sum()
    assert not (folder / "quarantine.csv").exists()


def test_a_spreadsheet_of_german_dates_needs_only_the_named_changes(
    folder: Path, tmp_path: Path
) -> None:
    orders = export()
    for name, form in (("ordered", "%d.%m.%Y %H:%M"), ("delivered", "%d.%m.%Y")):
        orders[name] = pd.to_datetime(orders[name]).dt.strftime(form)
    orders.to_csv(tmp_path / "orders.csv", sep=";", encoding="cp1252", index=False)
    script = SCRIPT.replace("dtype=str", 'dtype=str, sep=";", encoding="cp1252"')
    script = re.sub(r"to_datetime\((.*?)\)\.dt", r"to_datetime(\1, dayfirst=True).dt", script)
    assert script.count("dayfirst=True") == 2
    (tmp_path / "convert.py").write_text(script, encoding="utf-8")
    shell(CONVERT, tmp_path)
    for name in ("shipments.csv", "events.csv"):
        assert (tmp_path / "shop" / name).read_text() == (folder / "shop" / name).read_text()


def test_the_version_was_checked_and_is_active(folder: Path) -> None:
    promoted = json.loads((folder / "models" / "promoted.json").read_bytes())["history"][-1]
    manifest = json.loads((folder / "models" / promoted / "manifest.json").read_bytes())
    (row,) = [
        row
        for row in manifest["check"]["rows"]
        if (row["model"], row["moment"]) == ("eta", "purchase")
    ]
    assert row["n"] > 100
    assert 0.65 < row["coverage_censored_80"] < 0.95


def test_the_service_gives_a_date_for_an_order_placed_now(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["bash", "-c", f"exec {SERVE.strip()} --port {port}"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stderr=subprocess.DEVNULL
    ) as server:
        try:
            shell(f"until curl -fs http://127.0.0.1:{port}/readyz; do sleep 0.1; done", folder)
            answer = json.loads(shell(ASK.replace(":8000", f":{port}"), folder))
        finally:
            server.terminate()
    assert [result["carrier_code"] for result in answer["results"]] == ["dhl", "dpd"]
    for result in answer["results"]:
        assert result["confidence_code"] == "ok"
        assert not result["degraded"]
        first, last = (
            date.fromisoformat(result[f"estimated_delivery_date_{end}"]) for end in ("min", "max")
        )
        today = date.fromisoformat(answer["as_of"][:10])
        assert today <= first <= last <= today + timedelta(days=8)
        assert result["promise"]["date"]
