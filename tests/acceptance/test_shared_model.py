"""A registry of models is shared by all tenants, and nobody is surprised by it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from eta import bootstrap
from eta.api.app import from_environment
from eta.api.auth import ApiKeyAuth, on_hang_up
from eta.cli.inputs import StoreTenants, read_data
from eta.domain.access import Scope
from eta.domain.errors import InvalidSetting, InvalidValue
from eta.settings import Settings, read_api_keys
from support.cli import run, run_ok
from support.model_app import KEY, application

pytestmark = pytest.mark.xdist_group("commands")


def entry(key: str, tenant: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{digest}:{tenant}:{'+'.join(Scope)}"


TWO = f"{entry('one', 'shop')},{entry('two', 'market')}"
ONE = f"{entry('one', 'shop')},{entry('two', 'shop')}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds the same parcels of two tenants; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    run_ok("simulate", home / "parcels", "--shipments", 40, models=home / "models")
    for tenant in ("market", "shop"):
        run_ok("ingest", home / "parcels", "--tenant", tenant, models=home / "models")
    return home


@pytest.mark.parametrize("command", ["train", "update"])
def test_learning_from_the_store_needs_a_choice_of_tenants(home: Path, command: str) -> None:
    ran = run(
        command, "store:", *(["--model", "newest"] * (command == "update")), models=home / "m"
    )
    assert ran.status == 2
    (error,) = ran.errors
    assert "the tenants recorded are: market, shop" in error
    assert "--tenant NAME" in error
    assert "--all-tenants" in error
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["store:shop", "--tenant", "market"], "two choices of tenants"),
        (["store:", "--tenant", "market", "--all-tenants"], "two choices of tenants"),
        (["store:shop", "--all-tenants"], "two choices of tenants"),
        (["store:", "--tenant", "nobody"], "holds no orders"),
        (["parcels", "--tenant", "shop"], "it is for what the service has recorded"),
        (["parcels", "--all-tenants"], "it is for what the service has recorded"),
    ],
)
def test_a_wrong_choice_of_tenants_is_one_error_line(
    home: Path, arguments: list[str], problem: str
) -> None:
    ran = run("train", *arguments, models=home / "models")
    assert ran.status == 2
    (error,) = ran.errors
    assert problem in error


def read(home: Path, data: str, tenants: StoreTenants) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETA_HOME", str(home))
        return read_data(Path(data), "tabular", tenants).shipments


def test_all_tenants_together_stay_apart_by_their_ids(home: Path) -> None:
    shop = read(home, "store:", StoreTenants("shop"))
    assert len(shop) == 40
    assert read(home, "store:shop", StoreTenants())["shipment_id"].equals(shop["shipment_id"])
    both = read(home, "store:", StoreTenants(is_all=True))
    tenant = both["shipment_id"].str.partition("/")
    assert tenant[0].value_counts().to_dict() == {"market": 40, "shop": 40}
    assert set(tenant[2]) == set(shop["shipment_id"])
    assert both["order_id"].nunique() == 2 * shop["order_id"].nunique()
    with pytest.raises(InvalidValue, match="--all-tenants"):
        read(home, "store:", StoreTenants())


def test_keys_of_several_tenants_need_the_setting(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("serve", "--port", "0", models=home / "models", ETA_API_KEYS=TWO)
    assert ran.status == 2
    (error,) = ran.errors
    assert "the keys are of 2 tenants, market, shop" in error
    assert "ETA_SHARED_MODEL=1" in error
    monkeypatch.setenv("ETA_DATABASE_URL", "memory:")
    monkeypatch.setenv("ETA_API_KEYS", TWO)
    with pytest.raises(InvalidSetting, match="ETA_SHARED_MODEL=1"):
        from_environment()
    bootstrap.settings({"ETA_API_KEYS": TWO, "ETA_SHARED_MODEL": "1"}).require_shared_model()
    bootstrap.settings({"ETA_API_KEYS": ONE}).require_shared_model()


@pytest.mark.parametrize("text", ["yes", "true", "2", "01"])
def test_the_setting_is_0_or_1(text: str) -> None:
    with pytest.raises(InvalidSetting, match="ETA_SHARED_MODEL must be 0 or 1"):
        Settings.from_env({"ETA_SHARED_MODEL": text})


def test_a_second_tenant_cannot_join_unnoticed_while_the_service_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(entry("one", "shop"))
    auth = ApiKeyAuth(read_api_keys(file))
    file.write_text(TWO.replace(",", "\n"))
    on_hang_up(auth, file)
    assert set(auth.key_counts) == {"shop"}
    assert "ETA_SHARED_MODEL=1" in caplog.text
    on_hang_up(auth, file, is_model_shared=True)
    assert set(auth.key_counts) == {"shop", "market"}


def test_the_list_of_models_says_that_it_is_shared(tmp_path: Path) -> None:
    with TestClient(application(tmp_path), headers={"X-API-Key": KEY}) as client:
        assert client.get("/v1/models").json()["is_shared"] is True
