"""The commands on what is recorded: a history comes in, models learn from it, copies go out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from eta.model.fallback import LANE_MEDIANS
from eta.model.registry import Registry
from eta.settings import Settings
from support.cli import Ran, execute, ran_well, run
from support.model_app import KEY, application

#: Holds the store open until its input ends, as a service does.
SERVICE = """
import os, sys
from datetime import UTC, datetime
from eta.store.store import open_store

store = open_store(os.environ["ETA_DATABASE_URL"], lambda: datetime.now(UTC))
print("open", flush=True)
sys.stdin.read()
store.close()
"""

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of simulated parcels; not to be changed."""
    folder = tmp_path_factory.mktemp("simulated")
    ran_well("simulate", folder, "--shipments", 800, models=folder)
    return folder


@pytest.fixture
def kept(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store that holds their history, where commands find it."""
    monkeypatch.setenv("ETA_DATABASE_URL", f"sqlite:{tmp_path / 'eta.sqlite'}")
    printed = ran_well("ingest", simulated, models=tmp_path)
    assert "800 shipments_new" in " ".join(printed.split())
    return tmp_path


def test_a_history_is_recorded_once_and_learned_from_like_its_source(
    simulated: Path, kept: Path
) -> None:
    again = ran_well("ingest", simulated, models=kept)
    assert "800 shipments_known" in " ".join(again.split())
    assert "events_stored" not in again
    for data, name in ((str(simulated), "source"), ("store:", "store")):
        ran_well(
            "backtest",
            data,
            "--from",
            "2025-11-10",
            "--to",
            "2025-11-12",
            "--models",
            "B1,B4",
            "--json",
            kept / f"{name}.json",
            models=kept,
        )
    from_source, from_store = (
        json.loads((kept / f"{name}.json").read_text(encoding="utf-8"))["rows"]
        for name in ("source", "store")
    )
    figures = (
        "model",
        "moment",
        "n",
        "n_censored",
        "mae_days",
        "crps_days",
        "crps_censored_days",
        "coverage_80",
        "late_auc",
    )
    judged = [
        [[row[name] for name in figures] for row in rows if row["model"] != "oracle"]
        for rows in (from_source, from_store)
    ]
    assert judged[0] == judged[1]
    assert judged[0]
    ran_well("train", "store:", "--as-of", "2025-11-20", models=kept / "models")


def test_a_history_gives_dates_before_anything_was_trained(simulated: Path, kept: Path) -> None:
    germany = {"country": "DE"}
    asked = {
        "carriers": [{"carrier_code": "rhinefast"}],
        "origin_address": germany,
        "destination_address": germany,
        "order_time": "2025-12-01T10:00:00+01:00",
    }
    with TestClient(application(kept)) as client:
        (told,) = client.post("/v1/estimates", json=asked, headers={"X-API-Key": KEY}).json()[
            "results"
        ]
    assert (told["degraded"], told["model_version"], told["basis"]["level"]) == (
        True,
        None,
        "calendar_only",
    )
    assert "2025-12-01" < told["estimated_delivery_date"] < "2025-12-10"
    Registry(kept).save({}, {}, datetime(2025, 11, 1, tzinfo=UTC))
    (kept / LANE_MEDIANS).write_bytes(b"those of a training")
    ran_well("ingest", simulated, models=kept)
    assert (kept / LANE_MEDIANS).read_bytes() == b"those of a training"


def test_an_export_holds_what_came_in(simulated: Path, kept: Path) -> None:
    ran_well("export", kept / "out", models=kept)
    for table, key in (
        ("shipments", ["shipment_id"]),
        ("events", ["shipment_id", "event_code", "occurred_at"]),
    ):
        before, after = (
            pd.read_parquet(folder / f"{table}.parquet").drop_duplicates(key).sort_values(key)
            for folder in (simulated, kept / "out")
        )
        assert after[key].to_numpy().tolist() == before[key].to_numpy().tolist()
    assert (kept / "out" / "events.parquet").stat().st_size > 0


def test_a_copy_fills_an_empty_store(kept: Path) -> None:
    ran_well("backup", kept / "copy.sqlite", models=kept)
    other = f"sqlite:{kept / 'other.sqlite'}"
    restored = run("restore", kept / "copy.sqlite", models=kept, ETA_DATABASE_URL=other)
    assert restored.status == 0, restored.err
    assert (
        refusal(run("restore", kept / "copy.sqlite", models=kept, ETA_DATABASE_URL=other))
        == "error: the store holds something already; restore into an empty one"
    )
    assert refusal(run("backup", kept / "copy.sqlite", models=kept)).endswith(
        "is there already; name a new file"
    )
    assert refusal(
        run(
            "restore",
            kept / "nowhere.sqlite",
            models=kept,
            ETA_DATABASE_URL=f"sqlite:{kept / 'third.sqlite'}",
        )
    ).startswith("error: ")


def test_a_shipment_is_erased_by_the_shops_number(simulated: Path, kept: Path) -> None:
    name = pd.read_parquet(simulated / "shipments.parquet")["shipment_id"].iloc[0]
    ran_well("erase", name, models=kept)
    assert refusal(run("erase", name, models=kept)) == f"error: there is no shipment {name}"
    ran_well("export", kept / "out", models=kept)
    assert name not in set(pd.read_parquet(kept / "out" / "events.parquet")["shipment_id"])


def test_while_a_service_writes_nobody_else_does_and_all_may_read(kept: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        assert service.stdin
        assert service.stdout.readline() == "open\n"
        refused = execute("erase", "A-1", models=kept)
        assert "another process writes" in refusal(refused)
        assert "PostgreSQL" in refused.err
        ran_well("backup", kept / "copy.sqlite", models=kept)
        ran_well("export", kept / "out", models=kept)
        service.stdin.close()


def test_a_key_is_shown_once_with_the_entry_that_knows_it(tmp_path: Path) -> None:
    made = run("key", "--tenant", "shop", "--scope", "read", "--scope", "ingest", models=tmp_path)
    key, entry = made.out.split()
    assert entry == f"{hashlib.sha256(key.encode()).hexdigest()}:shop:read+ingest"
    caller = Settings.from_env({"ETA_API_KEYS": entry}).api_keys[entry.partition(":")[0]]
    assert (caller.tenant, sorted(caller.scopes)) == ("shop", ["ingest", "read"])
    assert key != run("key", models=tmp_path).out.split()[0]
    # Nothing between colons is a picture.
    assert ":gift:read" in run("key", "--tenant", "gift", "--scope", "read", models=tmp_path).out
    assert "ETA_API_KEYS names the tenant" in refusal(
        run("key", "--tenant", "a b", models=tmp_path)
    )


def test_a_service_that_cannot_open_its_store_says_so_in_one_line(kept: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        assert service.stdin
        assert service.stdout.readline() == "open\n"
        assert "another process writes" in refusal(
            execute("serve", "--demo", "--port", "0", models=kept)
        )
        service.stdin.close()
    assert "holds something" not in refusal(
        run("export", kept / "nothing", "--tenant", "nobody", models=kept)
    )


def refusal(ran: Ran) -> str:
    assert ran.status == 2, ran.out + ran.err
    assert len(ran.errors) == 1, ran.err
    return ran.errors[0]
