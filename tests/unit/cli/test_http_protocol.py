"""Connections that are slow, silent or too many, against a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from threading import Thread
from time import monotonic, sleep
from typing import Any, Literal

import pytest
import uvicorn

from eta.cli import http_protocol
from eta.cli.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, BoundedProtocol

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
PAUSE = 0.3


class Server:
    """A server in a thread, whose application answers at once, or after the whole body."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], *, lifespan: Literal["on", "off"] = "off"
    ) -> None:
        config = uvicorn.Config(
            app, port=0, http=BoundedProtocol, ws="none", lifespan=lifespan, log_level="critical"
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)
        self._thread.start()
        while not self._server.started:
            sleep(0.01)
        self.address = self._server.servers[0].sockets[0].getsockname()

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(self.address, timeout=5.0)

    def stop(self) -> None:
        """Ends the server."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5.0)


async def early(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers without reading the body."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def large(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers with more than all buffers hold."""
    body = b"x" * 2**25
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=[early])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with short time limits."""
    for name in ("HEAD_TIMEOUT_SECONDS", "REST_TIMEOUT_SECONDS", "READ_TIMEOUT_SECONDS"):
        monkeypatch.setattr(http_protocol, name, PAUSE)
    server = Server(request.param)
    yield server
    server.stop()


def seconds_until_closed(connection: socket.socket) -> float:
    """Reads until the server closes the connection."""
    started = monotonic()
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return monotonic() - started


def is_answered(connection: socket.socket) -> bool:
    """Reads one answer."""
    received = b""
    while not received.endswith(b"ok"):
        chunk = connection.recv(1_000)
        if not chunk:
            return False
        received += chunk
    return True


def trickle(connection: socket.socket, data: bytes) -> float:
    """Seconds for which the server reads single bytes; it must end them."""
    started = monotonic()
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            sleep(PAUSE / 10)
    except OSError:
        return monotonic() - started
    return float("inf")


def test_a_silent_connection_is_closed(server: Server) -> None:
    with server.connect() as connection:
        assert seconds_until_closed(connection) < 10 * PAUSE


def test_slow_headers_are_cut_off(server: Server) -> None:
    with server.connect() as connection:
        assert trickle(connection, GET + b"x: " + b"y" * 200) < 10 * PAUSE


def test_slow_headers_of_a_later_request_are_cut_off(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert is_answered(connection)
        assert trickle(connection, GET + b"x: " + b"y" * 200) < 10 * PAUSE


def test_the_slow_rest_of_an_answered_body_is_cut_off(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST)
        assert trickle(connection, b"x" * 200) < 10 * PAUSE


def test_headers_that_are_too_large_are_rejected(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET)
        with pytest.raises(OSError):
            for _ in range(1_000):
                connection.sendall(b"x: " + b"y" * MAX_HEAD_BYTES)


def test_too_many_headers_are_rejected(server: Server) -> None:
    for count, is_accepted in ((MAX_HEADERS - 1, True), (MAX_HEADERS, False)):
        with server.connect() as connection:
            connection.sendall(GET + b"x: 1\r\n" * count + b"\r\n")
            assert is_answered(connection) is is_accepted


def test_requests_in_time_share_a_connection(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(5):
            connection.sendall(GET)
            sleep(PAUSE / 3)
            connection.sendall(b"\r\n")
            assert is_answered(connection)


@pytest.mark.parametrize("server", [large], indirect=True)
def test_an_answer_that_nobody_reads_is_dropped(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        sleep(4 * PAUSE)
        received = 0
        try:
            while chunk := connection.recv(2**20):
                received += len(chunk)
        except ConnectionResetError:
            pass
        assert received < 2**25


def test_the_longest_silent_of_too_many_connections_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(BoundedProtocol, "max_connections", 3)
    with server.connect() as oldest:
        sleep(0.05)
        with server.connect() as other, server.connect(), server.connect() as active:
            active.sendall(GET + b"\r\n")
            assert is_answered(active)
            assert seconds_until_closed(oldest) < 5.0
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)


class Gate:
    """A gate that refuses paths with a word in them, and counts the others."""

    def __init__(self) -> None:
        self.in_progress: list[bytes] = []
        self.highest = 0

    def call(self, _method: bytes, url: bytes, _headers: object) -> bytes | None:
        return None if url == b"/probe" else url

    def refusal(self, _call: bytes, url: bytes) -> bytes | None:
        refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull"
        return refusal if b"refused" in url else None

    def start(self, call: bytes) -> bytes:
        self.in_progress.append(call)
        self.highest = max(self.highest, len(self.in_progress))
        return call

    def end(self, ticket: bytes) -> None:
        self.in_progress.remove(ticket)


async def slow(_scope: Any, receive: Any, send: Any) -> None:
    """Answers after the whole body and a moment."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.1)
    await early(_scope, receive, send)


