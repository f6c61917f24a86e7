"""Claim: whatever one caller sends, it hurts nobody else.

The server, an attacker with a key of its own and a caller of another tenant are three processes.
The caller asks for 20 estimates a second, whether the server is quick or not; first alone, then
during each attack. Of each attack this measures:

* the other caller: the 99th percentile of its waits for estimates, at most 250 ms, and unless the
  attack is a flood of what is allowed at most three times that of the quiet time before; its
  longest wait for `/livez`, at most 250 ms; and the share that is refused, at most 1 % of a kind
* memory: that of the server and its children, at most half more than after the quiet time, and at
  most 300 MB more
* the answers: no server error but 503 with `Retry-After`, no refusal of more than 64 KiB, no answer
  of more than 1 MiB and four times its request, and every scan that was acknowledged to the other
  caller is there after a restart

The last attack sends generated requests. At the end Schemathesis makes requests, good and bad, from
the contract.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness
import hostile_contract
import uvloop
from hostile_attacks import ATTACKS, FLOODS
from hostile_caller import RATES, Sample, call, lost
from hostile_target import Answers, Target
from server_memory import MemorySampler

from support.model_app import save_medians, save_model

CALLER_KEY, ATTACKER_KEY = "the key of the caller", "the key of the attacker"
#: Seconds after an attack in which the other caller's requests still count, and in which their
#: answers must come.
AFTERMATH_SECONDS, PATIENCE_SECONDS = 1.0, 2.0
#: Seconds after which estimates must be quick again, and for which they must be.
MAX_RECOVERY_SECONDS, SETTLED_SECONDS = 10.0, 1.0
#: Seconds until the other caller has started to call.
MAX_START_SECONDS = 60.0
#: Its first answers, which do not count.
WARM_UP_SAMPLES = 100
MAX_SLOW_DOWN, MAX_WAIT_MS = 3.0, 250.0
MAX_REFUSED_PERCENT = 1.0
MAX_GROWTH, MAX_GROWTH_MB = 1.5, 300.0
MAX_REFUSAL_KIB = 64.0
MAX_ANSWER_KIB = 1_024.0


@dataclass
class Impact:
    """What an attack did to the other caller and to the server's memory."""

    p50_ms: float
    p99_ms: float
    livez_ms: float
    #: The other caller's requests that were not answered with 200, of the kind with most of them.
    refused_percent: float
    #: Statuses of the other caller's answers, but for 200; 0 stands for none.
    refusals: dict[str, int]
    memory_mb: float
    recovery_seconds: float = 0.0
    refusal_kib: float = 0.0
    #: The largest answer of more than four times its request that is no refusal.
    answer_kib: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Watch:
    """The other caller's samples and the server's memory, and what they were in a time."""

    def __init__(self, pipe: Pipe, memory: MemorySampler) -> None:
        self._pipe, self._memory = pipe, memory
        self.samples: list[Sample] = []
        threading.Thread(target=self._collect, daemon=True).start()

    def await_start(self) -> None:
        """Waits until the other caller gets answers, and has got some."""
        until = perf_counter() + MAX_START_SECONDS
        while perf_counter() < until and len(self.samples) < WARM_UP_SAMPLES:
            sleep(0.1)

    def _collect(self) -> None:
        # At once, so that the caller never waits for a full pipe.
        with suppress(EOFError, OSError):
            while True:
                self.samples += self._pipe.recv()

    def during(self, start: float, end: float) -> Impact:
        """The impact in a time, once the answers to its requests have come."""
        while perf_counter() < end + PATIENCE_SECONDS:
            sleep(0.1)
        waits = {kind: self._waits(kind, start, end) for kind in RATES}
        p50, p99 = np.quantile(waits["estimate"], (0.5, 0.99))
        refused = max(self._refused_share(kind, start, end) for kind in RATES)
        return Impact(
            p50_ms=round(1e3 * float(p50), 1),
            p99_ms=round(1e3 * float(p99), 1),
            livez_ms=round(1e3 * max(waits["probe"]), 1),
            refused_percent=round(100 * refused, 1),
            refusals=Counter(
                f"{one.kind} {one.status}" for one in self._during(start, end) if one.status != 200
            ),
            memory_mb=round(self._memory.highest(start, end) / 1e6, 1),
        )

    def _waits(self, kind: str, start: float, end: float) -> list[float]:
        """The waits of a kind; who got no good answer has waited in vain."""
        found = [one for one in self._during(start, end) if one.kind == kind]
        waits = [one.seconds if one.status == 200 else PATIENCE_SECONDS for one in found]
        missing = int((end - start) * RATES[kind]) - 1 - len(waits)
        return [*waits, *[PATIENCE_SECONDS] * max(missing, 0)]

    def _refused_share(self, kind: str, start: float, end: float) -> float:
        waits = self._waits(kind, start, end)
        return sum(wait >= PATIENCE_SECONDS for wait in waits) / max(len(waits), 1)

    def _during(self, start: float, end: float) -> list[Sample]:
        return [one for one in self.samples if start <= one.due < end]

    def recovery(self) -> float:
        """Waits until estimates are quick again; returns how many seconds it took."""
        started = now = perf_counter()
        while now - started < MAX_RECOVERY_SECONDS + SETTLED_SECONDS:
            latest = self._waits("estimate", now - SETTLED_SECONDS, now)
            if max(latest, default=0.0) < MAX_WAIT_MS / 1e3:
                break
            sleep(0.1)
            now = perf_counter()
        return now - started


