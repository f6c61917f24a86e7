"""PostgreSQL is cut off at COMMIT: every write is recorded once, and its caller is answered."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from rich.progress import track

from eta.domain.errors import StoreUnavailable, WriteUnconfirmed
from eta.domain.registration import Registration
from eta.domain.vocabulary import EventCode
from eta.service.estimates.estimate_delivery import SaveEstimate, save_estimates
from eta.service.tracking.record_events import RecordEvents, RecordingStatus, record_events
from eta.service.tracking.register_shipments import (
    RegisterShipment,
    UpdateShipment,
    register_shipments,
    update_shipments,
)
from eta.store.session import Session
from eta.store.store import SqlStore, open_store
from support.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from support.postgres import cluster
from support.store import NOW, TENANT, registration, scan

CUTS = 200
CALLERS = 8
#: Longest time that the server has after a COMMIT was forwarded.
MAX_DELAY_SECONDS = 0.03
KINDS = ("shipment", "estimate", "event", "update")


class Ledger:
    """What callers asked for, by its kind and a number of its own, and the answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self.acknowledged: dict[str, set[int]] = {kind: set() for kind in KINDS}
        self.unconfirmed: dict[str, set[int]] = {kind: set() for kind in KINDS}
        #: Answers that are wrong, such as "duplicate" for an event that was sent once.
        self.wrong = Counter[str]()

    def next_number(self) -> int:
        """Returns a number that was not given out before."""
        with self._lock:
            self._last += 1
            return self._last

    def add(self, kind: str, number: int, write: Callable[[int], bool]) -> None:
        """Writes once, as a caller without an idempotency key does, and notes the answer."""
        try:
            is_right = write(number)
        except WriteUnconfirmed:
            self.unconfirmed[kind].add(number)
        except StoreUnavailable:
            return
        else:
            self.acknowledged[kind].add(number)
            self.wrong[kind] += not is_right


class Callers:
    """Callers that write as fast as they are answered."""

    def __init__(self, store: SqlStore, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._is_over = threading.Event()
        # Each caller updates a shipment of its own.
        self._own = threading.local()
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]

    def start(self) -> None:
        """Begins to write."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits for the writes that have begun."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  # a seed is the point
        writes = (self._register, self._save, self._record, self._update)
        write_of = dict(zip(KINDS, writes, strict=True))
        self._own.shipment_id = self._create(registration(10**7 + seed, order_id="updated"))
        while not self._is_over.is_set():
            kind = rng.choice(KINDS)
            self._ledger.add(kind, self._ledger.next_number(), write_of[kind])

    def _create(self, registration_: Registration) -> str:
        command = RegisterShipment(TENANT, registration_)
        return self._store.write(register_shipments, command).shipment_id

    def _register(self, number: int) -> bool:
        """Registers a shipment without any id by which a repetition would be recognized."""
        anonymous = replace(registration(number), external_id=None, tracking_number=None)
        command = RegisterShipment(TENANT, anonymous)
        return self._store.write(register_shipments, command).created

    def _save(self, number: int) -> bool:
        save = SaveEstimate(TENANT, NOW, None, json.dumps({"number": number}))
        return bool(self._store.write(save_estimates, save))

    def _record(self, number: int) -> bool:
        report = scan(number, EventCode.SORTED)
        [outcome] = self._store.write(record_events, RecordEvents(TENANT, [report]))
        return getattr(outcome, "status", None) is RecordingStatus.STORED

    def _update(self, number: int) -> bool:
        command = UpdateShipment(TENANT, self._own.shipment_id, {"price": float(number)})
        return bool(self._store.write(update_shipments, command).shipment_id)


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Cuts the connection at COMMIT at random moments while callers write."""
    del folder
    cuts = max(int(CUTS * scale), 5)
    with cluster() as url, cutting_proxy(url) as (proxy, proxied_url):
        store, ledger = open_store(proxied_url, lambda: datetime.now(UTC)), Ledger()
        callers = Callers(store, ledger)
        callers.start()
        _cut(proxy, cuts)
        callers.stop()
        store.close()
        recorded = _recorded(url)
    acknowledged = sum(map(len, ledger.acknowledged.values()))
    lost = sum(len(ledger.acknowledged[kind] - set(numbers)) for kind, numbers in recorded.items())
    doubled = sum(numbers.total() - len(numbers) for numbers in recorded.values())
    not_acknowledged = sum(
        len(set(numbers) - ledger.acknowledged[kind] - ledger.unconfirmed[kind])
        for kind, numbers in recorded.items()
    )
    wrong = ledger.wrong.total() + not_acknowledged
    is_ok = lost == doubled == wrong == 0 < acknowledged and proxy.made.count(Cut.AFTER) >= cuts
    return {
        "ok": is_ok,
        "commit_cuts": len(proxy.made),
        "commit_cuts_after_forwarding": proxy.made.count(Cut.AFTER),
        "commit_acknowledged": acknowledged,
        "commit_unconfirmed": sum(map(len, ledger.unconfirmed.values())),
        "commit_lost": lost,
        "commit_doubled": doubled,
        "commit_answered_wrongly": wrong,
    }


def _cut(proxy: CuttingProxy, cuts: int) -> None:
    """Cuts so often after COMMIT was forwarded, when nobody knows, and sometimes before."""
    rng = random.Random(18)  # noqa: S311  # a seed is the point
    kinds = [Cut.AFTER] * cuts + [Cut.BEFORE, Cut.WITHIN] * (cuts // 8)
    rng.shuffle(kinds)
    for cut in track(kinds, "cuts at COMMIT"):
        sleep(rng.uniform(0, 0.2))
        proxy.arm(cut, rng.uniform(0, MAX_DELAY_SECONDS))
        deadline = monotonic() + 30
        while proxy.is_armed() and monotonic() < deadline:
            sleep(0.002)


def _recorded(url: str) -> dict[str, Counter[int]]:
    """How often each write is recorded, by its kind and number."""
    store = open_store(url, lambda: datetime.now(UTC))
    try:
        return store.read(_count)
    finally:
        store.close()


def _count(session: Session) -> dict[str, Counter[int]]:
    shipments = session.all_shipments(TENANT)
    orders = [json.loads(row.attributes)["order_id"] for row in shipments]
    estimates = session._connection.execute("SELECT response FROM estimates")  # noqa: SLF001  # all of them
    events = [event for event in session.all_events(TENANT) if event.event_code == "sorted"]
    versions = session.versions(TENANT, (row.shipment_id for row in shipments))
    prices = [json.loads(version.attributes).get("price") for version in versions]
    return {
        "shipment": Counter(int(order[2:]) for order in orders if order != "updated"),
        "estimate": Counter(json.loads(response)["number"] for (response,) in estimates),
        "event": Counter(int(event.event_owner.partition("|")[0]) for event in events),
        "update": Counter(int(price) for price in prices if price),
    }
