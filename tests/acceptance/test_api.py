"""The HTTP API from outside: bodies, hostile requests, keys, and promotions during requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from eta.api.app import create_app
from eta.api.dependencies import Resources
from eta.api.schemas.estimates import EstimateResponse, OrderEstimateResponse, ShipByResponse
from eta.api.schemas.events import EventBatchResponse
from eta.api.schemas.scores import ScoreList
from eta.api.schemas.shipments import ShipmentReference
from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.cli import main
from eta.domain.errors import InvalidSetting
from eta.files import write_atomically
from eta.model import hot_swap as serving
from eta.model.registry import Registry
from eta.settings import Settings
from support.hostile_requests import JSON_HEADERS, faults_of, requests
from support.model_app import DAYS, KEY, application, fixed, save_model

# One process shares the models and the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

GOLDEN = Path(__file__).parents[1] / "golden" / "api"
CASES = sorted(path.name.removesuffix(".in.json") for path in GOLDEN.glob("*.in.json"))
WITH_KEY = {"X-API-Key": KEY}
ADDRESSES = {
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "8"},
}
ESTIMATE = {**ADDRESSES, "order_time": "2026-05-20T11:30:00+02:00"}


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Registries not to be changed: three valid versions, and one version of too few parcels."""
    folders = {name: tmp_path_factory.mktemp(name) / "models" for name in ("full", "tiny")}
    for days in (DAYS - 20, DAYS - 10, DAYS):
        save_model(folders["full"], days=days)
    save_model(folders["tiny"], count=25, days=60)
    return folders


@pytest.fixture(scope="module")
def clients(registries: dict[str, Path]) -> Iterator[dict[str, TestClient]]:
    """A client without a key for every registry."""
    opened = {
        name: TestClient(application(folder), raise_server_exceptions=False)
        for name, folder in registries.items()
    }
    for client in opened.values():
        client.__enter__()
    yield opened
    for client in opened.values():
        client.__exit__()


@pytest.fixture
def client(clients: dict[str, TestClient]) -> TestClient:
    return clients["full"]


