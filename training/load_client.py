"""A cheap HTTP client: requests built in advance, sent at fixed times or one after the other.

It must cost far less than the server that it measures, so it keeps connections open, writes bytes
that were built before, and reads no more of a response than is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import cast

#: Seconds after which a request without an answer is given up.
ANSWER_TIMEOUT_SECONDS = 30.0
#: Seconds between two looks at what is due.
TICK_SECONDS = 0.001
#: A request that is sent later than this after it was due was sent late.
LATE_SECONDS = 0.005
#: Most connections of one caller.
MAX_CONNECTIONS = 2_000
#: Status of a request whose connection was closed or refused, or that was given up.
NO_ANSWER = 0
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Times are seconds of ``perf_counter``, which processes share on Linux."""

    due: float
    sent: float
    ended: float
    status: int
    request: bytes
    #: Bytes of the body.
    size: int = 0
    head: bytes = b""
    body: bytes = b""

    @property
    def seconds(self) -> float:
        """The wait since the moment at which the request was due."""
        return self.ended - self.due

    @property
    def retry_after(self) -> str | None:
        """The header Retry-After."""
        return _header(self.head.lower(), b"retry-after")

    @property
    def content_type(self) -> str:
        """The header Content-Type; empty if there is none."""
        return _header(self.head.lower(), b"content-type") or ""


def request_bytes(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A request as it is sent; the length is added unless the headers have one."""
    all_headers = {"host": "localhost", **(headers or {})}
    if body or method not in ("GET", "HEAD"):
        all_headers.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {all_headers[name]}" for name in all_headers)]
    return "\r\n".join(lines).encode() + _END_OF_HEAD + body


class Connection(asyncio.Protocol):
    """One connection, which sends one request at a time."""

    transport: asyncio.Transport

    def __init__(self, *, keeps_body: bool = False) -> None:
        self._keeps_body = keeps_body
        self._on_answer: Callable[[Answer], None] | None = None
        self._buffer = bytearray()
        self._has_no_body = False
        self._due = self._sent = 0.0
        self._request = b""

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due: float, on_answer: Callable[[Answer], None]) -> None:
        """Sends a request; ``on_answer`` gets the answer."""
        self._buffer.clear()
        self._on_answer, self._due, self._sent = on_answer, due, perf_counter()
        self._request = request
        self._has_no_body = request.startswith(b"HEAD ")
        self.transport.write(request)

    async def fetch(self, request: bytes) -> Answer:
        """The answer to a request that is sent now."""
        arrived = asyncio.get_running_loop().create_future()
        self.send(request, perf_counter(), arrived.set_result)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                return await arrived
        except TimeoutError:
            self._on_answer = None
            self.close()
            return Answer(self._due, self._sent, perf_counter(), NO_ANSWER, request)

    def data_received(self, data: bytes) -> None:
        """Reads a response, and hands it on once it is whole."""
        self._buffer += data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0 or self._on_answer is None:
            return
        head, start = bytes(self._buffer[:end]), end + len(_END_OF_HEAD)
        length = 0 if self._has_no_body else _body_length(head.lower(), self._buffer, start)
        if length is not None and len(self._buffer) >= start + length:
            self._finish(int(head[9:12]), head, start, length)

    def connection_lost(self, _: Exception | None) -> None:
        """Gives up what has no answer yet."""
        if self._on_answer is not None:
            self._finish(NO_ANSWER, b"", 0, 0)

    def close(self) -> None:
        """Closes it."""
        self.transport.abort()

    def _finish(self, status: int, head: bytes, start: int, length: int) -> None:
        body = bytes(self._buffer[start : start + length]) if self._keeps_body else b""
        on_answer, self._on_answer = self._on_answer, None
        if not status or b"connection: close" in head.lower():
            self.transport.close()
        if on_answer is not None:
            times = self._due, self._sent, perf_counter()
            on_answer(Answer(*times, status, self._request, length, head=head, body=body))


async def connect(port: int, *, keeps_body: bool = False) -> Connection:
    """A new connection to a server on this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(keeps_body=keeps_body), "127.0.0.1", port
    )
    return connection


