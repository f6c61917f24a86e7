"""The client: every operation against a running service, and failures of the service."""

from __future__ import annotations

import json
import logging
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from urllib3.util import retry

from eta.api import openapi
from eta.api.app import create_app
from eta.api.auth import ApiKeyAuth
from eta.client import Client, ProblemError, Unreachable
from eta.client.calls import BaseClient
from eta.settings import Settings
from support.model_app import KEY, application, fixed

# One process shares the compiled loops.
pytestmark = pytest.mark.xdist_group("api")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Any]]:
    """The address of a running service, and its application."""
    app = application(folder / "models")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            app.state.resources.model_loader.current = fixed(400)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    with serving(tmp_path_factory.mktemp("served")) as address_and_app:
        yield address_and_app


@pytest.fixture
def eta(service: tuple[str, Any]) -> Iterator[Client]:
    # The first forecast of a process compiles.
    with Client(service[0], KEY, timeout=60) as client:
        yield client


def first_example(requests: dict[str, Any]) -> Any:
    return next(iter(requests.values()))


def operations() -> dict[str, tuple[str, str]]:
    """The method and path of every operation of the OpenAPI document."""
    paths = create_app(Settings(models=Path("models"), is_demo=True)).openapi()["paths"]
    return {
        operation["operationId"]: (verb.upper(), path)
        for path, methods in paths.items()
        for verb, operation in methods.items()
    }


def test_the_client_has_exactly_one_method_per_operation() -> None:
    assert set(operations()) == {name for name in vars(Client) if not name.startswith("_")}
    assert not set(operations()) & set(vars(BaseClient))


def test_every_method_calls_its_route(eta: Client) -> None:
    assert eta.livez() == {"status": "alive"}
    assert eta.readyz()["model_version"] == fixed(400).version
    assert eta.list_models()["active"] == fixed(400).version
    assert eta.get_coverage(limit=1)["model_version"] == fixed(400).version
    assert eta.create_estimate(first_example(openapi.ESTIMATE_REQUESTS))["results"][0][
        "estimated_delivery_date"
    ]
    saved = eta.create_estimate(
        cast("Any", {**first_example(openapi.ESTIMATE_REQUESTS), "save": True})
    )
    assert saved["id"]
    assert eta.get_estimate(saved["id"])["results"] == saved["results"]
    assert eta.get_estimate_schema_org(saved["id"])["results"]
    assert eta.create_order_estimate(first_example(openapi.ORDER_ESTIMATE_REQUESTS))["last"]
    assert eta.calculate_ship_by(first_example(openapi.SHIP_BY_REQUESTS))["results"][0]["code"] in (
        "ok",
        "too_late",
    )
    scored = eta.score_shipments(first_example(openapi.SCORE_REQUESTS))["results"]
    assert ["problem" in result for result in scored] == [False, True]
    registered = eta.create_shipment(first_example(openapi.SHIPMENT_REQUESTS))
    assert registered["created"]
    number = registered["id"]
    recorded = eta.create_events(first_example(openapi.EVENT_REQUESTS))["results"]
    assert [result["status"] for result in recorded if "status" in result] == ["stored", "stored"]
    event_id = cast("Any", recorded[0])["event_id"]
    assert eta.update_event(event_id, first_example(openapi.EVENT_UPDATE_REQUESTS))["created"]
    assert eta.update_shipment(number, {"tracking_number": "AB 1"})["id"] == number
    shipment = eta.get_shipment(number)
    assert shipment["tracking_number"] == "AB1"
    page = eta.list_shipments(external_ids="A-1001")
    assert [result["id"] for result in page["results"]] == [number]
    assert eta.list_shipments(status="delivered", limit=1)["results"] == []
    assert eta.list_shipments(external_ids="A-1001", as_of="2026-05-19T00:00:00Z")["results"] == []
    assert eta.list_quarantine(limit=1)["results"] == []
    assert eta.delete_shipment(number)["deleted"] == 1
    eta.create_shipment(first_example(openapi.SHIPMENT_REQUESTS))
    assert eta.delete_shipment_by_external_id(external_id="A-1001")["deleted"] == 1
    eta.metrics()
    families = text_string_to_metric_families(eta.metrics())
    samples = [
        sample.labels
        for family in families
        if family.name == "eta_http_requests"
        for sample in family.samples
        if sample.value
    ]
    assert set(operations().values()) <= {
        (labels["method"], labels["route"])
        for labels in samples
        if labels["status"] in ("200", "201")
    }


def test_a_connection_is_reused(eta: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "urllib3"):
        for _ in range(3):
            eta.livez()
    assert sum("Starting new HTTP connection" in message for message in caplog.messages) == 1


def test_a_problem_names_the_invalid_field(eta: Client) -> None:
    wrong = cast(
        "Any", {"origin_address": {"country": "Grmany"}, "destination_address": {"country": "AT"}}
    )
    with pytest.raises(
        ProblemError,
        match=r"^422: .*body\.origin_address\.country: 'Grmany' is not a country; did",
    ) as caught:
        eta.create_estimate(wrong)
    assert caught.value.status == 422
    assert [error["loc"] for error in caught.value.problem["errors"]] == [
        ["body", "origin_address", "country"]
    ]
    copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # pickled here
    assert (copied.status, copied.problem) == (422, caught.value.problem)


