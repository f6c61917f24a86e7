"""Errors cost no more than answers: one budget for a response, built where nobody waits."""

from __future__ import annotations

import json
import random
import string
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest
from fastapi.testclient import TestClient

from eta.api.error_budget import MAX_ERRORS, ErrorBudget, FieldError
from eta.api.problem_details import safe_path
from eta.api.routes import events as event_routes
from support.model_app import KEY, application

HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}
MAX_REFUSAL_BYTES = 64 * 2**10
PLACE = {"country": "AT"}
SHIPMENT: dict[str, Any] = {
    "origin_address": PLACE,
    "destination_address": PLACE,
    "order_time": "2026-05-14T10:00:00Z",
}
EVENT = {
    "carrier_code": "post",
    "tracking_number": "1234567890",
    "event_code": "accepted",
    "occurred_at": "2026-05-15T12:00:00Z",
}
UNKNOWN = {f"field_{number}": "x" for number in range(12)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application without a model."""
    with TestClient(application(tmp_path_factory.mktemp("models"))) as client:
        yield client


def post(client: TestClient, path: str, body: Any, **headers: str) -> Any:
    response = client.post(path, content=json.dumps(body), headers={**HEADERS, **headers})
    assert response.status_code == 200
    return response.json()


def error(size: int) -> FieldError:
    return FieldError(loc=["body"], msg="x" * size, type="t")


def test_a_budget_has_so_many_errors_and_bytes() -> None:
    budget = ErrorBudget()
    assert len(budget.take(error(10) for _ in range(60))) == 60
    assert len(budget.take(error(10) for _ in range(60))) == MAX_ERRORS - 60
    assert budget.is_spent
    large = ErrorBudget()
    assert len(large.take(error(10_000) for _ in range(60))) == 4
    assert large.is_spent


def test_a_spent_budget_reads_no_errors() -> None:
    def never() -> Iterator[FieldError]:
        pytest.fail("an error was made that nobody reads")
        yield error(1)

    budget = ErrorBudget()
    budget.take(error(1) for _ in range(MAX_ERRORS))
    assert budget.take(never()) == []


@pytest.mark.parametrize("key", [None, "a-key"])
def test_all_invalid_events_share_one_budget(client: TestClient, key: str | None) -> None:
    events = [{"event_code": "no such code", **UNKNOWN} for _ in range(4_999)]
    headers = {"Idempotency-Key": key} if key else {}
    results = post(client, "/v1/events", {"events": [*events, EVENT]}, **headers)["results"]
    problems = [result["problem"] for result in results[:-1]]
    errors = [each for problem in problems for each in problem["errors"]]
    assert len(problems) == 4_999
    assert results[-1]["status"] in ("stored", "duplicate")
    assert {problem["status"] for problem in problems} == {422}
    assert errors[0]["loc"][:3] == ["body", "events", 0]
    assert len(errors) == MAX_ERRORS
    assert "only the first" in problems[-1]["detail"]
    assert problems[-1]["errors"] == []
    assert len(json.dumps(results)) < 1.3e6


def test_all_invalid_shipments_share_one_budget(client: TestClient) -> None:
    shipments = [{**SHIPMENT, **UNKNOWN, "shipment_id": f"{n}"} for n in range(3_000)]
    results = post(client, "/v1/score", {"shipments": [*shipments, SHIPMENT]})["results"]
    assert [result["shipment_id"] for result in results[:-1]] == [f"{n}" for n in range(3_000)]
    assert sum(len(result["problem"]["errors"]) for result in results[:-1]) == MAX_ERRORS
    assert "problem" not in results[-1]


def test_events_of_no_shipment_share_the_budget(client: TestClient) -> None:
    event = {
        "external_id": "none",
        "event_code": "accepted",
        "occurred_at": "2026-05-15T12:00:00Z",
    }
    results = post(client, "/v1/events", {"events": [event] * 500})["results"]
    assert {result["problem"]["status"] for result in results} == {404}
    assert sum(len(result["problem"]["errors"]) for result in results) == MAX_ERRORS


def test_invalid_lines_share_the_budget(client: TestClient) -> None:
    response = client.post(
        "/v1/events",
        content=json.dumps(EVENT).encode() + b"\nx" * 1_000,
        headers={**HEADERS, "Content-Type": "application/x-ndjson"},
    )
    results = response.json()["results"][1:]
    assert len(results) == 1_000
    assert sum(len(result["problem"]["errors"]) for result in results) == MAX_ERRORS


def test_unmapped_codes_are_counted_beyond_the_budget(client: TestClient) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(
            next(line for line in lines if line.startswith("eta_unmapped_codes_total")).split()[1]
        )

    before = count()
    post(client, "/v1/events", {"events": [{"event_code": "no such code"}] * 350 + [EVENT]})
    useless = {"events": [{"event_code": "no such code"}] * 350}
    assert client.post("/v1/events", json=useless, headers=HEADERS).status_code == 422
    shipment = {**SHIPMENT, "events": [{"event_code": "none", "occurred_at": 1}] * 30}
    post(client, "/v1/score", {"shipments": [shipment] * 20 + [SHIPMENT]})
    assert count() - before == 700 + 600


@pytest.mark.parametrize("key", [None, "another-key"])
def test_a_large_response_is_made_neither_on_the_loop_nor_by_the_writer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    threads: list[str] = []
    build = event_routes.event_batch_response

    def recording(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return build(*arguments)

    monkeypatch.setattr(event_routes, "event_batch_response", recording)
    headers = {"Idempotency-Key": key} if key else {}
    post(client, "/v1/events", {"events": [*[{}] * 1_000, EVENT]}, **headers)
    assert [name.partition("_")[0] for name in threads] == ["eta-parser"]


def test_a_response_with_problems_is_made_again_for_a_repetition(client: TestClient) -> None:
    body, key = {"events": [*[{}] * 200, EVENT]}, {"Idempotency-Key": "again"}
    first = post(client, "/v1/events", body, **key)["results"]
    again = post(client, "/v1/events", body, **key)["results"]
    assert first[:-1] == again[:-1]
    assert again[-1]["status"] == "duplicate"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/events", {"events": [{}] * 5_000}, "events"),
        ("/v1/events", {"events": [{"event_code": "none", **UNKNOWN}] * 5_000}, "events"),
        ("/v1/events", {"events": [1] * 101}, "events"),
        ("/v1/score", {"shipments": [{"a": 1}] * 4_000}, "shipments"),
    ],
)
def test_a_batch_of_which_nothing_can_be_used_is_refused(
    client: TestClient, path: str, body: Any, field: str
) -> None:
    response = client.post(path, content=json.dumps(body), headers=HEADERS)
    problem = response.json()
    assert response.status_code == 422
    assert f"none of the {field} can be used" in problem["detail"]
    assert len(problem["errors"]) == MAX_ERRORS
    assert problem["errors"][0]["loc"][:3] == ["body", field, 0]
    assert len(response.content) <= MAX_REFUSAL_BYTES


def test_a_batch_whose_errors_fit_has_one_problem_an_item(client: TestClient) -> None:
    results = post(client, "/v1/events", {"events": [1] * MAX_ERRORS})["results"]
    assert all(len(result["problem"]["errors"]) == 1 for result in results)


@pytest.mark.parametrize(
    "body",
    [
        {f"{'n' * 60}{number}": 1 for number in range(60)},
        {"events": {f"{'é' * 60}{number}": 1 for number in range(60)}},
        {"shipments": [], "as_of": "x" * 10_000, **{"\\" * number: 1 for number in range(1, 60)}},
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/score", "/v1/estimates", "/v1/shipments"])
def test_a_refusal_is_small(client: TestClient, path: str, body: Any) -> None:
    response = client.post(path, content=json.dumps(body), headers=HEADERS)
    assert response.status_code == 422
    assert len(response.content) <= MAX_REFUSAL_BYTES
    assert all(len(each["msg"]) <= 300 for each in response.json()["errors"])


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b",".join([b"NaN"] * 10_000) + b"]",
        b'{"events": [' + b",".join([b'"\\u0000"'] * 10_000) + b"]}",
        b'{"' + b"k" * 60 + b'": [' + b",".join([b"[[[[1e999]]]]"] * 5_000) + b"]}",
    ],
)
def test_the_refusal_of_a_text_is_small(client: TestClient, content: bytes) -> None:
    response = client.post("/v1/events", content=content, headers=HEADERS)
    assert response.status_code == 422
    assert len(response.json()["errors"]) == MAX_ERRORS
    assert len(response.content) <= MAX_REFUSAL_BYTES


def test_a_long_path_is_cut_short_in_a_problem(client: TestClient) -> None:
    response = client.get(f"/v1/{'ä' * 8_000}", headers=HEADERS)
    assert response.status_code == 404
    assert len(response.content) < 1_000
    assert len(safe_path(["x" * 10_000])[0]) == 64  # type: ignore[arg-type]


def test_unknown_countries_cost_little_and_still_get_a_hint(client: TestClient) -> None:
    chance = random.Random(1)
    names = ["".join(chance.choices(string.ascii_lowercase, k=11)) for _ in range(1_000)]
    shipments = [
        {**SHIPMENT, "origin_address": {"country": name}, "destination_address": {"country": name}}
        for name in ["Grmany", *names]
    ]
    started = perf_counter()
    response = client.post("/v1/score", json={"shipments": shipments}, headers=HEADERS)
    # Looking for the name that is most like each of them would take a minute.
    assert perf_counter() - started < 5.0
    assert "did you mean Germany (DE)?" in response.json()["errors"][0]["msg"]
