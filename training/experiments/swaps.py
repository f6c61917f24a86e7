"""Claim: while versions are promoted, every answer comes from exactly one version.

A server process under load from several connections; this process promotes versions in turn. Every
answer must equal, to the byte, the answer that the version it names gives when it serves alone.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Self

import httpx2
from fastapi.testclient import TestClient
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness

from eta.model.registry import Registry
from support.model_app import DAYS, KEY, application, save_model

WITH_KEY = {"X-API-Key": KEY}
REQUEST_BODY = {
    "carriers": [{"carrier_code": "post"}, {"carrier_code": "other"}],
    "origin_address": {"country": "AT", "state": "9"},
    "destination_address": {"country": "AT", "state": "8"},
    "order_time": "2026-05-20T11:30:00+02:00",
}


class Load:
    """Callers that ask again as soon as they are answered."""

    def __init__(self, address: str, expected: dict[str, str], callers: int) -> None:
        self.address, self.expected = address, expected
        self.answers: Counter[str] = Counter()
        self.mixed, self.failed = 0, 0
        self.waits: list[float] = []
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._send_requests) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send_requests(self) -> None:
        with httpx2.Client(base_url=self.address, headers=WITH_KEY, timeout=30) as client:
            while not self._is_over.is_set():
                started = perf_counter()
                try:
                    answered = client.post("/v1/estimates", json=REQUEST_BODY)
                except httpx2.HTTPError:
                    answered = None
                with self._lock:
                    self._record(answered, perf_counter() - started)

    def _record(self, answered: httpx2.Response | None, wait: float) -> None:
        if answered is None or answered.status_code != 200:
            self.failed += 1
            return
        version = answered.json()["model_version"]
        self.answers[version] += 1
        self.waits.append(wait)
        self.mixed += answered.text != self.expected.get(version)


def main() -> int:
    """Promotes under load and prints the verdict."""
    parser = harness.parser(__doc__)
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--callers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "models"
        versions = [save_model(folder, days=days) for days in (DAYS - 20, DAYS - 10, DAYS)]
        expected = alone(folder, versions)
        with serving(folder) as address, Load(address, expected, args.callers) as load:
            promotions, taken_up, is_last_served = promote(
                folder, versions, args.promotions, args.seconds, address
            )
    load.waits.sort()
    verdict = {
        "ok": load.failed == 0
        and load.mixed == 0
        and 2 * taken_up >= promotions == args.promotions
        and is_last_served
        and set(load.answers) == set(versions),
        "promotions": promotions,
        "taken_up": taken_up,
        "seconds": args.seconds,
        "answers": load.answers.total(),
        "by_version": dict(sorted(load.answers.items())),
        "failed": load.failed,
        "mixed": load.mixed,
        "p50_ms": round(1000 * load.waits[len(load.waits) // 2], 1),
        "p99_ms": round(1000 * load.waits[int(0.99 * len(load.waits))], 1),
        "max_ms": round(1000 * load.waits[-1], 1),
    }
    return harness.print_verdict("swaps", **verdict)


def alone(folder: Path, versions: list[str]) -> dict[str, str]:
    """What each version answers when it alone serves."""
    answers = {}
    for version in versions:
        Registry(folder).promote(version)
        with TestClient(application(folder)) as client:
            answers[version] = client.post(
                "/v1/estimates", json=REQUEST_BODY, headers=WITH_KEY
            ).text
    if len(set(answers.values())) != len(versions):
        raise RuntimeError("two versions answer alike: nothing would be proven")
    return answers


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server process over a registry; its address."""
    env = {"ETA_MODELS": str(folder), "ETA_API_KEYS": harness.api_keys(default=KEY)}
    with harness.running_server(env) as server:
        yield server.address


def promote(
    folder: Path, versions: list[str], count: int, seconds: float, address: str
) -> tuple[int, int, bool]:
    """Promotes evenly over the time given.

    Returns:
        How many promotions were made, how many the server took up before the next (it looks twice a
        second), and whether the last one serves in the end.
    """
    registry, started, taken_up = Registry(folder), perf_counter(), 0
    with httpx2.Client(base_url=address, timeout=30) as client:
        for number in track(range(count), "promotions"):
            version = versions[number % len(versions)]
            registry.promote(version)
            due = started + (number + 1) * seconds / count
            while perf_counter() < due - 0.1:
                sleep(max(min(0.5, due - 0.1 - perf_counter()), 0.0))
            taken_up += client.get("/readyz").json()["model_version"] == version
            sleep(max(due - perf_counter(), 0.0))
        sleep(2.0)
        return count, taken_up, client.get("/readyz").json()["model_version"] == version


if __name__ == "__main__":
    sys.exit(main())
