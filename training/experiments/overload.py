"""Claim: three times as many requests as the server can answer do not hurt those it answers.

Estimates, and scans that are recorded in SQLite. First several callers ask in turn, which shows the
peak; then requests are sent at fixed times, whether the server is quick or not, for half of the
peak, the peak, three times the peak, and the peak again. A wait counts from the moment at which the
request was due. In the overload:

* goodput is at least 90 % of the highest of the same run; afterwards, of that before
* the 99th percentile of the waits of those who are answered is at most twice that at half the peak
* the 99th percentile of the waits for a refusal is at most 20 ms, and each has `Retry-After`
* everyone gets an answer or a refusal

The generator has a core of its own, the server another one. If more than 1 % of the requests were
sent late, the run is void.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness
import uvloop
from load_client import (
    Answer,
    Caller,
    late_share,
    request_bytes,
    send_at_rate,
    send_in_turn,
)

from eta.api.openapi import ESTIMATE_REQUESTS, EVENT_REQUESTS
from support.model_app import KEY, save_medians, save_model

#: Callers that ask in turn to find the peak.
CALLERS = (2, 4, 8, 16, 32)
#: Each phase as a multiple of the peak.
PHASES = {"half": 0.5, "before": 1.0, "overload": 3.0, "after": 1.0}
#: Connections that are opened in advance.
CONNECTIONS = 64
MIN_GOODPUT, MAX_WAIT_RATIO, MAX_REFUSAL_MS, MAX_LATE = 0.9, 2.0, 20.0, 0.01
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Phase:
    """What came back in one phase."""

    offered: float
    goodput: float
    #: Answers for each second in which the server ran; other processes do not change it.
    goodput_per_cpu_second: float
    p50_ms: float
    p99_ms: float
    refused: int
    refusal_p99_ms: float
    without_retry_after: int
    #: Neither an answer nor a refusal, or another status.
    others: int
    late: float


def main() -> int:
    """Measures both kinds of requests and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--kinds", default=",".join(REQUESTS))
    parser.add_argument("--small", action="store_true", help="short, to try it out")
    parser.add_argument("--full", action="store_true", help="five minutes a phase")
    args = parser.parse_args()
    seconds = 4.0 if args.small else 300.0 if args.full else args.seconds
    started, prior_load = perf_counter(), os.getloadavg()[0]
    figures: dict[str, Any] = {}
    for kind in args.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            figures[kind] = _measure(kind, Path(folder), seconds)
    failures = {kind: _failures(of_kind) for kind, of_kind in figures.items()}
    ok = not any(failures.values())
    seconds = round(perf_counter() - started)
    return harness.print_verdict(
        "overload", ok=ok, failures=failures, prior_load=prior_load, **figures, seconds=seconds
    )


def estimates() -> Iterator[bytes]:
    """The same request for an estimate, for ever."""
    body = json.dumps(ESTIMATE_REQUESTS["one lane, two carriers"]).encode()
    return itertools.repeat(request_bytes("POST", "/v1/estimates", HEADERS, body))


def scans() -> Iterator[bytes]:
    """Requests with one scan each, no two alike."""
    event = {**next(iter(EVENT_REQUESTS.values()))["events"][0], "tracking_number": "N%09d"}
    body = json.dumps({"events": [event]}).encode()
    length = str(len(body % 0))
    template = request_bytes("POST", "/v1/events", {**HEADERS, "content-length": length}, body)
    return (template % number for number in itertools.count())


REQUESTS: Mapping[str, Callable[[], Iterator[bytes]]] = {"estimates": estimates, "scans": scans}


