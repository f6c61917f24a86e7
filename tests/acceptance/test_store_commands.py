"""The commands on the store: ingest, export, backup, restore, erase and key."""

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

from eta.model.fallback import FALLBACK_FILE
from eta.model.registry import Registry
from eta.settings import Settings
from support.cli import CommandResult, execute, run, run_ok
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
    run_ok("simulate", folder, "--shipments", 800, models=folder)
    return folder


@pytest.fixture
def store_folder(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store that holds their history, where commands find it."""
    monkeypatch.setenv("ETA_DATABASE_URL", f"sqlite:{tmp_path / 'eta.sqlite'}")
    printed = run_ok("ingest", simulated, models=tmp_path)
    assert "800 shipments_created" in " ".join(printed.split())
    return tmp_path


def test_repeated_ingest_stores_nothing_and_backtests_like_its_source(
    simulated: Path, store_folder: Path
) -> None:
    again = run_ok("ingest", simulated, models=store_folder)
    assert "800 shipments_existing" in " ".join(again.split())
    assert "events_stored" not in again
    for data, name in ((str(simulated), "source"), ("store:", "store")):
        run_ok(
            "backtest",
            data,
            "--from",
            "2025-11-10",
            "--to",
            "2025-11-12",
            "--models",
            "B1,B4",
            "--json",
            store_folder / f"{name}.json",
            models=store_folder,
        )
    from_source, from_store = (
        json.loads((store_folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]
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
    run_ok(
        "train",
        "store:",
        "--tenant",
        "default",
        "--as-of",
        "2025-11-20",
        models=store_folder / "models",
    )


def test_ingested_history_gives_fallback_estimates_before_training(
    simulated: Path, store_folder: Path
) -> None:
    germany = {"country": "DE"}
    request = {
        "carriers": [{"carrier_code": "rhinefast"}],
        "origin_address": germany,
        "destination_address": germany,
        "order_time": "2025-12-01T10:00:00+01:00",
    }
    with TestClient(application(store_folder)) as client:
        (estimate,) = client.post("/v1/estimates", json=request, headers={"X-API-Key": KEY}).json()[
            "results"
        ]
    assert (estimate["degraded"], estimate["model_version"], estimate["basis"]["level"]) == (
        True,
        None,
        "calendar_only",
    )
    assert "2025-12-01" < estimate["estimated_delivery_date"] < "2025-12-10"
    Registry(store_folder).save({}, {}, datetime(2025, 11, 1, tzinfo=UTC))
    (store_folder / FALLBACK_FILE).write_bytes(b"those of a training")
    run_ok("ingest", simulated, models=store_folder)
    assert (store_folder / FALLBACK_FILE).read_bytes() == b"those of a training"


def test_export_contains_the_ingested_data(simulated: Path, store_folder: Path) -> None:
    run_ok("export", store_folder / "out", models=store_folder)
    for table, key in (
        ("shipments", ["shipment_id"]),
        ("events", ["shipment_id", "event_code", "occurred_at"]),
    ):
        before, after = (
            pd.read_parquet(folder / f"{table}.parquet").drop_duplicates(key).sort_values(key)
            for folder in (simulated, store_folder / "out")
        )
        assert after[key].to_numpy().tolist() == before[key].to_numpy().tolist()
    assert (store_folder / "out" / "events.parquet").stat().st_size > 0


def test_backup_restores_into_an_empty_store_only(store_folder: Path) -> None:
    run_ok("backup", store_folder / "copy.sqlite", models=store_folder)
    other = f"sqlite:{store_folder / 'other.sqlite'}"
    restored = run(
        "restore", store_folder / "copy.sqlite", models=store_folder, ETA_DATABASE_URL=other
    )
    assert restored.status == 0, restored.err
    assert (
        refusal(
            run(
                "restore", store_folder / "copy.sqlite", models=store_folder, ETA_DATABASE_URL=other
            )
        )
        == "error: the store holds something already; restore into an empty one"
    )
    assert refusal(run("backup", store_folder / "copy.sqlite", models=store_folder)).endswith(
        "is there already; name a new file"
    )
    assert refusal(
        run(
            "restore",
            store_folder / "nowhere.sqlite",
            models=store_folder,
            ETA_DATABASE_URL=f"sqlite:{store_folder / 'third.sqlite'}",
        )
    ).startswith("error: ")


def test_shipment_is_erased_by_its_external_id(simulated: Path, store_folder: Path) -> None:
    name = pd.read_parquet(simulated / "shipments.parquet")["shipment_id"].iloc[0]
    run_ok("erase", name, models=store_folder)
    assert refusal(run("erase", name, models=store_folder)) == f"error: there is no shipment {name}"
    run_ok("export", store_folder / "out", models=store_folder)
    assert name not in set(pd.read_parquet(store_folder / "out" / "events.parquet")["shipment_id"])


def test_other_processes_can_read_but_not_write_during_service(store_folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        assert service.stdin
        assert service.stdout.readline() == "open\n"
        refused = execute("erase", "A-1", models=store_folder)
        assert "another process writes" in refusal(refused)
        assert "PostgreSQL" in refused.err
        run_ok("backup", store_folder / "copy.sqlite", models=store_folder)
        run_ok("export", store_folder / "out", models=store_folder)
        service.stdin.close()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        "train store: --all-tenants",
        "score store: --as-of 2026-01-01",
        "export out",
        "backup copy.sqlite",
    ],
)
def test_commands_without_a_database_name_the_next_one(
    tmp_path: Path, command: str, is_there: bool
) -> None:
    if is_there:
        (tmp_path / "eta.sqlite").touch()
    ran = run(*command.split(), models=tmp_path / "models")
    assert ran.status == 2
    [error] = ran.errors
    assert error.startswith("error: nothing is recorded yet: ")
    assert error.endswith("; run `eta ingest DATA`, or name another database in ETA_DATABASE_URL")


def test_key_prints_the_api_key_and_its_settings_entry(tmp_path: Path) -> None:
    result = run("key", "--tenant", "shop", "--scope", "read", "--scope", "ingest", models=tmp_path)
    key, entry = result.out.split()
    assert entry == f"{hashlib.sha256(key.encode()).hexdigest()}:shop:read+ingest"
    caller = Settings.from_env({"ETA_API_KEYS": entry}).api_keys[entry.partition(":")[0]]
    assert (caller.tenant, sorted(caller.scopes)) == ("shop", ["ingest", "read"])
    assert key != run("key", models=tmp_path).out.split()[0]
    # Nothing between colons is a picture.
    assert ":gift:read" in run("key", "--tenant", "gift", "--scope", "read", models=tmp_path).out
    for tenant in ("a b", "", "x" * 65):
        ran = run("key", "--tenant", tenant, models=tmp_path)
        assert f"--tenant: {tenant!r} is no name of a tenant" in refusal(ran)


def test_service_without_its_store_fails_with_one_error_line(store_folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout
        assert service.stdin
        assert service.stdout.readline() == "open\n"
        assert "another process writes" in refusal(
            execute("serve", "--demo", "--port", "0", models=store_folder)
        )
        service.stdin.close()
    assert "holds something" not in refusal(
        run("export", store_folder / "nothing", "--tenant", "nobody", models=store_folder)
    )


def refusal(ran: CommandResult) -> str:
    assert ran.status == 2, ran.out + ran.err
    assert len(ran.errors) == 1, ran.err
    return ran.errors[0]
