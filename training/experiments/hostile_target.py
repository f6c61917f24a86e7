"""How an attacker sends: one request after the other, slowly, or not to the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import load_client
from load_client import NO_ANSWER, Answer, request_bytes

from support.hostile_requests import faults_of
from support.hostile_requests import requests as generated_requests

#: The largest body that the service accepts.
MAX_BODY_BYTES = 8 * 2**20
#: An answer is larger by far than its request if it is so many times as large.
MAX_RATIO = 4
#: Bytes of the slow bodies, and seconds between two pieces of them.
SLOW_BODY_BYTES, DRIP_SECONDS = 11_000, 0.5
#: Seconds after which the generated requests end, if they are not over before.
MAX_SECONDS = 600.0
#: Faults that are reported of one attack.
MAX_FAULTS = 5
JSON = "application/json"


@dataclass
class Answers:
    """What became of the requests of an attack."""

    statuses: Counter[int] = field(default_factory=Counter)
    #: Bytes of the largest answer that is no success.
    largest_refusal: int = 0
    #: Bytes of the largest answer to a body that is no refusal and larger than the request by far.
    largest_answer: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Counts an answer, and notes what is wrong with it."""
        self.statuses[answer.status] += 1
        if answer.status >= 400:
            self.largest_refusal = max(self.largest_refusal, answer.size)
        elif not answer.request.startswith(b"GET ") and _is_larger_by_far(answer):
            self.largest_answer = max(self.largest_answer, answer.size)
        if len(self.faults) < MAX_FAULTS:
            self.faults += _faults(answer)


def _is_larger_by_far(answer: Answer) -> bool:
    return answer.size > MAX_RATIO * len(answer.request)


def _faults(answer: Answer) -> list[str]:
    if answer.status in (429, 503):
        return [] if answer.retry_after else [f"{answer.status} without Retry-After"]
    # What is no HTTP is answered by the server in front of the application.
    if answer.status in (NO_ANSWER, 400) and not answer.content_type.startswith("application"):
        return []
    return faults_of(answer.status, answer.content_type, answer.body)


@dataclass(frozen=True)
class Target:
    """The server under attack, the attacker's key, the seconds, and what it answered."""

    port: int
    key: str
    seconds: float
    #: How many requests are generated, and with which seed.
    requests: int
    seed: int
    answers: Answers = field(default_factory=Answers)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """A request with the attacker's key; ``_`` in names of headers stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return request_bytes(method, path, {"x-api-key": self.key, **named}, body)

    def post(self, path: str, body: bytes, content_type: str = JSON, **headers: str) -> bytes:
        """A POST request with the attacker's key."""
        return self.request("POST", path, body, content_type=content_type, **headers)


Attack = Callable[[Target], Awaitable[None]]
#: Builds a body, which may be large, when it is needed.
Build = Callable[[], bytes]


async def _repeat(target: Target, requests: Iterator[bytes], callers: int) -> None:
    """Sends requests from several connections, each as soon as the last one is answered."""
    until = perf_counter() + target.seconds

    async def call() -> None:
        connection: load_client.Connection | None = None
        for request in requests:
            if perf_counter() >= until:
                break
            if connection is None or not connection.is_open:
                connection = await _connect(target)
            if connection:
                answer = await connection.fetch(request)
                target.answers.add(answer)
        if connection:
            connection.close()

    await asyncio.gather(*(call() for _ in range(callers)))


async def _connect(target: Target) -> load_client.Connection | None:
    """A connection; None, after a moment, if there is none to be had."""
    try:
        async with asyncio.timeout(1.0):
            return await load_client.connect(target.port, keeps_body=True)
    except (OSError, TimeoutError):
        await asyncio.sleep(0.1)
        return None


def bodies(
    path: str, build: Build, content_type: str = JSON, *, callers: int = 4, **headers: str
) -> Attack:
    """The same body again and again."""

    async def attack(target: Target) -> None:
        request = target.post(path, build(), content_type, **headers)
        await _repeat(target, itertools.repeat(request), callers)

    return attack


