"""Latency of estimates under load, sent at fixed times by another process.

First as many as the server can answer, then half as many a second, evenly spread. Each wait counts
from the moment at which the request was due (an open loop: who is slow must not slow those who
ask).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

import harness
import numpy as np

#: Connections of the client, and seconds of each part.
CONNECTIONS, SATURATION_SECONDS, LOAD_SECONDS = 16, 5.0, 20.0


def under_load(models: Path, body: bytes) -> dict[str, float]:
    """Estimates a second at saturation, and the waits at half of it."""
    # In the manner of the demo: nothing is stored, and no key is needed.
    env = {
        "ETA_MODELS": str(models),
        "ETA_DATABASE_URL": "memory:",
        "ETA_DEMO": "1",
        "ETA_RATE_LIMIT": "1000000/second",
    }
    with harness.running_server(env) as server:
        port = server.port
        asyncio.run(_saturate(port, body, 2.0))
        saturation = asyncio.run(_saturate(port, body, SATURATION_SECONDS))
        waits = asyncio.run(_on_time(port, body, saturation / 2.0, LOAD_SECONDS))
    median, slow = np.quantile(waits, (0.5, 0.99))
    return {
        "estimates_a_second": saturation,
        "load_p50_ms": 1e3 * median,
        "load_p99_ms": 1e3 * slow,
        "load_p99_to_p50": slow / median,
    }


class _Connection:
    """One open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def request(self, body: bytes) -> None:
        """Sends an estimate and takes the answer in."""
        head = (
            "POST /v1/estimates HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        head_lines = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head_lines.partition(b"\r\n")[0]:
            raise RuntimeError(head_lines.decode())
        await self._reader.readexactly(
            int(head_lines.split(b"content-length: ")[1].partition(b"\r\n")[0])
        )


async def _connections(port: int, count: int) -> list[_Connection]:
    return [_Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]


async def _saturate(port: int, body: bytes, seconds: float) -> float:
    """Answers a second to several callers, each sending as soon as it has an answer."""
    until, done = perf_counter() + seconds, 0

    async def again(connection: _Connection) -> None:
        nonlocal done
        while perf_counter() < until:
            await connection.request(body)
            done += 1

    started = perf_counter()
    await asyncio.gather(*(again(connection) for connection in await _connections(port, 4)))
    return done / (perf_counter() - started)


async def _on_time(port: int, body: bytes, rate: float, seconds: float) -> list[float]:
    """Waits in seconds, each from when its request was due."""
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for connection in await _connections(port, CONNECTIONS):
        free.put_nowait(connection)
    waits: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        await connection.request(body)
        waits.append(perf_counter() - due)
        free.put_nowait(connection)

    started, tasks = perf_counter(), []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        if (early := due - perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return waits
