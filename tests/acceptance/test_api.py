"""The HTTP door as its callers see it: whole bodies, hostile bodies, keys, and promotions while requests run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from eta.api.app import create_app
from eta.api.executors import LONGEST_QUEUE, Workers
from eta.api.problem_details import Refused
from eta.api.schemas.estimates import Estimates, OrderEstimate, ShipBys
from eta.api.schemas.events import EventResults
from eta.api.schemas.scores import Scores
from eta.api.schemas.shipments import Registered
from eta.calendars.holidays import LIBRARY, Holidays
from eta.cli import main
from eta.domain.errors import InvalidSetting
from eta.model import hot_swap as serving
from eta.model.registry import Registry, write_atomically
from eta.settings import Settings
from support.hostile_requests import JSON_HEADERS, faults_of, requests
from support.model_app import DAYS, KEY, application, fixed, save_model

# One process keeps the models and compiled loops.
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
    """A registry with three sound versions, and one with a version of too few parcels; not to be changed."""
    folders = {name: tmp_path_factory.mktemp(name) / "models" for name in ("full", "tiny")}
    for days in (DAYS - 20, DAYS - 10, DAYS):
        save_model(folders["full"], days=days)
    save_model(folders["tiny"], count=25, days=60)
    return folders


@pytest.fixture(scope="module")
def clients(registries: dict[str, Path]) -> Iterator[dict[str, TestClient]]:
    """A caller without a key for each registry."""
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
    """The registry is looked at much more often than in service."""
    monkeypatch.setattr(serving, "LOOK_EVERY", 0.01)


def post(client: TestClient, path: str, body: Any, **headers: str) -> Any:
    """A request that must be answered."""
    answered = client.post(path, json=body, headers={**WITH_KEY, **headers})
    assert answered.status_code == 200, answered.text
    return answered.json()


def wait_for(client: TestClient, version: str | None) -> Any:
    """Waits until a version serves."""
    for _ in range(500):
        told = client.get("/readyz").json()
        if told["model_version"] == version:
            return told
        threading.Event().wait(0.02)
    raise AssertionError(f"{version} never served: {told}")


@pytest.fixture(scope="module")
def golden_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TestClient]]:
    """Callers of services whose model is a fixed law, one with hardly a parcel behind it, or none."""
    opened = {
        name: TestClient(application(tmp_path_factory.mktemp("no") / "models"))
        for name in ("full", "tiny", "empty")
    }
    for name, client in opened.items():
        client.__enter__()
        if name != "empty":
            current = fixed(400 if name == "full" else 16)
            state_of(client).serving.current = current
            state_of(client).serving.versions = (
                serving.Known(str(current.version), current.data_through, 1234),
                serving.Known(
                    "2026.04.30-ba9876543210",
                    refused="model version 2026.04.30-ba9876543210: its manifest was changed",
                ),
            )
    yield opened
    for client in opened.values():
        client.__exit__()


@pytest.mark.parametrize("case", CASES)
def test_whole_bodies_are_those_of_the_golden_files(
    case: str, golden_clients: dict[str, TestClient]
) -> None:
    asked = json.loads((GOLDEN / f"{case}.in.json").read_text(encoding="utf-8"))
    name, keys = asked.get("registry", "full"), {} if asked.get("without_key") else WITH_KEY
    answered = golden_clients[name].request(
        asked.get("method", "POST"),
        asked["path"],
        json=asked.get("body"),
        headers={**keys, **asked.get("headers", {})},
    )
    told = {
        "status": answered.status_code,
        "content_type": answered.headers["content-type"],
        "body": answered.json(),
    }
    golden = GOLDEN / f"{case}.out.json"
    # `UPDATE_GOLDEN=1 python -m pytest -n 0 tests/acceptance/test_api.py` writes them anew, to be
    # read before they are committed.
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    assert told == json.loads(golden.read_text(encoding="utf-8"))


def examples(client: TestClient) -> Iterator[tuple[str, str, Any]]:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "post" in methods:
            for name, example in methods["post"]["requestBody"]["content"]["application/json"][
                "examples"
            ].items():
                yield path, name, example["value"]


def test_every_example_of_the_contract_runs_and_its_answer_keeps_the_contract(
    client: TestClient,
) -> None:
    kinds: dict[str, type[BaseModel]] = {
        "/v1/estimates": Estimates,
        "/v1/order-estimates": OrderEstimate,
        "/v1/score": Scores,
        "/v1/ship-by": ShipBys,
        "/v1/shipments": Registered,
        "/v1/events": EventResults,
    }
    ran = sorted(examples(client), key=lambda each: list(kinds).index(each[0]))
    assert {path for path, _, _ in ran} == set(kinds)
    for path, _, body in ran:
        answered = client.post(path, json=body, headers=WITH_KEY)
        assert answered.status_code in (200, 201), answered.text
        kinds[path].model_validate_json(answered.text)
        assert path not in ("/v1/estimates", "/v1/score") or any(
            result.get("estimated_delivery_date") for result in answered.json()["results"]
        )
        assert path != "/v1/order-estimates" or answered.json()["last"]["estimated_delivery_date"]


def test_the_document_has_every_route_and_its_requests_run(client: TestClient) -> None:
    document = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    routes = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert {*routes, "GET /openapi.json"} == set(
        re.findall(r"^\| `([A-Z]+ /\S+)` \|", document, flags=re.MULTILINE)
    )
    sent = re.findall(
        r"curl -s http://127\.0\.0\.1:8000(\S+) -H 'Content-Type: application/json' -d '(.+?)'\n```\n\n```json\n(.+?)\n```",
        document,
        flags=re.DOTALL,
    )
    assert len(sent) == 8
    for path, body, told in sent:
        answered = client.post(path, content=body, headers={**JSON_HEADERS, **WITH_KEY})
        assert (answered.status_code == 422) == ('"status": 422,\n "detail"' in told)
        assert shape(answered.json()) == shape(json.loads(told))
    looked = re.findall(
        r"curl -s '?http://127\.0\.0\.1:8000([^\s']+)'?\n```\n\n```json\n(.+?)\n```",
        document,
        flags=re.DOTALL,
    )
    assert len(looked) == 3
    for path, told in looked:
        headers = {} if '"status": 401' in told else WITH_KEY
        assert shape(client.get(path, headers=headers).json()) == shape(json.loads(told)), path


def shape(told: Any) -> Any:
    """The names in an answer, not its values; of a list the first entry."""
    if isinstance(told, dict):
        return {name: shape(value) for name, value in told.items()}
    return [shape(entry) for entry in told[:1]] if isinstance(told, list) else None


def test_every_result_says_all_that_is_promised(client: TestClient) -> None:
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
    told = [
        post(client, "/v1/estimates", {**ESTIMATE, "confidence_level": level})["results"][0]
        for level in (0.5, 0.8, 0.95)
    ]
    for narrow, wide in pairwise(told):
        assert wide["estimated_delivery_date_min"] <= narrow["estimated_delivery_date_min"]
        assert (wide["estimated_delivery_date_max"] or "9") >= narrow["estimated_delivery_date_max"]


def shipments_of_all_kinds() -> list[Any]:
    golden = json.loads((GOLDEN / "score_all_kinds.in.json").read_text(encoding="utf-8"))
    return [*golden["body"]["shipments"]] * 8


def test_one_answer_alone_is_its_answer_in_any_batch_to_the_byte(client: TestClient) -> None:
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


def test_an_estimate_says_what_the_score_of_an_order_just_placed_says(client: TestClient) -> None:
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
    # Its law lies between those of the times of day before and after the order, and no order before
    # it may look slower.
    for name in ("estimated_delivery_date", "estimated_delivery_date_min"):
        assert 0 <= (date.fromisoformat(estimate[name]) - date.fromisoformat(score[name])).days <= 1


def test_a_wanted_date_is_a_chance_and_a_later_one_a_higher_chance(client: TestClient) -> None:
    days = [f"2026-05-{day}" for day in (10, 21, 24, 28)]
    chances = [
        post(client, "/v1/estimates", {**ESTIMATE, "desired_delivery_date": day})["results"][0][
            "desired_delivery_probability"
        ]
        for day in days
    ]
    assert chances == sorted(chances)
    assert chances[0] == 0.0 < chances[1] < chances[-1] < 1.0


def test_many_shipments_get_one_entry_each_in_order(client: TestClient) -> None:
    shipments = [
        {**ESTIMATE, "shipment_id": f"{number}", "weight": {"value": number % 7, "unit": "kg"}}
        for number in range(5000)
    ]
    told = post(client, "/v1/score", {"as_of": "2026-05-21T08:00:00Z", "shipments": shipments})[
        "results"
    ]
    assert [entry["shipment_id"] for entry in told] == [f"{number}" for number in range(5000)]
    assert [number for number, entry in enumerate(told) if "problem" in entry] == list(
        range(0, 5000, 7)
    )
    refused = client.post(
        "/v1/score", json={"shipments": [*shipments, shipments[0]]}, headers=WITH_KEY
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "shipments"]


def test_when_too_many_large_batches_wait_the_next_is_asked_to_come_again() -> None:
    async def crowd() -> list[object]:
        workers, gate = Workers(), threading.Event()
        asked = [
            asyncio.create_task(workers.run(lambda: gate.wait(10), 1000))
            for _ in range(LONGEST_QUEUE + 2)
        ]
        await asyncio.sleep(0.05)
        assert await workers.run(lambda: "at once", 1) == "at once"
        gate.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        workers.close()
        return list(told)

    *answered, refused = asyncio.run(crowd())
    assert answered == [True] * (LONGEST_QUEUE + 1)
    assert isinstance(refused, Refused)
    assert (refused.status_code, refused.headers) == (503, {"Retry-After": "5"})


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


PIECE = {"origin_address": ADDRESSES["origin_address"], "carrier_code": "post"}
ORDER = {
    "destination_address": ADDRESSES["destination_address"],
    "order_time": ESTIMATE["order_time"],
    "desired_delivery_date": "2026-05-25",
}


def test_a_piece_of_an_order_is_told_what_its_estimate_is(client: TestClient) -> None:
    pickup = {"estimated_pickup": {"order_cutoff_time": "15:00"}}
    told = post(
        client,
        "/v1/order-estimates",
        {**ORDER, "pieces": [{**PIECE, **pickup, "delivery_days": [1, 3]}, PIECE]},
    )
    for piece, more, service in zip(
        told["pieces"], (pickup, {}), ({"delivery_days": [1, 3]}, {}), strict=True
    ):
        asked = {
            **ESTIMATE,
            **more,
            "desired_delivery_date": "2026-05-25",
            "carriers": [{"carrier_code": "post", **service}],
        }
        assert piece == post(client, "/v1/estimates", asked)["results"][0]


def test_an_order_is_complete_no_sooner_than_any_of_its_pieces(client: TestClient) -> None:
    told = post(
        client,
        "/v1/order-estimates",
        {**ORDER, "pieces": [{**PIECE, "package_count": 2}, {**PIECE, "carrier_code": "other"}]},
    )
    chances = [
        each["desired_delivery_probability"]
        for each in (told["last"], told["pieces"][0], told["first"])
    ]
    assert chances == sorted(chances)
    assert chances[0] < chances[2]
    for end in ("first", "last"):
        days = [told[end][f"estimated_delivery_date{name}"] or "9" for name in ("_min", "", "_max")]
        assert days == sorted(days)
    assert told["code"] == "ok"
    assert 0.0 < told["dependence"]["correlation"] < 1.0


@pytest.mark.parametrize(("name", "code"), [("empty", "no_model"), ("tiny", "too_little_support")])
def test_an_order_that_cannot_be_answered_says_why(
    name: str, code: str, golden_clients: dict[str, TestClient]
) -> None:
    told = post(golden_clients[name], "/v1/order-estimates", {**ORDER, "pieces": [PIECE, PIECE]})
    assert (told["code"], told["first"], told["last"]) == (code, None, None)
    assert told["dependence"] == {"correlation": None, "learned_from_pairs": None}
    assert told["degraded"] is (name == "empty")
    assert [piece["confidence_code"] for piece in told["pieces"]] == [code] * 2


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [PIECE] * 21,
        [{**PIECE, "price": 3.0}],
        [{**PIECE, "package_count": 0}],
        [{"carrier_code": "post"}],
    ],
)
def test_an_order_of_no_pieces_or_too_many_or_strange_ones_is_refused(
    client: TestClient, pieces: list[Any]
) -> None:
    answered = client.post(
        "/v1/order-estimates", json={**ORDER, "pieces": pieces}, headers=WITH_KEY
    )
    assert answered.status_code == 422
    assert answered.json()["errors"][0]["loc"][:2] == ["body", "pieces"]


def test_no_shipments_get_no_results(client: TestClient) -> None:
    assert post(client, "/v1/score", {"shipments": []})["results"] == []


def test_scans_told_after_the_moment_change_no_byte(client: TestClient) -> None:
    asked = {
        "as_of": "2026-05-20T08:00:00Z",
        "shipments": [{**ESTIMATE, "order_time": "2026-05-18T08:00:00Z"}],
    }
    later = {
        "event_code": "delivered",
        "occurred_at": "2026-05-19T10:00:00Z",
        "received_at": "2026-05-20T08:00:01Z",
    }
    assert post(client, "/v1/score", asked) == post(
        client,
        "/v1/score",
        {**asked, "shipments": [{**asked["shipments"][0], "events": [later]}]},  # type: ignore[dict-item]
    )


def test_no_hostile_request_is_a_server_error_and_every_refusal_is_a_problem(
    client: TestClient,
) -> None:
    faults = []
    for sent in requests(seed=7, count=400):
        answered = client.request(
            sent.method, sent.path, content=sent.content, headers={**sent.headers, **WITH_KEY}
        )
        faults += [
            (fault, sent.method, sent.path, sent.content[:300])
            for fault in faults_of(
                answered.status_code, answered.headers.get("content-type", ""), answered.content
            )
        ]
    assert faults == []


@pytest.fixture(scope="module")
def contract(registries: dict[str, Path]) -> Any:
    app = application(registries["full"])
    app.state.serving.look()
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_requests_made_from_the_contract_are_answered_by_the_contract(
    contract: Any, mode: schemathesis.GenerationMode
) -> None:
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    operations = [found.ok() for found in contract.get_all_operations()]
    # A request without a body cannot be wrong.
    for operation in (
        one for one in operations if one.body or mode is schemathesis.GenerationMode.POSITIVE
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
def test_without_a_key_of_ours_nothing_is_told(
    client: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answered = client.request(method, path, content=b"{", headers={**JSON_HEADERS, **headers})
    assert answered.status_code == 401
    assert answered.headers["www-authenticate"] == "Bearer"
    assert answered.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY}"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
def test_a_key_of_ours_opens_the_door_in_either_header(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_probes_need_no_key(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert "eta_http_requests_total" in client.get("/metrics").text


def test_no_keys_and_no_demo_refuse_to_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="ETA_API_KEYS holds no keys"):
        create_app(Settings(models=tmp_path))


def test_the_service_keeps_the_holidays_of_the_calendar_file(registries: dict[str, Path]) -> None:
    own = Holidays("own", {("AT", None): {date(2026, 5, 21): True}})
    told = []
    for holidays in (LIBRARY, own):
        app = create_app(Settings(models=registries["full"], is_demo=True, holidays=holidays))
        with TestClient(app, base_url="http://127.0.0.1"):
            told.append(app.state.serving.current.served.model.activity_.holidays)
    assert told == [LIBRARY, own]


def test_the_demo_answers_on_loopback_only(registries: dict[str, Path]) -> None:
    app = create_app(Settings(models=registries["full"], is_demo=True))
    with TestClient(app, base_url="http://127.0.0.1") as near:
        assert near.get("/v1/models").status_code == 200
    with TestClient(app, base_url="http://192.0.2.1") as far:
        assert far.get("/v1/models").status_code == 403
        assert far.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--demo", "--host", "0.0.0.0"], {}, "loopback"),  # noqa: S104  # what must be refused
        (["--host", "::"], {"ETA_DEMO": "1"}, "loopback"),
        ([], {}, "ETA_API_KEYS"),
        ([], {"ETA_API_KEYS": "secret"}, "SHA-256"),
        ([], {"ETA_DEMO": "yes"}, "ETA_DEMO"),
    ],
)
def test_serving_without_keys_beyond_loopback_refuses_to_start(
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
    said = capsys.readouterr().err
    assert words in said
    assert "secret" not in said


def test_the_command_serves_and_stops_when_told(
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


def test_the_newest_sound_version_serves_until_one_is_promoted(models: Path) -> None:
    registry = Registry(models)
    newest, middle, oldest = registry.names()
    spoil(models, newest)
    with TestClient(application(models)) as client:
        told = client.get("/readyz").json()
        assert (told["model_version"], told["promoted"], told["status"]) == (
            middle,
            None,
            "degraded",
        )
        assert newest in told["details"][0]
    registry.promote(oldest)
    with TestClient(application(models)) as client:
        assert client.get("/readyz").json() == {
            "status": "ready",
            "model_version": oldest,
            "promoted": oldest,
            "details": [],
        }


@pytest.mark.usefixtures("quick")
def test_a_corrupted_promotion_leaves_the_old_version_serving_and_shows(models: Path) -> None:
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
            if (told := client.get("/readyz").json())["status"] == "degraded":
                break
            threading.Event().wait(0.02)
        assert (told["model_version"], told["promoted"]) == (middle, newest)
        assert "differs from its manifest" in told["details"][0]
        assert client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text == before
        page = client.get("/metrics").text
        assert 'eta_model_loads_total{outcome="refused"} 1.0' in page
        assert "eta_model_degraded 1.0" in page
        assert {
            entry["version"]: bool(entry["refused"])
            for entry in client.get("/v1/models", headers=WITH_KEY).json()["results"]
        }[newest]
        (models / "promoted.json").write_text("{")
        threading.Event().wait(0.3)
        assert client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY).text == before


@pytest.mark.usefixtures("quick")
def test_a_first_version_is_picked_up_without_a_restart(
    registries: dict[str, Path], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with TestClient(application(models)) as client:
        assert client.get("/readyz").json()["status"] == "degraded"
        told = post(client, "/v1/estimates", ESTIMATE)
        assert (told["degraded"], told["results"][0]["confidence_code"]) == (True, "no_model")
        shutil.copytree(registries["full"], models)
        wait_for(client, Registry(models).names()[0])
        assert post(client, "/v1/estimates", ESTIMATE)["degraded"] is False


@pytest.mark.usefixtures("quick")
def test_answers_during_promotions_are_each_exactly_one_versions(models: Path) -> None:
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
            answered = client.post("/v1/estimates", json=ESTIMATE, headers=WITH_KEY)
            assert answered.status_code == 200
            assert answered.text == expected[answered.json()["model_version"]]
            seen.append(answered.json()["model_version"])
        promoter.join()
    assert set(seen) == set(names)


def test_what_nobody_foresaw_is_a_bare_500(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Any:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(state_of(client), "clock", fails)
    answered = client.post("/v1/estimates", json=ADDRESSES, headers=WITH_KEY)
    assert answered.status_code == 500
    assert answered.headers["content-type"] == "application/problem+json"
    assert "secret" not in answered.text
    assert "a request failed" in caplog.text


def state_of(client: TestClient) -> Any:
    app = client.app
    assert isinstance(app, FastAPI)
    return app.state


def spoil(models: Path, version: str) -> None:
    path = models / version / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
