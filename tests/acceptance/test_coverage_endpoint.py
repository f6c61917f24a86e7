"""`GET /v1/coverage`: what the active version has learned from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.app import create_app
from eta.api.schemas.coverage import ModelCoverage
from eta.domain.access import Principal, Scope
from eta.settings import Settings
from support.model_app import KEY, NOW, application, save_model

# One process shares the models and the compiled loops.
pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coverage") / "models"
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with TestClient(application(models), headers={"X-API-Key": KEY}) as opened:
        yield opened


def coverage(client: TestClient, **query: Any) -> dict[str, Any]:
    """A response, validated against the response model."""
    response = client.get("/v1/coverage", params=query)
    assert response.status_code == 200, response.text
    ModelCoverage.model_validate_json(response.text)
    answer: dict[str, Any] = response.json()
    return answer


def test_carriers_lanes_and_regions_come_with_their_parcels(client: TestClient) -> None:
    answer = coverage(client)
    assert answer["object"] == "coverage"
    assert answer["model_version"] == client.get("/readyz").json()["model_version"]
    assert answer["data_through"] == "2026-05-10T00:00:00Z"
    carriers = {row["carrier_code"]: row["parcels"] for row in answer["carriers"]}
    assert carriers.keys() == {"post", "other"}
    assert answer["parcels"] == sum(carriers.values())
    for name in ("carriers", "lanes", "regions"):
        counts = [row["parcels"] for row in answer[name]]
        assert counts == sorted(counts, reverse=True)
        assert min(counts) >= answer["min_parcels"] == 30
        assert answer["totals"][name] == len(counts)
    assert {"country": "AT", "state": "9"} in [lane["origin"] for lane in answer["lanes"]]
    assert {region["country"] for region in answer["regions"]} == {"AT"}
    # The data name no services.
    assert (answer["services"], answer["totals"]["services"]) == ([], 0)


def test_the_answer_is_that_of_one_carrier_and_bounded(client: TestClient) -> None:
    everything = coverage(client)
    post = coverage(client, carrier_code="post")
    assert [row["carrier_code"] for row in post["carriers"]] == ["post"]
    assert post["parcels"] < everything["parcels"]
    short = coverage(client, limit=1)
    assert short["lanes"] == everything["lanes"][:1]
    assert short["totals"] == everything["totals"]


def test_an_unknown_carrier_has_nothing_and_the_nearest_is_named(client: TestClient) -> None:
    answer = coverage(client, carrier_code="psot")
    assert (answer["parcels"], answer["carriers"], answer["lanes"]) == (0, [], [])
    (message,) = answer["messages"]
    assert (message["code"], message["path"]) == ("carrier_not_seen", "carrier_code")
    assert "'post'" in message["text"]


def test_groups_that_are_too_small_are_counted_and_not_named(tmp_path: Path) -> None:
    save_model(tmp_path, count=60)
    with TestClient(application(tmp_path), headers={"X-API-Key": KEY}) as client:
        answer = coverage(client)
    assert answer["left_out"]["lanes"] > 0
    assert all(row["parcels"] >= 30 for row in answer["lanes"])


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1_001}, {"limit": "all"}, {"carrier": "post"}]
)
def test_faulty_queries_are_refused(client: TestClient, query: dict[str, Any]) -> None:
    response = client.get("/v1/coverage", params=query)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_coverage_needs_a_key_that_may_read(models: Path) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = {digest: Principal(scopes=frozenset({Scope.ESTIMATE}))}
    app = create_app(Settings(models=models, api_keys=keys), clock=lambda: NOW)
    with TestClient(app) as client:
        assert client.get("/v1/coverage").status_code == 401
        assert client.get("/v1/coverage", headers={"X-API-Key": KEY}).status_code == 403


def test_without_a_version_nothing_is_covered(tmp_path: Path) -> None:
    with TestClient(application(tmp_path), headers={"X-API-Key": KEY}) as client:
        answer = coverage(client)
    assert (answer["model_version"], answer["data_through"], answer["parcels"]) == (None, None, 0)
    assert (answer["carriers"], answer["messages"]) == ([], [])
