"""The HTTP API without an active model: the fallback answers, marked as degraded."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from eta import bootstrap
from eta.api.schemas.estimates import EstimateResponse
from eta.api.schemas.scores import ScoreList
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.forecast.baselines.lane_quantiles import FALLBACK_LEVELS
from eta.model import hot_swap as serving
from eta.model.fallback import FALLBACK_FILE
from eta.model.hot_swap import ActiveModel
from eta.model.registry import Registry
from eta.service.estimates.estimate_delivery import estimate_delivery
from eta.service.estimates.hypothetical_shipments import order_event
from eta.service.scoring.assessment import Assessment, AssessmentCode, AssessmentOptions
from eta.service.scoring.score_shipments import score_shipments
from eta.settings import Settings
from support.model_app import KEY, NOW, application, save_medians, save_model

# One process shares the models and the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

WITH_KEY = {"X-API-Key": KEY}
NEAR = {
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "1"},
    "carrier_code": "post",
}
ORDERED = "2026-05-20T09:30:00+02:00"
SCORED_AT = "2026-05-20T08:00:00Z"


@pytest.fixture(scope="module")
def valid_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a version and the fallback; not to be changed."""
    folder = tmp_path_factory.mktemp("valid_registry") / "models"
    save_model(folder)
    save_medians(folder)
    return folder


@pytest.fixture
def models(valid_registry: Path, tmp_path: Path) -> Path:
    """A copy of the registry, to be changed."""
    return shutil.copytree(valid_registry, tmp_path / "models")


@pytest.fixture
def medians_alone(models: Path) -> Path:
    """A registry with the fallback and no version."""
    for name in Registry(models).names():
        shutil.rmtree(models / name)
    return models


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls the registry much more often than in production."""
    monkeypatch.setattr(serving, "POLL_SECONDS", 0.01)


@pytest.fixture
def client(medians_alone: Path) -> Iterator[TestClient]:
    with TestClient(application(medians_alone)) as opened:
        yield opened


def score(client: TestClient, *shipments: dict[str, Any]) -> list[dict[str, Any]]:
    """The results, validated against the response model."""
    body = {
        "as_of": SCORED_AT,
        "shipments": [{"order_time": ORDERED, **shipment} for shipment in shipments],
    }
    response = client.post("/v1/score", json=body, headers=WITH_KEY)
    assert response.status_code == 200, response.text
    TypeAdapter(ScoreList).validate_json(response.text)
    answer: dict[str, Any] = response.json()
    return list(answer["results"])


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_so():
            return
        threading.Event().wait(0.02)
    raise AssertionError("the condition never became true")


def spoil(path: Path) -> None:
    """Changes one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_without_a_version_the_fallback_answers_as_degraded(client: TestClient) -> None:
    (result,) = score(client, NEAR)
    assert (result["degraded"], result["confidence_code"], result["model_version"]) == (
        True,
        "no_model",
        None,
    )
    assert (
        result["estimated_delivery_date_min"]
        <= result["estimated_delivery_date"]
        <= result["estimated_delivery_date_max"]
    )
    assert "2026-05-20" < result["estimated_delivery_date"] < "2026-05-27"
    assert result["promise"]["is_proposed"]
    assert result["promise"]["on_time_probability"] >= 0.9
    assert result["basis"] == {
        "level": "service+lane",
        "n_effective": result["basis"]["n_effective"],
        "data_through": "2026-05-10",
        "abstained": False,
    }
    assert result["basis"]["n_effective"] >= 30
    readiness = client.get("/readyz").json()
    assert (readiness["status"], readiness["model_version"], readiness["details"]) == (
        "degraded",
        None,
        ["there is no model version"],
    )


def test_a_score_response_is_marked_degraded(client: TestClient) -> None:
    answer = client.post("/v1/score", json={"shipments": []}, headers=WITH_KEY).json()
    assert (answer["degraded"], answer["model_version"]) == (True, None)


def test_a_parcel_in_transit_never_gets_a_past_date(client: TestClient) -> None:
    for days in (0, 2, 4, 8):
        (result,) = score(client, {**NEAR, "order_time": (NOW - timedelta(days=days)).isoformat()})
        assert (
            result["estimated_delivery_date"] is None
            or result["estimated_delivery_date"] >= "2026-05-20"
        )


