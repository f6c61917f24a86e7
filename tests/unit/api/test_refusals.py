"""Every refused request is counted by its reason, and alert rules name metrics that exist."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

import eta.api
from eta.api import problem_details
from eta.api.app import create_app
from eta.api.metrics import Metrics, RowKind
from eta.api.problem_details import RefusalReason
from eta.domain.access import Principal
from eta.domain.errors import ClockRefused, StoreBusy, StoreUnavailable
from eta.settings import Settings
from eta.store.store import SqlStore

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
PLACE = {"country": "AT"}
LANE = {"origin_address": PLACE, "destination_address": PLACE}
SHIPMENT = {**LANE, "external_id": "A-1", "order_time": "2026-05-18T10:00:00+02:00"}


def opened(folder: Path, **settings: Any) -> TestClient:
    principals = {"key": Principal(name="key"), "weak": Principal(scopes=frozenset(), name="weak")}
    keys = {hashlib.sha256(key.encode()).hexdigest(): held for key, held in principals.items()}
    app = create_app(Settings(models=folder, api_keys=keys, **settings))
    return TestClient(app, headers={"X-API-Key": "key"})


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with opened(tmp_path) as client:
        yield client


def counted(client: TestClient) -> dict[str, float]:
    """The refusals by their reason, without those that did not occur."""
    text = client.get("/metrics").text
    found = re.findall(r'^eta_refusals_total{reason="(\w+)"} (\S+)$', text, flags=re.MULTILINE)
    assert {reason for reason, _ in found} == set(RefusalReason)
    return {reason: float(count) for reason, count in found if float(count)}


def test_each_refusal_has_its_reason(client: TestClient) -> None:
    assert counted(client) == {}
    client.get("/v1/models", headers={"X-API-Key": "other"})
    client.get("/v1/models", headers={"X-API-Key": "weak"})
    client.get("/nothing")
    client.get("/v1/shipments/shp_1")
    client.put("/v1/models")
    client.post("/v1/estimates", content=b"x", headers={"Content-Type": "text/plain"})
    client.post("/v1/estimates", json={})
    client.post("/v1/estimates", content=b"{", headers={"Content-Type": "application/json"})
    client.post("/v1/score", content=b"x" * (9 << 20), headers={"Content-Type": "application/json"})
    client.post("/v1/shipments", json=SHIPMENT)
    client.post("/v1/shipments", json={**SHIPMENT, "weight": {"value": 1, "unit": "kg"}})
    assert counted(client) == {
        "unauthenticated": 1,
        "forbidden": 1,
        "not_found": 2,
        "unsupported": 2,
        "invalid": 2,
        "too_large": 1,
        "conflict": 1,
    }
    client.get("/v1/models")
    assert client.get("/readyz").status_code == 200
    assert sum(counted(client).values()) == 10


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreBusy(), "store_busy"),
        (StoreUnavailable(), "store_unavailable"),
        (ClockRefused("the clock is ahead"), "clock"),
    ],
)
def test_each_503_has_its_own_reason(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "submit", broken)
        assert client.post("/v1/shipments", json=SHIPMENT).status_code == 503
    assert counted(client) == {reason: 1}


def test_an_error_of_ours_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, rate_limit="1/day") as client:
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 429, 429]
        assert counted(client) == {"rate": 2}

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr("eta.api.strict_route.authenticate", broken)
            assert client.get("/v1/models").status_code == 500
        assert counted(client) == {"rate": 2}


def test_every_status_of_a_problem_has_a_reason() -> None:
    sources = Path(eta.api.__file__).parent.rglob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    statuses = set(map(int, re.findall(r"ProblemError\(\s*(\d{3})", text)))
    assert statuses >= {400, 401, 403, 408, 413, 415, 422, 429}
    assert statuses <= set(problem_details._REASONS)  # noqa: SLF001  # the table itself


def test_the_store_metric_follows_readiness(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\neta_store_can_write 1.0\n" in client.get("/metrics").text
    monkeypatch.setattr(SqlStore, "can_write", False)
    assert client.get("/readyz").status_code == 503
    assert "\neta_store_can_write 0.0\n" in client.get("/metrics").text


def rules() -> list[dict[str, Any]]:
    [text] = re.findall(
        r"```yaml\n(groups:.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL
    )
    [group] = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def names_of_metrics() -> set[str]:
    names = {"up"}
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        names |= {family.name + end for end in suffixes.get(family.type, ("",))}
    return names


#: Values that a label of a metric can have.
VALUES: dict[str, set[str]] = {
    "reason": set(RefusalReason),
    "kind": set(RowKind),
    "outcome": {"loaded", "rejected"},
    "status": {"500"},
    "route": {"/v1/estimates"},
    "job": {"eta"},
}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_rule_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]
    expression = rule["expr"]
    names = set(re.findall(r"\b(?:eta_\w+|up)\b", expression))
    assert names
    assert names <= names_of_metrics()
    for label, texts in re.findall(r'(\w+)=~?"([^"]*)"', expression):
        assert set(texts.split("|")) <= VALUES[label]
    assert expression.count("(") == expression.count(")")


def test_alerts_are_named_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
