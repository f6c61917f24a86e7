"""Refusals by the head of a request: whom, for what, and the bytes that are sent."""

from __future__ import annotations

import hashlib
import json

import pytest

from eta.api import request_gate
from eta.api.app import ROUTES
from eta.api.auth import ApiKeyAuth
from eta.api.load_shedding import LoadShedder
from eta.api.request_gate import RETRY_AFTER_SECONDS, Call, RequestGate, kinds_of
from eta.cli import http_protocol
from eta.domain.access import Principal
from support.hostile_requests import faults_of

KEYS = {"one": Principal("first"), "two": Principal("second")}
AUTH = ApiKeyAuth({hashlib.sha256(key.encode()).hexdigest(): KEYS[key] for key in KEYS})


class Full(LoadShedder):
    """Has no room."""

    def admits(self, *_: object) -> bool:
        return False


@pytest.fixture
def gate() -> RequestGate:
    return RequestGate(AUTH, LoadShedder(), kinds_of(ROUTES), lambda: None)


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        (b"POST", b"/v1/estimates", "checkout"),
        (b"POST", b"/v1/order-estimates?x=1", "checkout"),
        (b"GET", b"/v1/estimates/est_1", "read"),
        (b"POST", b"/v1/score", "score"),
        (b"POST", b"/v1/events", "ingest"),
        (b"PATCH", b"/v1/shipments/shp_1", "ingest"),
        (b"DELETE", b"/v1/shipments/shp_1", "ingest"),
        (b"GET", b"/v1/shipments/shp_1", "read"),
        (b"GET", b"/openapi.json", "read"),
        (b"POST", b"/nothing/at/all", "read"),
        (b"GET", b"*", "read"),
    ],
)
def test_the_kind_of_a_request_is_that_of_its_route(
    gate: RequestGate, method: bytes, url: bytes, kind: str
) -> None:
    assert gate.call(method, url, []) == Call(kind, "")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [b"/livez", b"/readyz", b"/livez?verbose"])
def test_probes_are_never_refused(gate: RequestGate, url: bytes) -> None:
    assert gate.call(b"GET", url, []) is None


def test_metrics_have_a_share_of_their_own(gate: RequestGate) -> None:
    call = gate.call(b"GET", b"/metrics", [(b"x-api-key", b"one")])
    assert call == Call("read", "/metrics")


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ([], ""),
        ([(b"x-api-key", b"one")], "first"),
        ([(b"authorization", b"Bearer two")], "second"),
        ([(b"authorization", b"bearer  two ")], "second"),
        ([(b"x-api-key", b"wrong"), (b"authorization", b"Bearer two")], "second"),
        ([(b"x-api-key", b"wrong")], ""),
        ([(b"authorization", b"two")], ""),
        ([(b"x-api-key", b"\xff\x00")], ""),
    ],
)
def test_callers_are_distinguished_by_their_keys(
    gate: RequestGate, headers: list[tuple[bytes, bytes]], caller: str
) -> None:
    call = gate.call(b"POST", b"/v1/estimates", headers)
    assert call
    assert call.caller == caller


def test_a_refusal_is_a_problem_that_says_when_to_come_again() -> None:
    counted: list[None] = []
    gate = RequestGate(AUTH, Full(), {}, lambda: counted.append(None))
    waits = []
    for _ in RETRY_AFTER_SECONDS:
        response = gate.refusal(Call("ingest", ""), b"/v1/events?a=b")
        assert response
        head, _, body = response.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert lines[0] == "HTTP/1.1 503 Service Unavailable"
        assert int(headers["content-length"]) == len(body)
        assert headers["cache-control"] == "no-store"
        assert not faults_of(400, headers["content-type"], body.replace(b"503", b"400"))
        assert json.loads(body)["instance"] == "/v1/events"
        waits.append(int(headers["retry-after"]))
    assert sorted(waits) == [1, 2, 3, 4, 5]
    assert len(counted) == len(waits)


def test_a_request_is_counted_until_it_ends() -> None:
    shedder = LoadShedder()
    gate = RequestGate(AUTH, shedder, {}, lambda: None)
    ticket = gate.start(Call("score", "first"))
    assert shedder.in_progress("score") == 1
    gate.end(ticket)
    assert shedder.in_progress("score") == 0


def test_a_refusal_repeats_no_byte_that_could_end_a_header() -> None:
    gate = RequestGate(AUTH, Full(), {}, lambda: None)
    response = gate.refusal(Call("read", ""), b"/\xff\r\nset-cookie: a=b\x00")
    assert response
    assert b"set-cookie" not in response.partition(b"\r\n\r\n")[0]
    assert response.isascii()


def test_the_server_looks_for_the_gate_by_the_name_of_the_application() -> None:
    # The two rooms do not import each other, and without a gate nothing is refused early.
    assert request_gate.GATE == http_protocol.GATE
