"""Ready means warm; a slow model is `timed_out`, and the cut-off is in every answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta import bootstrap
from eta.api.schemas.estimates import EstimateResponse, OrderEstimateResponse, ShipByResponse
from eta.domain.errors import InvalidValue
from eta.forecast.hazard.model import HazardModel
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry
from eta.settings import Settings
from support.model_app import DAYS, KEY, application, save_medians, save_model

# One process shares the models and the compiled loops.
TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("api")

LANE = {
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "1"},
}
#: A Wednesday, four hours before the cut-off.
ORDERED = {"order_time": "2026-05-20T11:00:00+02:00"}
PICKUP = {"order_cutoff_time": "15:00"}
NEXT_DAY = {**PICKUP, "order_processing_time": {"unit": "business_days", "value": 1}}
CUTOFF = {"order_by": "2026-05-20T15:00:00+02:00", "minutes_left": 240}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a version and the fallback; not to be changed."""
    folder = tmp_path_factory.mktemp("slow_or_failing") / "models"
    save_model(folder)
    save_medians(folder)
    return folder


@pytest.fixture
def client(registry: Path) -> Iterator[TestClient]:
    with TestClient(application(registry), headers={"X-API-Key": KEY}) as opened:
        yield opened


@pytest.fixture
def slow(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The model takes longer than a customer waits, until the event is set."""
    released, predict = threading.Event(), HazardModel.predict_curves

    def predict_late(self: HazardModel, *args: Any, **options: Any) -> Any:
        released.wait(15.0)
        return predict(self, *args, **options)

    assert client.get("/readyz").json()["status"] == "ready"
    monkeypatch.setattr(HazardModel, "predict_curves", predict_late)
    yield released
    released.set()


@pytest.fixture
def failing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model raises what nobody expects."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("the text is not shown")

    assert client.get("/readyz").json()["status"] == "ready"
    monkeypatch.setattr(HazardModel, "predict_curves", fail)


def post(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(f"/v1/{path}", json={**ORDERED, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def estimate(client: TestClient, *carriers: str, **body: Any) -> dict[str, Any]:
    services = [{"carrier_code": carrier} for carrier in carriers or ("post",)]
    answer = post(client, "estimates", **LANE, carriers=services, **body)
    EstimateResponse.model_validate_json(json.dumps(answer))
    return answer


def order_estimate(client: TestClient, **parcel: Any) -> dict[str, Any]:
    parcels = [{"origin_address": LANE["origin_address"], "carrier_code": "post", **parcel}]
    destination = LANE["destination_address"]
    answer = post(client, "order-estimates", destination_address=destination, parcels=parcels)
    OrderEstimateResponse.model_validate_json(json.dumps(answer))
    return answer


def test_the_first_requests_to_a_ready_server_compile_nothing(registry: Path) -> None:
    """A process of its own, because this one has compiled everything before."""
    command = [sys.executable, "-m", "support.compilations", str(registry)]
    run = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=300, check=True
    )
    figures = json.loads(run.stdout)
    assert figures["before"] > 10
    assert (figures["status"], figures["late"]) == ("ready", [])
    assert not {"no_model", "timed_out"} & set(figures["codes"])


@pytest.mark.usefixtures("slow")
def test_a_slow_model_is_timed_out_and_the_cutoff_stays(client: TestClient) -> None:
    answer = estimate(client, "post", "other", estimated_pickup=NEXT_DAY)
    assert (answer["degraded"], answer["model_version"]) == (True, None)
    for result in answer["results"]:
        assert (result["confidence_code"], result["degraded"]) == ("timed_out", True)
        assert (result["cutoff"], result["ship_on_date"]) == (CUTOFF, "2026-05-21")
        # The fallback knows nothing of the pick-up, but nothing arrives before it.
        assert result["estimated_delivery_date_min"] >= "2026-05-21"


@pytest.mark.usefixtures("slow")
def test_a_slow_model_does_not_hold_up_an_order(client: TestClient) -> None:
    answer = order_estimate(client, estimated_pickup=NEXT_DAY)
    (parcel,) = answer["parcels"]
    assert (answer["code"], answer["degraded"], answer["first"]) == ("timed_out", True, None)
    assert (parcel["confidence_code"], parcel["cutoff"]) == ("timed_out", CUTOFF)
    assert parcel["ship_on_date"] == "2026-05-21"
    assert parcel["estimated_delivery_date"]


@pytest.mark.usefixtures("slow")
def test_an_answer_after_the_time_limit_is_not_cached_and_is_counted(client: TestClient) -> None:
    body = {**ORDERED, **LANE, "estimated_pickup": PICKUP}
    response = client.post("/v1/estimates", json=body)
    assert response.headers["cache-control"] == "no-store"
    assert 'eta_answers_total{code="timed_out"} 1.0' in client.get("/metrics").text
    assert client.get("/readyz").json()["status"] == "ready"


def test_learned_handling_stays_while_the_model_is_slow(
    client: TestClient, slow: threading.Event
) -> None:
    late = estimate(client, estimated_pickup=PICKUP)["results"][0]
    slow.set()
    in_time = estimate(client, estimated_pickup=PICKUP)["results"][0]
    while in_time["confidence_code"] == "timed_out":
        in_time = estimate(client, estimated_pickup=PICKUP)["results"][0]
    assert (in_time["confidence_code"], in_time["cutoff"]) == ("ok", late["cutoff"])
    assert in_time["ship_on_date"] == late["ship_on_date"]


def test_scores_wait_for_a_slow_model(client: TestClient, slow: threading.Event) -> None:
    threading.Timer(0.5, slow.set).start()
    (result,) = post_score(client)
    assert (result["confidence_code"], result["degraded"]) == ("ok", False)


def post_score(client: TestClient) -> list[dict[str, Any]]:
    body = {"as_of": ORDERED["order_time"], "shipments": [{**LANE, **ORDERED}]}
    response = client.post("/v1/score", json=body)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


@pytest.mark.usefixtures("failing")
def test_a_model_that_raises_is_no_model_in_every_answer(client: TestClient) -> None:
    answer = estimate(client, "post", "other", estimated_pickup=NEXT_DAY)
    assert (answer["degraded"], answer["model_version"]) == (True, None)
    for result in answer["results"]:
        assert (result["confidence_code"], result["cutoff"]) == ("no_model", CUTOFF)
        assert result["estimated_delivery_date"]
    order = order_estimate(client, estimated_pickup=PICKUP)
    assert (order["code"], order["parcels"][0]["cutoff"]) == ("no_model", CUTOFF)
    (scored,) = post_score(client)
    assert (scored["confidence_code"], scored["degraded"]) == ("no_model", True)
    ship_by = post(client, "ship-by", **LANE, desired_delivery_date="2026-05-29")
    ShipByResponse.model_validate_json(json.dumps(ship_by))
    assert (ship_by["degraded"], ship_by["results"][0]["code"]) == (True, "no_model")
    assert "eta_model_failures_total 4.0" in client.get("/metrics").text


@pytest.mark.usefixtures("failing")
def test_a_recorded_shipment_is_shown_although_the_model_raises(client: TestClient) -> None:
    registered = client.post("/v1/shipments", json={**LANE, **ORDERED, "external_id": "A1"})
    shipment = client.get(f"/v1/shipments/{registered.json()['id']}").json()
    assert shipment["forecast"]["confidence_code"] == "no_model"
    assert shipment["forecast"]["estimated_delivery_date"]
    listed = client.get("/v1/shipments").json()
    assert (listed["degraded"], len(listed["results"])) == (True, 1)


def test_a_request_at_fault_is_refused_and_not_answered_by_the_fallback(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise InvalidValue("business_days", "no day is open", "send other days")

    monkeypatch.setattr("eta.api.routes.estimates.estimate_delivery", refuse)
    response = client.post("/v1/estimates", json={**ORDERED, **LANE})
    assert response.status_code == 422
    assert "eta_model_failures_total 0.0" in client.get("/metrics").text


@pytest.mark.parametrize("has_fallback", [True, False])
@pytest.mark.parametrize("pickup", [PICKUP, NEXT_DAY])
def test_the_cutoff_needs_no_model(
    tmp_path: Path, has_fallback: bool, pickup: dict[str, Any]
) -> None:
    if has_fallback:
        save_medians(tmp_path)
    ship_on_date = "2026-05-21" if pickup is NEXT_DAY else "2026-05-20"
    with TestClient(application(tmp_path), headers={"X-API-Key": KEY}) as client:
        (result,) = estimate(client, estimated_pickup=pickup)["results"]
        (parcel,) = order_estimate(client, estimated_pickup=pickup)["parcels"]
        (without,) = estimate(client)["results"]
    for answered in (result, parcel):
        assert answered["confidence_code"] == "no_model"
        assert (answered["cutoff"], answered["ship_on_date"]) == (CUTOFF, ship_on_date)
        assert (answered["estimated_delivery_date"] is not None) == has_fallback
    assert (without["cutoff"], without["ship_on_date"]) == (None, None)


def test_services_have_their_own_pickup_days_without_a_model(tmp_path: Path) -> None:
    carriers = [{"pickup_days": [1, 5]}, {"pickup_days": [3]}, {}]
    body = {**LANE, "carriers": carriers, "estimated_pickup": PICKUP}
    with TestClient(application(tmp_path), headers={"X-API-Key": KEY}) as client:
        results = post(client, "estimates", **body)["results"]
    shipped = [result["ship_on_date"] for result in results]
    assert shipped == ["2026-05-22", "2026-05-20", "2026-05-20"]


def test_a_version_is_warmed_up_before_it_is_swapped_in(registry: Path, tmp_path: Path) -> None:
    models = shutil.copytree(registry, tmp_path / "models")
    loader = bootstrap.model_loader(Settings(models=models), lambda _: None)
    loader.refresh()
    first = loader.current.version
    newer, active_meanwhile = save_model(models, days=DAYS + 10), []
    warm_up = loader.warm_up

    def observe(served: ModelBundle, data_through: datetime) -> None:
        active_meanwhile.append(loader.current.version)
        warm_up(served, data_through)

    loader.warm_up = observe
    Registry(models).promote(newer)
    loader.refresh()
    assert (active_meanwhile, loader.current.version) == ([first], newer)


def test_a_version_that_cannot_answer_is_not_swapped_in(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = shutil.copytree(registry, tmp_path / "models")
    loader = bootstrap.model_loader(Settings(models=models), lambda _: None)
    loader.refresh()
    first = loader.current.version
    newer = save_model(models, days=DAYS + 10)

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    # It can estimate, but not score.
    monkeypatch.setattr("eta.service.estimates.warm_up.score_shipments", fail)
    Registry(models).promote(newer)
    loader.refresh()
    assert (loader.current.version, loader.current.promoted) == (first, newer)
    assert loader.current.problems == (f"model version {newer} cannot predict: ZeroDivisionError",)
