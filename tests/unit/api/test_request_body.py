"""Bodies on their way: slow, large and many ones of one caller leave room for others."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from eta.api import admission, request_body
from eta.api.app import create_app
from eta.api.openapi import SCORE_REQUESTS
from eta.api.request_body import MAX_BODY_BYTES
from eta.domain.access import Principal
from eta.settings import Settings
from support.store import Clock

ATTACKER, SIBLING, VICTIM = "one key", "another key of the same tenant", "another tenant's key"
PRINCIPALS = {
    ATTACKER: Principal("attacker", name="one"),
    SIBLING: Principal("attacker", name="two"),
    VICTIM: Principal("victim", name="three"),
}
BODY = json.dumps(SCORE_REQUESTS["one in transit, one invalid"]).encode()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Iterator[FastAPI]:
    """The started application with three keys of two tenants."""
    keys = {hashlib.sha256(key.encode()).hexdigest(): PRINCIPALS[key] for key in PRINCIPALS}
    app = create_app(Settings(models=tmp_path, api_keys=keys), clock=clock)
    with TestClient(app):
        yield app


class Call:
    """One request whose body is fed in parts; it waits for the next part until ``end``."""

    def __init__(self, key: str, path: str = "/v1/score", length: int | None = None) -> None:
        self.status, self.headers, self.body, self.parts_read = 0, {}, b"", 0  # type: ignore[var-annotated]
        self.parts: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        headers = {"content-type": "application/json", "x-api-key": key}
        if length is not None:
            headers["content-length"] = str(length)
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("10.0.0.9", 1),
            "server": ("10.0.0.1", 80),
        }

    def feed(self, part: bytes, *, is_last: bool = False) -> Call:
        """Adds a part of the body."""
        self.parts.put_nowait({"type": "http.request", "body": part, "more_body": not is_last})
        return self

    async def run(self, app: FastAPI) -> Call:
        """Sends the request; returns once it is answered."""

        async def receive() -> MutableMapping[str, Any]:
            self.parts_read += 1
            return await self.parts.get()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.body += message.get("body", b"")

        await app(self.scope, receive, send)
        return self


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20.0))


async def start(app: FastAPI, calls: list[Call]) -> list[asyncio.Task[Call]]:
    """Starts calls, and lets each come as far as it gets."""
    tasks = [asyncio.create_task(call.run(app)) for call in calls]
    for _ in range(50):
        await asyncio.sleep(0)
    return tasks


async def cancel(tasks: list[asyncio.Task[Call]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("key", [SIBLING, VICTIM])
def test_slow_bodies_of_a_key_hold_no_slot_of_another(app: FastAPI, key: str) -> None:
    async def attack() -> Call:
        slow = await start(app, [Call(ATTACKER).feed(BODY[:10]) for _ in range(200)])
        answered = await Call(key).feed(BODY, is_last=True).run(app)
        await cancel(slow)
        return answered

    assert run(attack()).status == 200


def test_a_key_has_its_share_of_bodies_on_their_way(app: FastAPI) -> None:
    app.state.resources.admission.bodies.total = 8

    async def attack() -> tuple[list[Call], Call]:
        calls = [Call(ATTACKER).feed(b"{") for _ in range(20)]
        slow = await start(app, calls)
        answered = await Call(VICTIM).feed(BODY, is_last=True).run(app)
        await cancel(slow)
        return calls, answered

    calls, answered = run(attack())
    refused = [call for call in calls if call.status]
    assert answered.status == 200
    assert len(refused) == 18
    assert {call.status for call in refused} == {429}
    assert all(call.headers["retry-after"] in "12345" and call.parts_read == 0 for call in refused)


def test_large_bodies_are_refused_unread_beyond_the_bytes_of_a_key(app: FastAPI) -> None:
    async def attack() -> tuple[list[Call], Call]:
        calls = [Call(ATTACKER, length=MAX_BODY_BYTES) for _ in range(100)]
        slow = await start(app, calls)
        answered = await Call(VICTIM, length=len(BODY)).feed(BODY, is_last=True).run(app)
        await cancel(slow)
        return calls, answered

    calls, answered = run(attack())
    admitted = [call for call in calls if not call.status]
    assert answered.status == 200
    assert len(admitted) * MAX_BODY_BYTES <= admission.MAX_BODY_BYTES_IN_FLIGHT // 4
    assert all(call.status in (0, 429) for call in calls)
    assert all(call.parts_read == 0 for call in calls if call.status)
    assert app.state.resources.admission.bytes.held == 0


def test_bodies_without_a_length_are_cut_off_beyond_the_bytes_of_a_key(app: FastAPI) -> None:
    app.state.resources.admission.bytes.total = 4_000

    async def attack() -> tuple[list[Call], Call]:
        first = Call(ATTACKER).feed(b" " * 900)
        slow = await start(app, [first])
        second = await Call(ATTACKER).feed(b" " * 400).feed(b" ", is_last=True).run(app)
        answered = await Call(VICTIM).feed(BODY, is_last=True).run(app)
        await cancel(slow)
        return [first, second], answered

    (first, second), answered = run(attack())
    assert (first.status, second.status, answered.status) == (0, 429, 200)
    assert app.state.resources.admission.bytes.held == 0


def test_a_body_that_arrives_too_slowly_is_cut_off(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_GRACE_SECONDS", 0.1)

    async def attack() -> Call:
        call = Call(ATTACKER, length=len(BODY))
        task = asyncio.create_task(call.run(app))
        for byte in BODY:
            call.feed(bytes([byte]))
            await asyncio.sleep(0.01)
            if task.done():
                break
        return await task

    call = run(attack())
    assert (call.status, call.headers["connection"]) == (408, "close")
    assert call.parts_read < 50


def test_a_large_body_may_take_longer_than_a_small_one(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_GRACE_SECONDS", 0.1)

    async def send() -> Call:
        call = Call(ATTACKER)
        task = asyncio.create_task(call.run(app))
        for _ in range(6):
            call.feed(b" " * request_body.MIN_BODY_RATE)
            await asyncio.sleep(0.05)
        call.feed(BODY, is_last=True)
        return await task

    assert run(send()).status == 200


def test_no_body_takes_longer_than_the_time_limit(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_TIMEOUT_SECONDS", 0.2)

    async def send() -> Call:
        call = Call(ATTACKER)
        task = asyncio.create_task(call.run(app))
        while not task.done():
            call.feed(b" " * request_body.MIN_BODY_RATE)
            await asyncio.sleep(0.02)
        return await task

    assert run(send()).status == 408