class Caller:
    """Sends requests when they are due, each on a connection that is free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self.answers: list[Answer] = []

    async def open(self, count: int) -> None:
        """Opens connections in advance."""
        self._free += [await connect(self._port) for _ in range(count)]
        self._count += count

    def send(self, request: bytes, due: float) -> None:
        """Sends one request, on a new connection if none is free."""
        while self._free:
            connection = self._free.pop()
            if connection.is_open:
                connection.send(request, due, self._recorder(connection))
                return
            self._count -= 1
        if self._count >= MAX_CONNECTIONS:
            now = perf_counter()
            self.answers.append(Answer(due, now, now, NO_ANSWER, request))
            return
        self._count += 1
        task = asyncio.ensure_future(self._send_on_new(request, due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recorder(self, connection: Connection) -> Callable[[Answer], None]:
        def record(answer: Answer) -> None:
            self.answers.append(answer)
            self._free.append(connection)

        return record

    async def _send_on_new(self, request: bytes, due: float) -> None:
        sent = perf_counter()
        try:
            connection = await connect(self._port)
        except OSError:
            self._count -= 1
            self.answers.append(Answer(due, sent, perf_counter(), NO_ANSWER, request))
            return
        record = self._recorder(connection)
        connection.send(request, due, lambda answer: record(replace(answer, sent=sent)))

    async def drain(self, count: int) -> None:
        """Waits until ``count`` requests have their answer; gives up those that have none."""
        until = perf_counter() + ANSWER_TIMEOUT_SECONDS
        while len(self.answers) < count and perf_counter() < until:
            await asyncio.sleep(0.01)
        missing = count - len(self.answers)
        now = perf_counter()
        unanswered = Answer(until - ANSWER_TIMEOUT_SECONDS, now, now, NO_ANSWER, b"")
        self.answers += [unanswered] * missing

    def take(self) -> list[Answer]:
        """The answers since the last call."""
        taken, self.answers = self.answers, []
        return taken

    def close(self) -> None:
        """Closes all free connections."""
        for connection in self._free:
            connection.close()


async def send_at_rate(
    caller: Caller, requests: Iterator[bytes], rate: float, seconds: float
) -> list[Answer]:
    """The answers to ``rate`` requests a second, evenly spread, however long each takes."""
    count, sent = int(rate * seconds), 0
    caller.take()
    started = perf_counter()
    while sent < count:
        due_by_now = min(count, int((perf_counter() - started) * rate) + 1)
        while sent < due_by_now:
            caller.send(next(requests), started + sent / rate)
            sent += 1
        await asyncio.sleep(TICK_SECONDS)
    await caller.drain(count)
    return caller.take()


async def send_in_turn(
    port: int, requests: Iterator[bytes], callers: int, seconds: float
) -> list[Answer]:
    """The answers to several callers, each of which sends as soon as it has an answer."""
    until, answers = perf_counter() + seconds, list[Answer]()

    async def call() -> None:
        connection = await connect(port)
        while perf_counter() < until:
            if not connection.is_open:
                connection = await connect(port)
            answers.append(await connection.fetch(next(requests)))
        connection.close()

    await asyncio.gather(*(call() for _ in range(callers)))
    return answers


def late_share(answers: list[Answer]) -> float:
    """The share of requests that were sent late."""
    late = sum(answer.sent - answer.due > LATE_SECONDS for answer in answers)
    return late / max(len(answers), 1)


def _body_length(head: bytes, buffer: bytearray, start: int) -> int | None:
    """The length of a body; None while it is not known."""
    length = _header(head, b"content-length")
    if length is not None:
        return int(length)
    if head[9:12] in (b"204", b"304"):
        return 0
    if _header(head, b"transfer-encoding"):
        return len(buffer) - start if buffer.endswith(b"\r\n0\r\n\r\n") else None
    return None


def _header(head: bytes, name: bytes) -> str | None:
    before, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip().decode("latin-1") if found and before else None
