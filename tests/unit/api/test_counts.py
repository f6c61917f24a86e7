"""Sizes and counts are checked before anything is parsed or validated."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi.testclient import TestClient

from eta.api import strict_json
from eta.api.error_budget import ErrorBudget
from eta.api.problem_details import ProblemError
from eta.api.routes import estimates, events, scores, shipments
from eta.api.schemas.estimates import MAX_SERVICES
from eta.api.schemas.events import MAX_EVENTS
from eta.api.schemas.fields import CountFirst, StrictModel
from eta.api.strict_json import MAX_KEYS, MAX_VALUES, load, load_lines
from eta.api.strict_route import MAX_QUERY_PARAMETERS
from support.model_app import KEY, application

HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}
LINES = {"X-API-Key": KEY, "Content-Type": "application/x-ndjson"}
PLACE = {"country": "AT"}
LANE = {"origin_address": PLACE, "destination_address": PLACE}
SHIPMENT = {**LANE, "order_time": "2026-05-14T10:00:00Z"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application without a model."""
    with TestClient(application(tmp_path_factory.mktemp("models"))) as client:
        yield client


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test that parses JSON."""

    def fail(*_: object) -> None:
        pytest.fail("the text was parsed before it was counted")

    monkeypatch.setattr(strict_json, "_Decoder", fail)


def error_of(content: bytes) -> tuple[list[str | int], str]:
    with pytest.raises(ProblemError) as caught:
        load(content)
    (error,) = caught.value.errors
    return error.loc, error.type


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize(
    "line", [b"x\n", b"{}\n", b"1\n", b'""\n', b"[]\n", b"\n", b" \n", b"\r\n", b"x\r\n", b"\t\n"]
)
@pytest.mark.parametrize("size", [2**19, 2**23])
def test_too_many_lines_are_rejected_unparsed(line: bytes, size: int) -> None:
    with pytest.raises(ProblemError) as caught:
        load_lines(line * (size // len(line)), MAX_EVENTS, ErrorBudget())
    (error,) = caught.value.errors
    assert (error.loc, error.type) == (["body"], "too_long")
    assert str(MAX_EVENTS) in error.msg


def test_as_many_lines_as_events_are_read_with_blank_ones_between() -> None:
    content = b"{}\n\r\n" * MAX_EVENTS
    assert load_lines(content, MAX_EVENTS, ErrorBudget()) == [{}] * MAX_EVENTS
    with pytest.raises(ProblemError):
        load_lines(content + b"{}", MAX_EVENTS, ErrorBudget())


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"{" + b'"a":1,' * MAX_VALUES + b"}",
        b"[]" * MAX_VALUES * 2,
        b'""' * MAX_VALUES * 2,
        b":" * (MAX_VALUES + 1),
        b'["' + b'","' * MAX_VALUES + b'"]',
    ],
)
def test_too_many_values_are_rejected_unparsed(content: bytes) -> None:
    assert error_of(content) == (["body"], "too_many_values")


def test_an_object_with_more_keys_than_any_schema_is_rejected() -> None:
    allowed = {f"k{number}": 1 for number in range(MAX_KEYS)}
    assert load(json.dumps(allowed).encode()) == allowed
    wide = {"a": [{**allowed, "one": "more"}]}
    assert error_of(json.dumps(wide).encode()) == (["body", "a", 0], "too_many_keys")
    duplicates = b'{"a": {' + b",".join([b'"x": 1'] * 5_000) + b"}}"
    assert error_of(duplicates) == (["body", "a"], "too_many_keys")


def models_of_requests() -> set[type[StrictModel]]:
    """Every model that a request body is made of."""
    found: set[type[StrictModel]] = set()
    waiting: list[Any] = [
        route.body_field.field_info.annotation
        for resource in (estimates, events, scores, shipments)
        for route in resource.router.routes
        if route.body_field
    ]
    while waiting:
        annotation = waiting.pop()
        waiting += typing.get_args(annotation)
        is_model = isinstance(annotation, type) and issubclass(annotation, StrictModel)
        if is_model and annotation not in found:
            found.add(annotation)
            waiting += [field.annotation for field in annotation.model_fields.values()]
    return found


def uncounted_lists(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The lists of a type that are not counted first."""
    if typing.get_origin(annotation) is Annotated:
        inner, *more = typing.get_args(annotation)
        yield from uncounted_lists(inner, (*metadata, *more))
        return
    if typing.get_origin(annotation) is list:
        if not any(isinstance(each, CountFirst) for each in metadata):
            yield annotation
        metadata = ()
    for argument in typing.get_args(annotation):
        is_optional = typing.get_origin(annotation) is not list
        yield from uncounted_lists(argument, metadata if is_optional else ())