def _measure(kind: str, folder: Path, seconds: float) -> dict[str, Any]:
    """The peak, and each phase."""
    save_model(folder / "models")
    # With a fallback, estimates are made beside the event loop, with a time limit.
    save_medians(folder / "models")
    requests = REQUESTS[kind]()
    env = {
        "ETA_MODELS": str(folder / "models"),
        "ETA_DATABASE_URL": f"sqlite:{folder / 'eta.sqlite'}",
        "ETA_API_KEYS": harness.api_keys(default=KEY),
        "ETA_RATE_LIMIT": "1000000/second",
    }
    with (
        harness.running_server(env) as server,
        harness.cores_of_their_own(server.process.pid) as has_two_cores,
    ):
        peak = _peak(server, requests, min(seconds / 6, 5.0))
        harness.report_progress(f"{kind}: peak {peak:.0f} a second")
        phases = {}
        for name, multiple in PHASES.items():
            phases[name] = _phase(server, requests, multiple * peak, seconds)
            harness.report_progress(f"{kind}, {name}: {phases[name]}")
    highest = max(peak, *(phase.goodput for phase in phases.values()))
    named = {name: asdict(phase) for name, phase in phases.items()}
    return {"peak": highest, "has_two_cores": has_two_cores, **named}


def _peak(server: harness.Server, requests: Iterator[bytes], seconds: float) -> float:
    """Answers a second to the number of callers that get most."""
    found = []
    for callers in CALLERS:
        answers = uvloop.run(send_in_turn(server.port, requests, callers, seconds))
        found.append(sum(answer.status == 200 for answer in answers) / seconds)
    return max(found)


def _phase(server: harness.Server, requests: Iterator[bytes], rate: float, seconds: float) -> Phase:
    """What comes back at a rate."""

    async def send() -> tuple[list[Answer], float]:
        caller = Caller(server.port)
        await caller.open(CONNECTIONS)
        started = perf_counter()
        answers = await send_at_rate(caller, requests, rate, seconds)
        caller.close()
        return answers, started

    # A collection in the middle would make the generator late.
    gc.collect()
    gc.disable()
    cpu_before = _cpu_seconds(server.process.pid)
    answers, started = uvloop.run(send())
    cpu_seconds = _cpu_seconds(server.process.pid) - cpu_before
    gc.enable()
    good = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status in (429, 503)]
    # Work that is left over from the phase does not count as done in it.
    in_time = sum(answer.ended < started + seconds for answer in good)
    p50, p99 = _milliseconds(good, 0.5), _milliseconds(good, 0.99)
    return Phase(
        offered=round(rate, 1),
        goodput=round(in_time / seconds, 1),
        goodput_per_cpu_second=round(len(good) / max(cpu_seconds, 0.01), 1),
        p50_ms=p50,
        p99_ms=p99,
        refused=len(refused),
        refusal_p99_ms=_milliseconds(refused, 0.99),
        without_retry_after=sum(answer.retry_after is None for answer in refused),
        others=len(answers) - len(good) - len(refused),
        late=round(late_share(answers), 4),
    )


def _milliseconds(answers: list[Answer], level: float) -> float:
    waits = [answer.seconds for answer in answers]
    return round(1e3 * float(np.quantile(waits, level)), 2) if waits else 0.0


def _cpu_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _failures(figures: dict[str, Any]) -> list[str]:
    """What does not hold."""
    phases = {name: Phase(**figures[name]) for name in PHASES}
    overload, after, peak = phases["overload"], phases["after"], figures["peak"]
    checks = {
        "the generator and the server share a core": not figures["has_two_cores"],
        "the run is void: requests were sent late": any(
            phase.late > MAX_LATE for phase in phases.values()
        ),
        "goodput in the overload": overload.goodput < MIN_GOODPUT * peak,
        "goodput after the overload": after.goodput < MIN_GOODPUT * phases["before"].goodput,
        "waits in the overload": overload.p99_ms > MAX_WAIT_RATIO * phases["half"].p99_ms,
        "waits for refusals": overload.refusal_p99_ms > MAX_REFUSAL_MS,
        "refusals without Retry-After": any(p.without_retry_after for p in phases.values()),
        "requests without an answer": any(p.others for p in phases.values()),
    }
    return [what for what, fails in checks.items() if fails]


if __name__ == "__main__":
    sys.exit(main())
