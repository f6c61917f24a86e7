"""`kill -9` of a server under load: what it acknowledged must be there, once."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Self

import harness
import httpx2
from rich.progress import track

from eta.service.tracking.shipment_states import compute_states
from eta.store.store import open_store
from support.model_app import KEY
from support.postgres import cluster

KILLS = {"sqlite": 100, "postgresql": 30}
CALLERS = 8
SHIPMENTS = 100
TENANT = "default"
CODES = (
    "accepted",
    "sorted",
    "arrived_at_facility",
    "departed_facility",
    "out_for_delivery",
    "info",
)


class Callers:
    """Callers that send events as fast as possible, some twice, and note acknowledgements."""

    def __init__(self, address: str, acknowledged: dict[str, str]) -> None:
        self._address, self._acknowledged = address, acknowledged
        self.in_flight, self.answers, self.wrong = 0, 0, 0
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._send_events, args=(number,)) for number in range(CALLERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send_events(self, seed: int) -> None:
        rng = random.Random(f"{seed} {perf_counter()}")  # noqa: S311  # no two cycles alike
        with httpx2.Client(
            base_url=self._address, headers={"X-API-Key": KEY}, timeout=10
        ) as client:
            before: list[dict[str, Any]] = []
            while not self._is_over.is_set():
                events = [_event(rng) for _ in range(rng.choice((1, 1, 1, 5, 20)))]
                events += [event for event in before if rng.random() < 0.2]
                with self._lock:
                    self.in_flight += 1
                try:
                    answered = client.post("/v1/events", json={"events": events})
                except httpx2.HTTPError:
                    # Killed: it counts as unacknowledged, whatever became of it.
                    return
                with self._lock:
                    self.in_flight -= 1
                    self.answers += 1
                    self._record(answered, events)
                before = events

    def _record(self, answered: httpx2.Response, events: list[dict[str, Any]]) -> None:
        if answered.status_code != 200:
            self.wrong += 1
            return
        for event, result in zip(events, answered.json()["results"], strict=True):
            content = f"{event['tracking_number']} {event['event_code']} {event['occurred_at']}"
            self.wrong += result["status"] not in ("stored", "duplicate")
            # The same scan has the same id, before and after any death.
            self.wrong += (
                self._acknowledged.setdefault(content, result["event_id"]) != result["event_id"]
            )


def _event(rng: random.Random) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(microseconds=rng.randrange(10**12))
    return {
        "carrier_code": "post",
        "tracking_number": f"{rng.randrange(SHIPMENTS):08d}",
        "event_code": rng.choice(CODES),
        "occurred_at": at.isoformat(),
    }


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Kills a server on each database."""
    on_sqlite = _kill(folder, f"sqlite:{folder / 'eta.sqlite'}", "sqlite", scale)
    with cluster() as url:
        on_postgres = _kill(folder, url, "postgresql", scale)
    both = (on_sqlite, on_postgres)
    return {
        "ok": all(
            figures["lost"]
            == figures["doubled"]
            == figures["wrong"]
            == figures["states_wrong"]
            == 0
            and figures["open"] >= 0.8 * figures["kills"]
            for figures in both
        ),
        "kills_sqlite": on_sqlite["kills"],
        "kills_postgresql": on_postgres["kills"],
        "kills_with_open_requests": sum(figures["open"] for figures in both),
        "acknowledged": sum(figures["acknowledged"] for figures in both),
        "lost": sum(figures["lost"] for figures in both),
        "doubled": sum(figures["doubled"] for figures in both),
        "kills_states_wrong": sum(figures["states_wrong"] for figures in both),
        "ready_after_kill_p50_s": [figures["ready_p50"] for figures in both],
    }


def _kill(folder: Path, url: str, kind: str, scale: float) -> dict[str, Any]:
    env = {
        "ETA_MODELS": str(folder / "models"),
        "ETA_DATABASE_URL": url,
        "ETA_API_KEYS": harness.api_keys(default=KEY),
        "ETA_RATE_LIMIT": "1000000/second",
    }
    acknowledged: dict[str, str] = {}
    kills, is_open, wrong, waits = max(int(KILLS[kind] * scale), 2), 0, 0, list[float]()
    rng = random.Random(kind)  # noqa: S311  # a seed is the point
    for number in track(range(kills), f"kills on {kind}"):
        server = harness.start_server(env)
        waits.append(server.start_seconds)
        if number == 0:
            _register(server.address)
        with Callers(server.address, acknowledged) as callers:
            sleep(rng.uniform(0.1, 0.9))
            server.process.kill()
            is_open += callers.in_flight > 0
            server.process.wait()
        wrong += callers.wrong
    recovered, doubled, states_wrong = _recovered(url)
    lost = len(set(acknowledged.values()) - recovered)
    waits.sort()
    figures = {
        "kills": kills,
        "open": is_open,
        "acknowledged": len(acknowledged),
        "lost": lost,
        "doubled": doubled,
        "wrong": wrong,
    }
    return {**figures, "states_wrong": states_wrong, "ready_p50": round(waits[len(waits) // 2], 2)}


def _register(address: str) -> None:
    place = {"country": "AT"}
    with httpx2.Client(base_url=address, headers={"X-API-Key": KEY}) as client:
        # Half of the numbers are of shipments that somebody registered.
        for number in range(0, SHIPMENTS, 2):
            shipment_body = {
                "carrier_code": "post",
                "tracking_number": f"{number:08d}",
                "origin_address": place,
                "destination_address": place,
            }
            client.post(
                "/v1/shipments", json={**shipment_body, "order_time": datetime.now(UTC).isoformat()}
            ).raise_for_status()


def _recovered(url: str) -> tuple[set[str], int, int]:
    """The stored events, the number of duplicates, and of states that differ from their events."""
    store = open_store(url, lambda: datetime.now(UTC))
    try:
        with store.snapshot() as session:
            events, shipments = session.all_events(TENANT), session.all_shipments(TENANT)
            contents = {
                (event.event_owner, event.event_code, event.occurred_at) for event in events
            }
            stored = {
                state.shipment_id: state._replace(as_of=0)
                for state in session.states(
                    TENANT, (shipment.shipment_id for shipment in shipments)
                )
            }
            recomputed = {
                state.shipment_id: state._replace(as_of=0)
                for state in compute_states(shipments, events, 2**62)
            }
            return (
                {event.event_id for event in events},
                len(events) - len(contents),
                sum(stored.get(name) != state for name, state in recomputed.items()),
            )
    finally:
        store.close()