def test_the_same_idempotency_key_gets_the_same_response(eta: Client) -> None:
    nameless = {
        name: value
        for name, value in first_example(openapi.SHIPMENT_REQUESTS).items()
        if name not in ("external_id", "tracking_number")
    }
    shipment_ids = [
        eta.create_shipment(cast("Any", nameless), idempotency_key=key)["id"]
        for key in ("one", "one", "two")
    ]
    assert shipment_ids[0] == shipment_ids[1] != shipment_ids[2]
    assert (
        eta.create_shipment(cast("Any", nameless))["id"]
        != eta.create_shipment(cast("Any", nameless))["id"]
    )


# A response of the fake service: status, headers and body; None is a broken connection.
Answer = tuple[int, dict[str, str], bytes] | None
JSON = {"Content-Type": "application/json"}
ALIVE: Answer = (200, JSON, b'{"status": "alive"}')
REGISTERED: Answer = (201, JSON, b'{"object": "shipment", "id": "shp_1", "is_new": true}')


class FakeService:
    """A service that sends scripted responses, and then repeats the last one."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""


@pytest.fixture
def fake_service() -> Iterator[FakeService]:
    fake = FakeService()

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fake.seen.append((self.command, self.path, dict(self.headers)))
            scripted = fake.answers.pop(0) if len(fake.answers) > 1 else fake.answers[0]
            self.close_connection = True
            if scripted is not None:
                self.send_response(scripted[0])
                for name, value in scripted[1].items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(scripted[2])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_port}"
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=waited.append, time=time.time))
    return waited


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_waits_as_long_as_retry_after_says(
    status: int, fake_service: FakeService, waits: list[float]
) -> None:
    fake_service.answers = [
        (status, {"Retry-After": "7"}, b""),
        (status, {"Retry-After": "90000"}, b""),
        ALIVE,
    ]
    with Client(fake_service.url) as eta:
        assert eta.livez() == {"status": "alive"}
    assert waits == [7, 30]


def test_waits_grow_without_retry_after(fake_service: FakeService, waits: list[float]) -> None:
    fake_service.answers = [(503, {}, b"")]
    with Client(fake_service.url, retries=4) as eta, pytest.raises(ProblemError, match="503"):
        eta.livez()
    assert len(fake_service.seen) == 5
    assert [0.4, 0.8, 1.6] <= waits == sorted(waits) <= [0.6, 1.0, 1.8]


def test_a_documented_503_is_returned_without_a_retry(
    fake_service: FakeService, waits: list[float]
) -> None:
    fake_service.answers = [(503, {**JSON, "Retry-After": "5"}, b'{"status": "unavailable"}')]
    with Client(fake_service.url) as eta:
        assert eta.readyz()["status"] == "unavailable"
    assert (len(fake_service.seen), waits) == (1, [])


def test_an_id_is_one_segment_of_the_path(fake_service: FakeService) -> None:
    fake_service.answers = [(200, JSON, b'{"deleted": 0}')]
    with Client(fake_service.url) as eta:
        eta.delete_shipment("../shp_1?x=1#ü")
    assert [path for _, path, _ in fake_service.seen] == [
        "/v1/shipments/..%2Fshp_1%3Fx%3D1%23%C3%BC"
    ]


def test_an_estimate_is_retried_after_503(fake_service: FakeService, waits: list[float]) -> None:
    fake_service.answers = [(503, {"Retry-After": "1"}, b""), (200, JSON, b'{"results": []}')]
    with Client(fake_service.url) as eta:
        assert eta.create_estimate(first_example(openapi.ESTIMATE_REQUESTS))["results"] == []
    assert waits == [1]


def test_a_write_without_a_key_is_not_repeated_without_retry_after(
    fake_service: FakeService, waits: list[float]
) -> None:
    fake_service.answers = [(503, JSON, b'{"detail": "unknown whether it was recorded"}')]
    with Client(fake_service.url) as eta, pytest.raises(ProblemError, match="503"):
        eta.create_estimate(first_example(openapi.ESTIMATE_REQUESTS))
    assert (len(fake_service.seen), waits) == (1, [])


CALLS: dict[str, tuple[Callable[[Client], object], Answer]] = {
    "create_shipment": (
        lambda eta: eta.create_shipment(first_example(openapi.SHIPMENT_REQUESTS)),
        REGISTERED,
    ),
    "update_shipment": (
        lambda eta: eta.update_shipment("shp_1", {"carrier_code": None}),
        (200, JSON, b'{"object": "shipment", "id": "shp_1", "created": false}'),
    ),
    "update_event": (
        lambda eta: eta.update_event("evt_1", {"event_code": "sorted"}),
        (200, JSON, b'{"object": "event", "event_id": "evt_1", "created": true}'),
    ),
    "create_events": (
        lambda eta: eta.create_events(first_example(openapi.EVENT_REQUESTS)),
        (200, JSON, b'{"object": "event_batch", "results": []}'),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_all_tries_of_a_write_share_one_idempotency_key(
    name: str, fake_service: FakeService, waits: list[float]
) -> None:
    call, answer = CALLS[name]
    fake_service.answers = [None, (429, {"Retry-After": "2"}, b""), answer, answer]
    with Client(fake_service.url) as eta:
        call(eta)
        call(eta)
    keys = [headers["Idempotency-Key"] for _, _, headers in fake_service.seen]
    assert (len(keys), len(set(keys[:3])), keys[3] in keys[:3], waits) == (4, 1, False, [2])


@pytest.mark.parametrize(
    "broken",
    [None, (200, {**JSON, "Content-Length": "500"}, b'{"results": [')],
    ids=["before", "midway"],
)
def test_a_broken_connection_is_not_retried_without_a_key(
    broken: Answer, fake_service: FakeService
) -> None:
    fake_service.answers = [broken]
    with Client(fake_service.url) as eta:
        for call in (
            lambda: eta.delete_shipment("shp_1"),
            lambda: eta.create_estimate(first_example(openapi.ESTIMATE_REQUESTS)),
        ):
            fake_service.seen.clear()
            with pytest.raises(Unreachable, match="/v1/"):
                call()
            assert len(fake_service.seen) == 1


def test_a_silent_service_times_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05, retries=1) as eta,
    ):
        began = time.monotonic()
        with pytest.raises(Unreachable, match="timed out"):
            eta.livez()
        assert time.monotonic() - began < 5.0


def test_a_refused_connection_is_unreachable(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as eta, pytest.raises(Unreachable, match="GET /livez"):
        eta.livez()
    assert len(waits) == 2


def test_errors_of_a_proxy_become_problems(fake_service: FakeService) -> None:
    with Client(f"{fake_service.url}/behind/a/proxy/") as eta:
        for status, headers, body, title in (
            (502, {"Content-Type": "text/html"}, b"<h1>no</h1>", "Bad Gateway"),
            (307, {"Location": "http://elsewhere.invalid/"}, b"", "Temporary Redirect"),
            (
                403,
                {"Content-Type": "application/problem+json"},
                b'{"title": "Members only"}',
                "Members only",
            ),
        ):
            fake_service.answers = [(status, headers, body)]
            with pytest.raises(ProblemError) as caught:
                eta.livez()
            assert (
                caught.value.status,
                caught.value.problem["title"],
                caught.value.problem["errors"],
            ) == (status, title, [])
        fake_service.answers = [(200, {"Content-Type": "text/html"}, b"<h1>welcome</h1>")]
        with pytest.raises(Unreachable, match="not the service's"):
            eta.livez()
    assert {path for _, path, _ in fake_service.seen} == {"/behind/a/proxy/livez"}


def test_the_key_is_sent_and_never_shown(
    fake_service: FakeService,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "eta_0123456789abcdef"  # noqa: S105  # a fake key
    fake_service.answers = [(429, {}, b""), None, (503, {}, b"")]
    with caplog.at_level(logging.DEBUG), Client(fake_service.url, secret) as eta:
        with pytest.raises(ProblemError) as problem:
            eta.livez()
        fake_service.answers = [None]
        with pytest.raises(Unreachable) as unreachable:
            eta.list_models()
        texts = [
            repr(eta),
            str(eta),
            repr(problem.value),
            repr(unreachable.value),
            str(unreachable.value),
            str(unreachable.value.__cause__),
        ]
    assert {headers["Authorization"] for _, _, headers in fake_service.seen} == {f"Bearer {secret}"}
    assert caplog.messages
    assert waits
    assert not any(secret in text for text in (*texts, caplog.text, *capsys.readouterr()))


@pytest.mark.parametrize("key", ["secret\n", " secret", "secret\r\nX-Other: 1", "sécret", ""])
def test_an_impossible_key_is_rejected_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="the key has") as caught:
        Client("http://127.0.0.1", key)
    assert "cret" not in str(caught.value)


def test_the_example_runs_as_written(
    service: tuple[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    state = service[1].state
    demo = replace(state.resources, auth=ApiKeyAuth({}, is_demo=True))
    monkeypatch.setattr(state, "resources", demo)
    exec(example.replace("http://127.0.0.1:8000", service[0]), {})  # noqa: S102  # our documentation, run as written
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"post 20\d\d-\d\d-\d\d 20\d\d-\d\d-\d\d", first)
    assert second == "404 shipment not found"


def test_the_client_starts_without_the_service() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, sys, eta.client; print(json.dumps(list(sys.modules)))",
        ],
        capture_output=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert "urllib3" in loaded
    assert {name for name in loaded if name.startswith("eta.")} == {
        f"eta.client{name}" for name in ("", ".calls", ".client", ".types")
    }
    assert not loaded & {"numpy", "pandas", "numba", "fastapi", "pydantic"}