@pytest.mark.parametrize(
    ("lane", "level"),
    [
        ({"carrier_code": "nobody knows it"}, "lane"),
        ({"carrier_code": None}, "lane"),
        ({"service_code": "overnight"}, "lane"),
        ({"weight": None}, "service+lane"),
        ({"weight": {"value": 1000, "unit": "kg"}}, "service+lane"),
        (
            {"destination_address": {"country": "AT", "state": "1", "postal_code": "1010"}},
            "service+lane",
        ),
        (
            {"destination_address": {"country": "AT", "state": "1", "postal_code": "A-7000"}},
            "service+lane",
        ),
        ({"destination_address": {"country": "AT"}}, "calendar_only"),
        ({"destination_address": {"country": "AT", "state": "Burgenland"}}, "service+lane"),
        ({"destination_address": {"country": "AT", "postal_code": "7000"}}, "service+lane"),
        ({"destination_address": {"country": "JP", "postal_code": "100-0001"}}, "none"),
        (
            {
                "origin_address": {"country": "KM"},
                "destination_address": {"country": "KM", "state": "A"},
            },
            "none",
        ),
    ],
)
def test_rare_lanes_use_a_wider_support_level_or_have_no_dates(
    client: TestClient, lane: dict[str, Any], level: str
) -> None:
    (result,) = score(client, {**NEAR, **lane})
    assert (
        result["basis"]["level"],
        result["confidence_code"],
        result["degraded"],
        result["basis"]["abstained"],
    ) == (level, "no_model", True, False)
    assert (result["estimated_delivery_date"] is None) == (level == "none")
    assert (result["basis"]["n_effective"] >= 30) == (level != "none")
    assert level in (*FALLBACK_LEVELS, "none")


def test_the_fallback_flags_only_promises_that_have_passed(client: TestClient) -> None:
    lost = {**NEAR, "order_time": "2026-05-10T08:00:00Z"}
    coming, passed, silent = score(
        client,
        {**NEAR, "order_promised_delivery_date": "2026-05-20"},
        {**lost, "order_promised_delivery_date": "2026-05-13"},
        lost,
    )
    # It will almost certainly be late, but the fallback raises no flag for it.
    assert coming["promise"]["on_time_probability"] < 0.1
    assert (coming["delay"]["state"], coming["delay"]["probability"]) == ("on_track", None)
    assert (passed["delay"]["state"], passed["delay"]["probability"]) == ("overdue", 1.0)
    assert (silent["delay"]["state"], silent["delay"]["evidence"]) == ("on_track", [])


@pytest.mark.usefixtures("quick")
def test_the_fallback_replaces_a_broken_version_until_a_new_one(
    models: Path, valid_registry: Path
) -> None:
    (name,) = Registry(models).names()
    spoil(models / name / "arrays.npz")
    with TestClient(application(models)) as client:
        (result,) = score(client, NEAR)
        assert (result["degraded"], result["estimated_delivery_date"] is None) == (True, False)
        assert "differs from its manifest" in client.get("/readyz").json()["details"][0]
        shutil.rmtree(models / name)
        shutil.copytree(valid_registry / name, models / name)
        wait_until(lambda: client.get("/readyz").json()["model_version"] == name)
        (result,) = score(client, NEAR)
        assert (result["degraded"], result["confidence_code"], result["model_version"]) == (
            False,
            "ok",
            name,
        )


@pytest.mark.usefixtures("quick")
def test_a_new_fallback_is_loaded_and_a_broken_one_is_not(medians_alone: Path) -> None:
    with TestClient(application(medians_alone)) as client:
        (before,) = score(client, NEAR)
        fewer = save_medians(medians_alone, count=300)
        wait_until(
            lambda: score(client, NEAR)[0]["basis"]["n_effective"] < before["basis"]["n_effective"]
        )
        (after,) = score(client, NEAR)
        spoil(medians_alone / FALLBACK_FILE)
        wait_until(lambda: len(client.get("/readyz").json()["details"]) == 2)
        assert "differs from the digest in it" in client.get("/readyz").json()["details"][1]
        assert score(client, NEAR) == [after]
        assert (
            fewer.distributions["service+lane"]["post|?|AT-9>AT-1"].parcels
            == after["basis"]["n_effective"]
        )
        (medians_alone / FALLBACK_FILE).unlink()
        wait_until(lambda: score(client, NEAR)[0]["estimated_delivery_date"] is None)
        assert len(client.get("/readyz").json()["details"]) == 1


def test_a_broken_fallback_is_reported_while_a_version_is_active(models: Path) -> None:
    spoil(models / FALLBACK_FILE)
    with TestClient(application(models)) as client:
        readiness = client.get("/readyz").json()
        assert readiness["status"] == "degraded"
        assert readiness["model_version"]
        assert FALLBACK_FILE in readiness["details"][0]
        assert score(client, NEAR)[0]["degraded"] is False