def keyed(path: str, build: Build, *, callers: int = 4) -> Attack:
    """The same body, each time with another idempotency key."""

    async def attack(target: Target) -> None:
        content = build()
        requests = (
            target.post(path, content, idempotency_key=f"{target.seed}-{number}")
            for number in itertools.count()
        )
        await _repeat(target, requests, callers)

    return attack


def reads(*paths: str, callers: int = 16) -> Attack:
    """The same paths again and again."""

    async def attack(target: Target) -> None:
        requests = itertools.cycle([target.request("GET", path) for path in paths])
        await _repeat(target, requests, callers)

    return attack


async def _hold(target: Target, start: bytes, pieces: Iterator[bytes], pause: float) -> None:
    """Sends the start of a request and then piece after piece, until the time is over."""
    until = perf_counter() + target.seconds
    while (left := until - perf_counter()) > 0:
        connection = await _connect(target)
        if connection is None:
            continue
        waiting = asyncio.get_running_loop().create_future()
        connection.send(start, perf_counter(), waiting.set_result)
        for piece in pieces:
            if waiting.done() or perf_counter() >= until or not connection.is_open:
                break
            connection.transport.write(piece)
            await asyncio.wait({waiting}, timeout=pause)
        left = max(until - perf_counter(), 0.0)
        await asyncio.wait({waiting}, timeout=left)
        if waiting.done() and waiting.result().status:
            target.answers.add(waiting.result())
        connection.close()
        await asyncio.sleep(0.1)


def slow_bodies(path: str, connections: int) -> Attack:
    """Bodies that arrive byte by byte."""

    async def attack(target: Target) -> None:
        length = {"content-length": str(SLOW_BODY_BYTES), "content-type": JSON}
        start = request_bytes("POST", path, {"x-api-key": target.key, **length})
        drip = partial(_hold, target, start, pause=DRIP_SECONDS)
        pieces = [itertools.repeat(b" ") for _ in range(connections)]
        await asyncio.gather(*(drip(pieces=piece) for piece in pieces))

    return attack


def held_bodies(path: str, connections: int, length: int = MAX_BODY_BYTES) -> Attack:
    """Large bodies of which the last byte never comes."""

    async def attack(target: Target) -> None:
        sizes = {"content-length": str(length), "content-type": JSON}
        start = request_bytes("POST", path, {"x-api-key": target.key, **sizes})
        block = b" " * 2**16
        count = (length - 1) // len(block)
        pieces = [itertools.repeat(block, count) for _ in range(connections)]
        await asyncio.gather(*(_hold(target, start, pieces=piece, pause=0.001) for piece in pieces))

    return attack


def endless_bodies(path: str, connections: int) -> Attack:
    """Bodies in chunks, without an end."""

    async def attack(target: Target) -> None:
        kind = {"transfer-encoding": "chunked", "content-type": JSON, "x-api-key": target.key}
        start = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n"
        start += "".join(f"{name}: {value}\r\n" for name, value in kind.items()) + "\r\n"
        chunk = b"%x\r\n%b\r\n" % (2**15, b" " * 2**15)
        drip = partial(_hold, target, start.encode(), pause=0.001)
        await asyncio.gather(*(drip(pieces=itertools.repeat(chunk)) for _ in range(connections)))

    return attack


def unfinished_heads(start: bytes, connections: int) -> Attack:
    """Heads of requests that never end; an empty one is a connection without a request."""

    async def attack(target: Target) -> None:
        pieces = [itertools.repeat(b"x-a: b\r\n" if start else b"") for _ in range(connections)]
        drip = partial(_hold, target, start, pause=DRIP_SECONDS)
        await asyncio.gather(*(drip(pieces=piece) for piece in pieces))

    return attack


async def generated(target: Target) -> None:
    """Poisoned, damaged and odd requests to all routes."""
    requests = (
        request_bytes(
            request.method,
            request.path,
            {**request.headers, "x-api-key": target.key},
            request.content,
        )
        for request in generated_requests(target.seed, target.requests)
    )
    # The number of requests ends it, not the time.
    await _repeat(replace(target, seconds=MAX_SECONDS), requests, callers=8)