@pytest.fixture
def models(registries: dict[str, Path], tmp_path: Path) -> Path:
    """A registry with three versions, to be changed."""
    return shutil.copytree(registries["full"], tmp_path / "models")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls the registry much more often than in production."""
    monkeypatch.setattr(serving, "POLL_SECONDS", 0.01)


def post(client: TestClient, path: str, body: Any, **headers: str) -> Any:
    """The body of a request that must succeed."""
    response = client.post(path, json=body, headers={**WITH_KEY, **headers})
    assert response.status_code == 200, response.text
    return response.json()


def wait_for(client: TestClient, version: str | None) -> Any:
    """Waits until a version is active."""
    for _ in range(500):
        readiness = client.get("/readyz").json()
        if readiness["model_version"] == version:
            return readiness
        threading.Event().wait(0.02)
    raise AssertionError(f"{version} never became active: {readiness}")


@pytest.fixture(scope="module")
def golden_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TestClient]]:
    """Clients of services with a fixed distribution, one with little support, and no model."""
    opened = {
        name: TestClient(application(tmp_path_factory.mktemp("no") / "models"))
        for name in ("full", "tiny", "empty")
    }
    for name, client in opened.items():
        client.__enter__()
        if name != "empty":
            current = fixed(400 if name == "full" else 16)
            loader = resources_of(client).model_loader
            loader.current = current
            loader.versions = (
                serving.VersionStatus(str(current.version), current.data_through, 1234),
                serving.VersionStatus(
                    "2026.04.30-ba9876543210",
                    rejected="model version 2026.04.30-ba9876543210: its manifest was changed",
                ),
            )
    yield opened
    for client in opened.values():
        client.__exit__()


@pytest.mark.parametrize("case", CASES)
def test_responses_match_the_golden_files(case: str, golden_clients: dict[str, TestClient]) -> None:
    request = json.loads((GOLDEN / f"{case}.in.json").read_text(encoding="utf-8"))
    name, keys = request.get("registry", "full"), {} if request.get("without_key") else WITH_KEY
    response = golden_clients[name].request(
        request.get("method", "POST"),
        request["path"],
        json=request.get("body"),
        headers={**keys, **request.get("headers", {})},
    )
    answer = {
        "status": response.status_code,
        "content_type": response.headers["content-type"],
        "body": response.json(),
    }
    golden = GOLDEN / f"{case}.out.json"
    # `UPDATE_GOLDEN=1 python -m pytest -n 0 tests/acceptance/test_api.py` writes them.
    # Read the differences before committing them.
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    assert answer == json.loads(golden.read_text(encoding="utf-8"))


def examples(client: TestClient) -> Iterator[tuple[str, str, Any]]:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "post" in methods:
            for name, example in methods["post"]["requestBody"]["content"]["application/json"][
                "examples"
            ].items():
                yield path, name, example["value"]


def test_every_openapi_example_runs_and_its_response_is_valid(
    client: TestClient,
) -> None:
    kinds: dict[str, type[Any]] = {
        "/v1/estimates": EstimateResponse,
        "/v1/order-estimates": OrderEstimateResponse,
        "/v1/score": ScoreList,
        "/v1/ship-by": ShipByResponse,
        "/v1/shipments": ShipmentReference,
        "/v1/events": EventBatchResponse,
    }
    ran = sorted(examples(client), key=lambda example: list(kinds).index(example[0]))
    assert {path for path, _, _ in ran} == set(kinds)
    for path, _, body in ran:
        response = client.post(path, json=body, headers=WITH_KEY)
        assert response.status_code in (200, 201), response.text
        TypeAdapter(kinds[path]).validate_json(response.text)
        assert path not in ("/v1/estimates", "/v1/score") or any(
            result.get("estimated_delivery_date") for result in response.json()["results"]
        )
        assert path != "/v1/order-estimates" or response.json()["last"]["estimated_delivery_date"]


def test_the_api_docs_list_every_route_and_their_requests_run(client: TestClient) -> None:
    document = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    routes = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert {*routes, "GET /openapi.json"} == set(
        re.findall(r"^\| `([A-Z]+ /\S+)` \|", document, flags=re.MULTILINE)
    )
    post_examples = re.findall(
        r"curl -s http://127\.0\.0\.1:8000(\S+) -H 'Content-Type: application/json' -d '(.+?)'\n```"
        r"\n\n```json\n(.+?)\n```",
        document,
        flags=re.DOTALL,
    )
    assert len(post_examples) == 8
    for path, body, documented in post_examples:
        response = client.post(path, content=body, headers={**JSON_HEADERS, **WITH_KEY})
        assert (response.status_code == 422) == ('"status": 422,\n "detail"' in documented)
        assert shape(response.json()) == shape(json.loads(documented))
    get_examples = re.findall(
        r"curl -s '?http://127\.0\.0\.1:8000([^\s']+)'?\n```\n\n```json\n(.+?)\n```",
        document,
        flags=re.DOTALL,
    )
    assert len(get_examples) == 3
    for path, documented in get_examples:
        headers = {} if '"status": 401' in documented else WITH_KEY
        assert shape(client.get(path, headers=headers).json()) == shape(json.loads(documented)), (
            path
        )


def shape(answer: Any) -> Any:
    """The names in a response without its values; only the first entry of a list."""
    if isinstance(answer, dict):
        return {name: shape(value) for name, value in answer.items()}
    return [shape(entry) for entry in answer[:1]] if isinstance(answer, list) else None


def test_an_estimate_result_has_consistent_fields(client: TestClient) -> None:
    (result,) = post(
        client,
        "/v1/estimates",
        {
            **ESTIMATE,
            "carriers": [{"carrier_code": "post"}],
            "order_promised_delivery_date": "2026-06-01",
        },
    )["results"]
    assert (
        result["estimated_delivery_date_min"]
        <= result["estimated_delivery_date"]
        <= result["estimated_delivery_date_max"]
    )
    assert 0.0 < result["promise"]["on_time_probability"] < 1.0
    assert result["delay"]["probability"] == pytest.approx(
        1.0 - result["promise"]["on_time_probability"], abs=1e-4
    )
    assert result["delivery_date_confidence"] >= 0.5
    percentiles = [
        days
        for name, days in result["time_in_transit"].items()
        if name != "unit" and days is not None
    ]
    assert percentiles == sorted(percentiles)
    assert (result["degraded"], result["basis"]["abstained"]) == (False, False)
    assert result["basis"]["level"].startswith("service+lane")
    assert result["model_version"]


def test_a_higher_confidence_never_narrows_the_window(client: TestClient) -> None:
    results = [
        post(client, "/v1/estimates", {**ESTIMATE, "confidence_level": level})["results"][0]
        for level in (0.5, 0.8, 0.95)
    ]
    for narrow, wide in pairwise(results):
        assert wide["estimated_delivery_date_min"] <= narrow["estimated_delivery_date_min"]
        assert (wide["estimated_delivery_date_max"] or "9") >= narrow["estimated_delivery_date_max"]


def shipments_of_all_kinds() -> list[Any]:
    golden = json.loads((GOLDEN / "score_all_kinds.in.json").read_text(encoding="utf-8"))
    return [*golden["body"]["shipments"]] * 8


def test_a_score_is_byte_identical_alone_and_in_a_batch(client: TestClient) -> None:
    shipments = shipments_of_all_kinds()
    body: dict[str, Any] = {"as_of": "2026-05-20T08:00:00Z", "shipments": shipments}
    together = client.post("/v1/score", json=body, headers=WITH_KEY).text
    first = len(shipments) // 8
    for number, shipment in enumerate(shipments[:first]):
        alone = client.post(
            "/v1/score", json={**body, "shipments": [shipment]}, headers=WITH_KEY
        ).text
        result = re.sub(
            r'(?<="shipments",)0\b',
            str(number),
            alone[alone.index('"results":[') + len('"results":[') : -2],
        )
        assert result in together


def test_an_estimate_agrees_with_the_score_of_a_new_order(client: TestClient) -> None:
    (estimate,) = post(
        client, "/v1/estimates", {**ESTIMATE, "carriers": [{"carrier_code": "post"}]}
    )["results"]
    (score,) = post(
        client,
        "/v1/score",
        {"as_of": ESTIMATE["order_time"], "shipments": [{**ESTIMATE, "carrier_code": "post"}]},
    )["results"]
    dates = {
        "estimated_delivery_date",
        "estimated_delivery_date_min",
        "estimated_delivery_date_max",
        "time_in_transit",
        "delivery_date_confidence",
        "promise",
    }
    assert {name for name in score if score[name] != estimate.get(name)} - {"shipment_id"} <= dates
    # The estimate interpolates between the distributions of the times of day before and after the
    # order, and no earlier order may get a later date.
    for name in ("estimated_delivery_date", "estimated_delivery_date_min"):
        assert 0 <= (date.fromisoformat(estimate[name]) - date.fromisoformat(score[name])).days <= 1


def test_a_later_desired_date_has_a_higher_probability(client: TestClient) -> None:
    days = [f"2026-05-{day}" for day in (10, 21, 24, 28)]
    probabilities = [
        post(client, "/v1/estimates", {**ESTIMATE, "desired_delivery_date": day})["results"][0][
            "desired_delivery_probability"
        ]
        for day in days
    ]
    assert probabilities == sorted(probabilities)
    assert probabilities[0] == 0.0 < probabilities[1] < probabilities[-1] < 1.0


def test_many_shipments_get_one_result_per_shipment_in_order(client: TestClient) -> None:
    shipments = [
        {**ESTIMATE, "shipment_id": f"{number}", "weight": {"value": number % 7, "unit": "kg"}}
        for number in range(5000)
    ]
    results = post(client, "/v1/score", {"as_of": "2026-05-21T08:00:00Z", "shipments": shipments})[
        "results"
    ]
    assert [entry["shipment_id"] for entry in results] == [f"{number}" for number in range(5000)]
    assert [number for number, entry in enumerate(results) if "problem" in entry] == list(
        range(0, 5000, 7)
    )
    rejected = client.post(
        "/v1/score", json={"shipments": [*shipments, shipments[0]]}, headers=WITH_KEY
    )
    assert rejected.status_code == 422
    assert rejected.json()["errors"][0]["loc"] == ["body", "shipments"]


def test_a_model_of_too_few_parcels_abstains(clients: dict[str, TestClient]) -> None:
    (result,) = post(clients["tiny"], "/v1/estimates", ESTIMATE)["results"]
    assert (result["confidence_code"], result["basis"]["abstained"], result["degraded"]) == (
        "too_little_support",
        True,
        False,
    )
    assert (
        result["estimated_delivery_date"],
        result["promise"],
        result["time_in_transit"]["percentile_50"],
    ) == (None, None, None)


PARCEL = {"origin_address": ADDRESSES["origin_address"], "carrier_code": "post"}
ORDER = {
    "destination_address": ADDRESSES["destination_address"],
    "order_time": ESTIMATE["order_time"],
    "desired_delivery_date": "2026-05-25",
}


def test_a_parcel_of_an_order_gets_the_dates_of_its_own_estimate(client: TestClient) -> None:
    pickup = {"estimated_pickup": {"order_cutoff_time": "15:00"}}
    answer = post(
        client,
        "/v1/order-estimates",
        {**ORDER, "parcels": [{**PARCEL, **pickup, "delivery_days": [1, 3]}, PARCEL]},
    )
    for parcel, more, service in zip(
        answer["parcels"], (pickup, {}), ({"delivery_days": [1, 3]}, {}), strict=True
    ):
        request = {
            **ESTIMATE,
            **more,
            "desired_delivery_date": "2026-05-25",
            "carriers": [{"carrier_code": "post", **service}],
        }
        assert parcel == post(client, "/v1/estimates", request)["results"][0]


def test_an_order_is_complete_no_sooner_than_any_of_its_parcels(client: TestClient) -> None:
    answer = post(
        client,
        "/v1/order-estimates",
        {**ORDER, "parcels": [{**PARCEL, "package_count": 2}, {**PARCEL, "carrier_code": "other"}]},
    )
    probabilities = [
        result["desired_delivery_probability"]
        for result in (answer["last"], answer["parcels"][0], answer["first"])
    ]
    assert probabilities == sorted(probabilities)
    assert probabilities[0] < probabilities[2]
    for end in ("first", "last"):
        days = [
            answer[end][f"estimated_delivery_date{name}"] or "9" for name in ("_min", "", "_max")
        ]
        assert days == sorted(days)
    assert answer["code"] == "ok"
    assert 0.0 < answer["correlation"]["value"] < 1.0


@pytest.mark.parametrize(("name", "code"), [("empty", "no_model"), ("tiny", "too_little_support")])
def test_an_order_estimate_without_dates_has_a_code(
    name: str, code: str, golden_clients: dict[str, TestClient]
) -> None:
    answer = post(
        golden_clients[name], "/v1/order-estimates", {**ORDER, "parcels": [PARCEL, PARCEL]}
    )
    assert (answer["code"], answer["first"], answer["last"]) == (code, None, None)
    assert answer["correlation"] == {"value": None, "sample_pairs": None}
    assert answer["degraded"] is (name == "empty")
    assert [parcel["confidence_code"] for parcel in answer["parcels"]] == [code] * 2


@pytest.mark.parametrize(
    "parcels",
    [
        [],
        [PARCEL] * 21,
        [{**PARCEL, "price": 3.0}],
        [{**PARCEL, "package_count": 0}],
        [{"carrier_code": "post"}],
    ],
)
def test_an_order_with_invalid_parcels_is_rejected(client: TestClient, parcels: list[Any]) -> None:
    response = client.post(
        "/v1/order-estimates", json={**ORDER, "parcels": parcels}, headers=WITH_KEY
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][:2] == ["body", "parcels"]


def test_no_shipments_get_no_results(client: TestClient) -> None:
    assert post(client, "/v1/score", {"shipments": []})["results"] == []


def test_events_received_after_as_of_change_no_byte(client: TestClient) -> None:
    request = {
        "as_of": "2026-05-20T08:00:00Z",
        "shipments": [{**ESTIMATE, "order_time": "2026-05-18T08:00:00Z"}],
    }
    later = {
        "event_code": "delivered",
        "occurred_at": "2026-05-19T10:00:00Z",
        "received_at": "2026-05-20T08:00:01Z",
    }
    assert post(client, "/v1/score", request) == post(
        client,
        "/v1/score",
        {**request, "shipments": [{**request["shipments"][0], "events": [later]}]},  # type: ignore[dict-item]
    )


def test_hostile_requests_get_problems_and_no_server_errors(
    client: TestClient,
) -> None:
    faults = []
    for hostile_request in requests(seed=7, count=400):
        response = client.request(
            hostile_request.method,
            hostile_request.path,
            content=hostile_request.content,
            headers={**hostile_request.headers, **WITH_KEY},
        )
        faults += [
            (fault, hostile_request.method, hostile_request.path, hostile_request.content[:300])
            for fault in faults_of(
                response.status_code, response.headers.get("content-type", ""), response.content
            )
        ]
    assert faults == []


@pytest.fixture(scope="module")
def contract(registries: dict[str, Path]) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", application(registries["full"]))


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_generated_requests_get_responses_that_match_openapi(
    contract: Any, mode: schemathesis.GenerationMode
) -> None:
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    operations = [result.ok() for result in contract.get_all_operations()]
    # Negative cases need a body that can be invalid.
    for operation in (
        candidate
        for candidate in operations
        if candidate.body or mode is schemathesis.GenerationMode.POSITIVE
    ):
        cases = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=40,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def check(case: Any) -> None:
            case.call_and_validate(headers=WITH_KEY, checks=checks)

        check()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": KEY + "x"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/estimates"),
        ("POST", "/v1/order-estimates"),
        ("POST", "/v1/score"),
        ("GET", "/v1/models"),
    ],
)
def test_a_request_without_a_valid_key_gets_401(
    client: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    response = client.request(method, path, content=b"{", headers={**JSON_HEADERS, **headers})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY}"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
def test_a_valid_key_is_accepted_in_either_header(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_probes_need_no_key(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert "eta_http_requests_total" in client.get("/metrics").text


def test_an_application_without_keys_or_demo_mode_fails_to_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="ETA_API_KEYS holds no keys"):
        create_app(Settings(models=tmp_path))


def test_the_model_uses_the_holidays_of_the_calendar_file(registries: dict[str, Path]) -> None:
    calendar_file = HolidayCalendar("test", {("AT", None): {date(2026, 5, 21): True}})
    used = []
    for holidays in (PUBLIC_HOLIDAYS, calendar_file):
        app = create_app(Settings(models=registries["full"], is_demo=True, holidays=holidays))
        with TestClient(app, base_url="http://127.0.0.1"):
            used.append(app.state.resources.model_loader.current.served.model.activity_.holidays)
    assert used == [PUBLIC_HOLIDAYS, calendar_file]


def test_demo_mode_accepts_requests_on_loopback_only(registries: dict[str, Path]) -> None:
    app = create_app(Settings(models=registries["full"], is_demo=True))
    with TestClient(app, base_url="http://127.0.0.1") as near:
        assert near.get("/v1/models").status_code == 200
    with TestClient(app, base_url="http://192.0.2.1") as far:
        assert far.get("/v1/models").status_code == 403
        assert far.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--demo", "--host", "0.0.0.0"], {}, "loopback"),  # noqa: S104  # must be rejected
        (["--host", "::"], {"ETA_DEMO": "1"}, "loopback"),
        ([], {}, "ETA_API_KEYS"),
        ([], {"ETA_API_KEYS": "secret"}, "SHA-256"),
        ([], {"ETA_DEMO": "yes"}, "ETA_DEMO"),
    ],
)
def test_eta_serve_fails_without_keys_beyond_loopback(
    arguments: list[str],
    env: dict[str, str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ETA_MODELS", str(tmp_path))
    for name in ("ETA_DEMO", "ETA_API_KEYS"):
        monkeypatch.setenv(name, env.get(name, ""))
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "secret" not in stderr


def test_eta_serve_starts_and_stops_on_a_signal(
    registries: dict[str, Path], tmp_path: Path
) -> None:
    env = {**os.environ, "ETA_MODELS": str(registries["full"]), "ETA_API_KEYS": ""}
    command = [str(Path(sys.executable).with_name("eta")), "serve", "--demo", "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=tmp_path) as server,
    ):
        try:
            for _ in range(600):
                if "running on http://127.0.0.1:" in log.read_text():
                    break
                threading.Event().wait(0.1)
            assert "running on http://127.0.0.1:" in log.read_text()
        finally:
            server.terminate()
            server.wait(timeout=15)
    assert "Traceback" not in log.read_text()


def test_the_newest_valid_version_is_active_until_a_promotion(models: Path) -> None:
    registry = Registry(models)
    newest, middle, oldest = registry.names()
    spoil(models, newest)
    with TestClient(application(models)) as client:
        readiness = client.get("/readyz").json()
        assert (readiness["model_version"], readiness["promoted"], readiness["status"]) == (
            middle,
            None,
            "degraded",
        )
        assert newest in readiness["details"][0]
    registry.promote(oldest)
    with TestClient(application(models)) as client:
        assert client.get("/readyz").json() == {
            "status": "ready",
            "model_version": oldest,
            "promoted": oldest,
            "data_through": "2026-04-20T00:00:00Z",
            "model_age_days": 30.33,
            "details": [],
        }


@pytest.mark.usefixtures("quick")
def test_a_corrupt_promoted_version_leaves_the_old_one_active(models: Path) -> None:
    registry = Registry(models)
    newest, middle, _ = registry.names()
    registry.promote(middle)
    with TestClient(application(models)) as client:
        before = client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text
        registry.promote(newest)
        wait_for(client, newest)
        registry.promote(middle)
        wait_for(client, middle)
        spoil(models, newest)
        write_atomically(models / "promoted.json", json.dumps({"history": [newest]}).encode())
        for _ in range(500):
            if (readiness := client.get("/readyz").json())["status"] == "degraded":
                break
            threading.Event().wait(0.02)
        assert (readiness["model_version"], readiness["promoted"]) == (middle, newest)
        assert "differs from its manifest" in readiness["details"][0]
        assert client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text == before
        page = client.get("/metrics").text
        assert 'eta_model_loads_total{outcome="rejected"} 1.0' in page
        assert "eta_model_degraded 1.0" in page
        assert {
            entry["version"]: bool(entry["rejected"])
            for entry in client.get("/v1/models", headers=WITH_KEY).json()["results"]
        }[newest]
        (models / "promoted.json").write_text("{")
        threading.Event().wait(0.3)
        assert client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text == before


@pytest.mark.usefixtures("quick")
def test_a_first_version_becomes_active_without_a_restart(
    registries: dict[str, Path], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with TestClient(application(models)) as client:
        assert client.get("/readyz").json()["status"] == "degraded"
        answer = post(client, "/v1/estimates", ESTIMATE)
        assert (answer["degraded"], answer["results"][0]["confidence_code"]) == (True, "no_model")
        shutil.copytree(registries["full"], models)
        wait_for(client, Registry(models).names()[0])
        assert post(client, "/v1/estimates", ESTIMATE)["degraded"] is False


@pytest.mark.usefixtures("quick")
def test_each_response_during_promotions_comes_from_one_version(models: Path) -> None:
    registry = Registry(models)
    names = registry.names()
    expected = {}
    for name in names:
        registry.promote(name)
        with TestClient(application(models)) as client:
            expected[name] = client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text
    assert len(set(expected.values())) == 3
    is_done = threading.Event()

    def promote() -> None:
        for number in range(12):
            registry.promote(names[number % 3])
            threading.Event().wait(0.15)
        is_done.set()

    seen = []
    with TestClient(application(models)) as client:
        promoter = threading.Thread(target=promote)
        promoter.start()
        while not is_done.is_set():
            response = client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY)
            assert response.status_code == 200
            assert response.text == expected[response.json()["model_version"]]
            seen.append(response.json()["model_version"])
        promoter.join()
    assert set(seen) == set(names)


def test_an_unexpected_error_is_a_500_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Any:
        raise RuntimeError("a secret")

    state = application_of(client).state
    monkeypatch.setattr(state, "resources", replace(state.resources, clock=fails))
    response = client.post("/v1/estimates", json=ADDRESSES, headers=WITH_KEY)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert "a request failed" in caplog.text


def application_of(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app


def resources_of(client: TestClient) -> Resources:
    resources = application_of(client).state.resources
    assert isinstance(resources, Resources)
    return resources


def spoil(models: Path, version: str) -> None:
    path = models / version / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