def main() -> int:
    """Runs all attacks and prints the verdict."""
    args = _arguments()
    started = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "models")
        save_medians(folder / "models")
        quiet, impacts, scans = _run_attacks(folder, args)
        # A new process reads what the one before has acknowledged.
        with harness.running_server(_environment(folder)) as server:
            lost_scans = uvloop.run(lost(server.port, scans))
        contract_cases = hostile_contract.run(folder / "models", args.contract)
    failures = {attack: _failures(attack, impact, quiet) for attack, impact in impacts.items()}
    failures = {attack: failed for attack, failed in failures.items() if failed}
    if lost_scans:
        failures["acknowledged"] = [f"{lost_scans} acknowledged scans are lost"]
    verdict = {
        "ok": not failures and len(scans) > 0,
        "quiet": asdict(quiet),
        **_worst(list(impacts.values())),
        "scans_acknowledged": len(scans),
        "scans_lost": lost_scans,
        "from_contract": contract_cases,
        "failures": failures,
        "seconds": round(perf_counter() - started),
    }
    return harness.print_verdict("hostile", **verdict)


def _arguments() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="which, comma-separated")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each attack")
    parser.add_argument("--quiet-seconds", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=10_000, help="that are generated")
    parser.add_argument("--seed", type=int, default=20260520)
    parser.add_argument(
        "--contract",
        type=int,
        default=20,
        help="requests an operation and kind that Schemathesis makes",
    )
    parser.add_argument("--small", action="store_true", help="short, to try it out")
    parser.add_argument("--full", action="store_true", help="long: half an hour and more")
    args = parser.parse_args()
    if args.small:
        args.seconds, args.quiet_seconds, args.requests, args.contract = 3.0, 5.0, 500, 0
    if args.full:
        args.seconds, args.requests, args.contract = 30.0, 100_000, 500
    return args


def _environment(folder: Path) -> dict[str, str]:
    return {
        "ETA_MODELS": str(folder / "models"),
        "ETA_DATABASE_URL": f"sqlite:{folder / 'eta.sqlite'}",
        "ETA_API_KEYS": harness.api_keys(caller=CALLER_KEY, attacker=ATTACKER_KEY),
        "ETA_SHARED_MODEL": "1",
    }


def _run_attacks(
    folder: Path, args: argparse.Namespace
) -> tuple[Impact, dict[str, Impact], list[bytes]]:
    """The quiet time, the impact of each attack, and the scans acknowledged to the caller."""
    with (
        harness.running_server(_environment(folder)) as server,
        harness.cores_of_their_own(server.process.pid),
        _process(call, server.port, CALLER_KEY) as caller,
        _process(attack_on_command, server.port, ATTACKER_KEY, args) as attacker,
        MemorySampler(server.process.pid) as memory,
    ):
        watch = Watch(caller, memory)
        watch.await_start()
        quiet = _quiet(watch, args.quiet_seconds)
        _print("quiet", quiet)
        impacts = {}
        for attack in args.attacks.split(","):
            impacts[attack] = _attacked(attack, attacker, watch)
            _print(attack, impacts[attack])
    scans = [sample.acknowledged for sample in watch.samples if sample.acknowledged]
    return quiet, impacts, scans