def test_a_tracked_shipment_has_dates_without_a_model(client: TestClient) -> None:
    registered = client.post(
        "/v1/shipments", json={"external_id": "A1", "order_time": ORDERED, **NEAR}, headers=WITH_KEY
    )
    assert registered.status_code == 201, registered.text
    shipment = client.get(f"/v1/shipments/{registered.json()['id']}", headers=WITH_KEY).json()
    assert (shipment["forecast"]["degraded"], shipment["forecast"]["model_version"]) == (True, None)
    assert shipment["forecast"]["estimated_delivery_date"]
    assert shipment["expected_next_scan_by"] is None


def just_ordered(current: ActiveModel) -> Assessment:
    """The assessment of an order at the moment it is placed."""
    origin, destination = Place(country="AT", region="9"), Place(country="AT", region="1")
    shipment = Shipment(
        shipment_id="s",
        order_id="o",
        origin=origin,
        destination=destination,
        ordered_at=NOW,
        carrier="post",
    )
    (answer,) = score_shipments(
        [shipment],
        [order_event(shipment)],
        current.predictor,
        NOW,
        policy=DelayPolicy(),
        options=AssessmentOptions(),
    )
    return answer


def test_the_fallback_replaces_an_active_model(valid_registry: Path) -> None:
    watched = bootstrap.model_loader(Settings(models=valid_registry), lambda _: None)
    watched.refresh()
    current = watched.current
    assert current.served is current.predictor
    without = current.as_fallback()
    assert (without.version, without.is_degraded, str(without.trained_through)) == (
        None,
        True,
        "2026-05-10",
    )
    model, medians = just_ordered(current), just_ordered(without)
    assert (model.code, medians.code) == (AssessmentCode.OK, AssessmentCode.NO_MODEL)
    assert model.estimated_on is not None
    assert medians.estimated_on is not None
    # The fallback adds half a day and a tenth to the median.
    assert timedelta(0) <= medians.estimated_on - model.estimated_on <= timedelta(days=2)


def test_an_empty_registry_gives_no_dates(tmp_path: Path) -> None:
    watched = bootstrap.model_loader(Settings(models=tmp_path / "models"), lambda _: None)
    watched.refresh()
    assert (watched.current.predictor, watched.current.fallback) == (None, None)
    answer = just_ordered(watched.current)
    assert (answer.code, answer.estimated_on, answer.support_level, answer.support_parcels) == (
        AssessmentCode.NO_MODEL,
        None,
        "none",
        0,
    )


def estimate(client: TestClient, **lane: Any) -> dict[str, Any]:
    """A response, validated against the response model."""
    carrier = {"carrier_code": lane.pop("carrier_code", NEAR["carrier_code"])}
    body = {
        "order_time": ORDERED,
        **{name: value for name, value in NEAR.items() if name != "carrier_code"},
        **lane,
        "carriers": [carrier],
    }
    response = client.post("/v1/estimates", json=body, headers=WITH_KEY)
    assert response.status_code == 200, response.text
    EstimateResponse.model_validate_json(response.text)
    answer: dict[str, Any] = response.json()
    return answer


def test_a_fallback_estimate_agrees_with_the_score_of_a_new_order(
    client: TestClient,
) -> None:
    answer = estimate(client)
    assert (answer["degraded"], answer["model_version"]) == (True, None)
    body = {"as_of": ORDERED, "shipments": [{"order_time": ORDERED, **NEAR}]}
    (scored,) = client.post("/v1/score", json=body, headers=WITH_KEY).json()["results"]
    (result,) = answer["results"]
    differing = {name for name in result if result[name] != scored.get(name)}
    # The estimate interpolates between the times of day before and after the order.
    assert differing <= {
        "desired_delivery_probability",
        "cutoff",
        "ship_on_date",
        "time_in_transit",
        "delivery_date_confidence",
        "promise",
    }
    assert result["estimated_delivery_date"]


def test_the_fallback_answers_if_the_model_takes_too_long(
    valid_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def slow(lane: Shipment, services: Any, served: Any, **options: Any) -> Any:
        if served.version:
            released.wait(15.0)
        return estimate_delivery(lane, services, served, **options)

    with TestClient(application(valid_registry)) as client:
        version = client.get("/readyz").json()["model_version"]
        assert estimate(client)["model_version"] == version
        monkeypatch.setattr("eta.api.routes.estimates.estimate_delivery", slow)
        answer = estimate(client)
        assert (
            answer["degraded"],
            answer["model_version"],
            answer["results"][0]["confidence_code"],
        ) == (
            True,
            None,
            "timed_out",
        )
        assert answer["results"][0]["model_version"] is None
        assert answer["results"][0]["estimated_delivery_date"]
        assert client.get("/readyz").json()["status"] == "ready"
        released.set()
        wait_until(lambda: estimate(client)["model_version"] == version)