def test_every_list_of_a_request_is_counted_before_it_is_validated() -> None:
    models = models_of_requests()
    assert len(models) > 10
    uncounted = [
        (model.__name__, name)
        for model in models
        for name, field in model.model_fields.items()
        if list(uncounted_lists(field.annotation, tuple(field.metadata)))
    ]
    assert uncounted == []


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/v1/events", {"events": [{}] * 5_001}, ["events"]),
        ("/v1/events", {"events": [1] * 200_000}, ["events"]),
        ("/v1/score", {"shipments": [{}] * 5_001}, ["shipments"]),
        ("/v1/estimates", {**LANE, "carriers": [{}] * (MAX_SERVICES + 1)}, ["carriers"]),
        ("/v1/estimates", {**LANE, "carriers": ["x"] * 10_000}, ["carriers"]),
        (
            "/v1/estimates",
            {**LANE, "carriers": [{"delivery_days": [9] * 15_000}]},
            ["carriers", 0, "delivery_days"],
        ),
        (
            "/v1/estimates",
            {
                **LANE,
                "estimated_pickup": {
                    "order_cutoff_time": "15:00",
                    "business_days": ["x"] * 10_000,
                },
            },
            ["estimated_pickup", "business_days"],
        ),
        (
            "/v1/estimates",
            {
                **LANE,
                "estimated_pickup": {
                    "order_cutoff_time": "15:00",
                    "order_processing_time": {"unit": "business_days", "probabilities": [2] * 9999},
                },
            },
            ["estimated_pickup", "order_processing_time", "probabilities"],
        ),
        (
            "/v1/order-estimates",
            {"destination_address": PLACE, "parcels": [{}] * 9_000},
            ["parcels"],
        ),
        (
            "/v1/ship-by",
            {**LANE, "desired_delivery_date": "2026-05-29", "carriers": [1] * 10_000},
            ["carriers"],
        ),
    ],
)
def test_a_list_that_is_too_long_gives_one_error(
    client: TestClient, path: str, body: Any, loc: list[str | int]
) -> None:
    response = client.post(path, content=json.dumps(body), headers=HEADERS)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["loc"], error["type"]) == (["body", *loc], "too_long")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/estimates", {**LANE, "carriers": [{}] * 100_000}),
        ("/v1/order-estimates", {"destination_address": PLACE, "parcels": [1.5] * 30_000}),
        ("/v1/ship-by", {**LANE, "carriers": [{"delivery_days": [1] * 30_000}]}),
        ("/v1/shipments", {**SHIPMENT, "weight": [0.5] * 30_000}),
    ],
)
def test_a_body_that_is_no_batch_has_fewer_values(client: TestClient, path: str, body: Any) -> None:
    response = client.post(path, content=json.dumps(body), headers=HEADERS)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["loc"], error["type"]) == (["body"], "too_many_values")


def test_the_events_of_a_shipment_are_counted_first(client: TestClient) -> None:
    shipments = [{**SHIPMENT, "events": [{}] * 100_000}, SHIPMENT]
    response = client.post("/v1/score", json={"shipments": shipments}, headers=HEADERS)
    first, second = response.json()["results"]
    (error,) = first["problem"]["errors"]
    assert (error["loc"], error["type"]) == (["body", "shipments", 0, "events"], "too_long")
    assert "problem" not in second


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"k{number}=1" for number in range(5_000)),
        "&".join(["limit=1"] * (MAX_QUERY_PARAMETERS + 1)),
        "&" * 60_000,
    ],
)
def test_too_many_query_parameters_are_rejected(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/shipments?{query}", headers=HEADERS)
    assert response.status_code == 422
    assert [error["loc"] for error in response.json()["errors"]] == [["query"]]


def test_too_many_ids_are_rejected(client: TestClient) -> None:
    for name in ("ids", "external_ids"):
        response = client.get(
            "/v1/shipments", params={name: ",".join(["a"] * 4_000)}, headers=HEADERS
        )
        assert response.status_code == 422
        assert response.json()["errors"][0]["type"] == "too_long"


def test_lines_beyond_the_limit_are_one_problem_over_http(client: TestClient) -> None:
    response = client.post("/v1/events", content=b"x\n" * 2**18, headers=LINES)
    assert response.status_code == 422
    assert len(response.content) < 500
    (error,) = response.json()["errors"]
    assert error["type"] == "too_long"