@contextmanager
def _process(target: Callable[..., None], *args: object) -> Iterator[Pipe]:
    """A process that gets the other end of a pipe as its last argument; killed at the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*args, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _quiet(watch: Watch, seconds: float) -> Impact:
    start = perf_counter()
    sleep(seconds)
    return watch.during(start, perf_counter())


def _attacked(attack: str, attacker: Pipe, watch: Watch) -> Impact:
    harness.report_progress(f"attack: {attack}")
    start = perf_counter()
    attacker.send(attack)
    answers: Answers = attacker.recv()
    sleep(AFTERMATH_SECONDS)
    impact = watch.during(start, perf_counter())
    impact.recovery_seconds = round(watch.recovery(), 1)
    impact.statuses = {str(status): count for status, count in sorted(answers.statuses.items())}
    impact.refusal_kib = round(answers.largest_refusal / 2**10, 1)
    impact.answer_kib = round(answers.largest_answer / 2**10, 1)
    impact.faults = answers.faults
    return impact


def attack_on_command(port: int, key: str, args: argparse.Namespace, pipe: Pipe) -> None:
    """Makes each attack that is named through the pipe, and reports its answers."""
    # The other caller, on the same core, goes first.
    os.nice(10)
    while True:
        target = Target(port, key, args.seconds, args.requests, args.seed)
        uvloop.run(ATTACKS[pipe.recv()](target))
        pipe.send(target.answers)


def _failures(attack: str, impact: Impact, quiet: Impact) -> list[str]:
    """What does not hold."""
    max_wait_ms = MAX_WAIT_MS
    if attack not in FLOODS:
        max_wait_ms = min(MAX_SLOW_DOWN * quiet.p99_ms, MAX_WAIT_MS)
    memory_limit = min(MAX_GROWTH * quiet.memory_mb, quiet.memory_mb + MAX_GROWTH_MB)
    limits = {
        "p99_ms": (impact.p99_ms, max_wait_ms),
        "livez_ms": (impact.livez_ms, MAX_WAIT_MS),
        "refused_percent": (impact.refused_percent, MAX_REFUSED_PERCENT),
        "recovery_seconds": (impact.recovery_seconds, MAX_RECOVERY_SECONDS),
        "memory_mb": (impact.memory_mb, memory_limit),
        "refusal_kib": (impact.refusal_kib, MAX_REFUSAL_KIB),
        "answer_kib": (impact.answer_kib, MAX_ANSWER_KIB),
    }
    failed = [
        f"{name} is {value:g}, more than {limit:g}"
        for name, (value, limit) in limits.items()
        if value > limit
    ]
    return failed + impact.faults


def _worst(impacts: list[Impact]) -> dict[str, float]:
    names = ("p99_ms", "livez_ms", "memory_mb", "refusal_kib", "answer_kib")
    worst = {f"worst_{name}": max(getattr(impact, name) for impact in impacts) for name in names}
    return {**worst, "requests": sum(sum(impact.statuses.values()) for impact in impacts)}


def _print(name: str, impact: Impact) -> None:
    harness.print_line(
        f"{name:26s} p50 {impact.p50_ms:7.1f}  p99 {impact.p99_ms:7.1f}"
        f"  livez {impact.livez_ms:7.1f} ms"
        f"  refused {impact.refused_percent:5.1f} %  {impact.memory_mb:6.0f} MB"
        f"  refusal {impact.refusal_kib:7.1f} KiB  answer {impact.answer_kib:6.1f} KiB"
        f"  {impact.statuses} {impact.faults[:1]} {dict(impact.refusals)}"
    )


if __name__ == "__main__":
    sys.exit(main())
