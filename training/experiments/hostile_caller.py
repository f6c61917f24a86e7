"""The other caller: 20 estimates a second and some of all else, whatever the attacker does.

It runs in a process of its own. Requests are sent when they are due, and each wait counts
from then.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from time import perf_counter

import uvloop
from load_client import Answer, Caller, Connection, connect, request_bytes

from eta.api.openapi import ESTIMATE_REQUESTS, EVENT_REQUESTS, SCORE_REQUESTS

#: Requests a second of each kind.
RATES = {"estimate": 20.0, "probe": 10.0, "scan": 2.0, "score": 2.0, "read": 2.0}
#: Seconds between two reports to the process that started this one.
REPORT_SECONDS = 0.25
ESTIMATE = next(iter(ESTIMATE_REQUESTS.values()))
SCORE = next(iter(SCORE_REQUESTS.values()))
SCAN = next(iter(EVENT_REQUESTS.values()))["events"][0]


@dataclass(frozen=True)
class Sample:
    """The wait for one answer, in seconds from ``due``, a moment of ``perf_counter``."""

    kind: str
    due: float
    seconds: float
    status: int
    #: The bytes of a scan that was acknowledged.
    acknowledged: bytes = b""


def call(port: int, key: str, pipe: Pipe) -> None:
    """Calls until the process is killed, and reports samples through the pipe."""
    uvloop.run(_call(port, {"x-api-key": key, "content-type": "application/json"}, pipe))


async def _call(port: int, headers: dict[str, str], pipe: Pipe) -> None:
    samples: list[Sample] = []
    requests = {
        "estimate": itertools.repeat(_post("/v1/estimates", headers, ESTIMATE)),
        "probe": itertools.repeat(request_bytes("GET", "/livez")),
        "scan": scans(headers),
        "score": itertools.repeat(_post("/v1/score", headers, SCORE)),
        "read": itertools.repeat(request_bytes("GET", "/v1/shipments?limit=10", headers)),
    }
    await asyncio.gather(
        *(_send(port, kind, requests[kind], RATES[kind], samples) for kind in requests),
        _report(samples, pipe),
    )


def _post(path: str, headers: dict[str, str], body: object) -> bytes:
    return request_bytes("POST", path, headers, json.dumps(body).encode())


async def _report(samples: list[Sample], pipe: Pipe) -> None:
    """Hands on the samples, again and again."""
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        pipe.send(samples)
        samples.clear()


def scans(headers: dict[str, str]) -> Iterator[bytes]:
    """Requests with one scan each, no two alike."""
    for number in itertools.count():
        event = {**SCAN, "tracking_number": f"VICTIM{number}"}
        yield _post("/v1/events", headers, {"events": [event]})


async def _send(
    port: int, kind: str, requests: Iterator[bytes], rate: float, samples: list[Sample]
) -> None:
    """Sends requests evenly, for ever."""
    caller = Caller(port)
    started = perf_counter()
    for number, request in enumerate(requests):
        due = started + number / rate
        await asyncio.sleep(due - perf_counter())
        caller.send(request, due)
        samples += [_sample(kind, answer) for answer in caller.take()]


def _sample(kind: str, answer: Answer) -> Sample:
    acknowledged = answer.request if kind == "scan" and answer.status == 200 else b""
    return Sample(kind, answer.due, answer.seconds, answer.status, acknowledged)


async def lost(port: int, acknowledged: list[bytes]) -> int:
    """How many acknowledged scans are not there: sent again, each must be a duplicate."""
    connection: Connection = await connect(port, keeps_body=True)
    missing = 0
    for request in acknowledged:
        answer = await connection.fetch(request)
        missing += b'"status":"duplicate"' not in answer.body
    connection.close()
    return missing