@pytest.fixture
def gated() -> Any:
    """A server with a gate."""
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"][http_protocol.GATE] = gate
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await slow(scope, receive, send)

    server = Server(app, lifespan="on")
    yield server, gate
    server.stop()


def post(path: str, size: int = 3) -> bytes:
    """A request with a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"x" * size


def answers(connection: socket.socket, count: int) -> list[bytes]:
    """The statuses of so many answers."""
    received = b""
    while received.count(b"HTTP/1.1 ") < count or not received.endswith((b"ok", b"full")):
        part = connection.recv(65_536)
        if not part:
            break
        received += part
    return [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]


def await_end(gate: Gate) -> None:
    """Waits until nothing is in progress."""
    until = monotonic() + 5
    while gate.in_progress and monotonic() < until:
        sleep(0.01)
    assert not gate.in_progress


def test_a_refused_request_leaves_its_connection_usable(gated: tuple[Server, Gate]) -> None:
    server, gate = gated
    with server.connect() as connection:
        for size in (3, 0, 200_000):
            connection.sendall(post("/refused", size))
            assert answers(connection, 1) == [b"503"]
            connection.sendall(post("/good"))
            assert answers(connection, 1) == [b"200"]
    await_end(gate)
    assert gate.highest == 1


def test_a_refused_request_that_asks_to_close_closes(gated: tuple[Server, Gate]) -> None:
    server, _ = gated
    with server.connect() as connection:
        connection.sendall(b"GET /refused HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answers(connection, 1) == [b"503"]
        assert seconds_until_closed(connection) < 1


def test_a_request_counts_from_the_end_of_its_body(gated: tuple[Server, Gate]) -> None:
    server, gate = gated
    with server.connect() as connection:
        connection.sendall(post("/good", 10)[:-1])
        sleep(0.05)
        assert not gate.in_progress
        connection.sendall(b"x")
        assert answers(connection, 1) == [b"200"]
    await_end(gate)
    assert gate.highest == 1


def test_requests_that_wait_for_one_another_are_counted(gated: tuple[Server, Gate]) -> None:
    server, gate = gated
    with server.connect() as connection:
        connection.sendall(post("/one") + post("/two") + post("/three"))
        assert answers(connection, 3) == [b"200"] * 3
    await_end(gate)
    assert gate.highest == 3


def test_a_closed_connection_leaves_nothing_counted(gated: tuple[Server, Gate]) -> None:
    server, gate = gated
    for count in range(1, 5):
        with server.connect() as connection:
            connection.sendall(b"".join(post(f"/{number}") for number in range(count)))
            sleep(0.02)
    await_end(gate)
    assert gate.highest > 1


def test_a_request_that_is_never_refused_is_not_counted(gated: tuple[Server, Gate]) -> None:
    server, gate = gated
    with server.connect() as connection:
        connection.sendall(b"GET /probe HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(connection, 1) == [b"200"]
    assert gate.highest == 0
