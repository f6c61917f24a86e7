"""Writes of many callers: no tenant's batches delay or refuse those of another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, cast

import pytest

from eta.api import fair_writer
from eta.api.executors import WriteCompletions
from eta.api.fair_writer import FairWriter
from eta.api.problem_details import ProblemError
from eta.domain.access import Principal
from eta.domain.errors import StoreBusy
from eta.store.store import MAX_QUEUED_ITEMS, MAX_TRANSACTION_ITEMS, Store

ONE, TWO = Principal("a", name="one"), Principal("a", name="two")
OTHER = Principal("b", name="three")


class SlowStore:
    """Holds what it is handed until it is released."""

    def __init__(self) -> None:
        self.queue: list[tuple[Any, Future[Any]]] = []
        self.written: list[Any] = []

    def submit(self, _: Any, item: Any, *, weight: int = 1) -> Future[Any]:
        """Queues an item."""
        assert weight
        future: Future[Any] = Future()
        self.queue.append((item, future))
        return future

    def write_all(self) -> None:
        """Writes what is queued."""
        queued, self.queue = self.queue, []
        for item, future in queued:
            self.written.append(item)
            future.set_result(item)


def run(work: Callable[[FairWriter, SlowStore], Coroutine[Any, Any, Any]], **counts: int) -> Any:
    async def within() -> Any:
        store = SlowStore()
        writer = FairWriter(cast("Store", store), WriteCompletions(), lambda: counts)
        return await work(writer, store)

    return asyncio.run(asyncio.wait_for(within(), 20.0))


def start(writer: FairWriter, caller: Principal, item: str, weight: int) -> asyncio.Task[Any]:
    return asyncio.create_task(writer.write(caller, lambda *_: [], item, weight=weight))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_scan_is_written_after_one_batch_of_another_tenant() -> None:
    async def crowd(writer: FairWriter, store: SlowStore) -> list[str]:
        batches = [start(writer, ONE, f"batch {n}", MAX_TRANSACTION_ITEMS) for n in range(4)]
        await settle()
        scan = start(writer, OTHER, "scan", 1)
        sibling = start(writer, TWO, "sibling", 1)
        while not all(task.done() for task in (*batches, scan, sibling)):
            store.write_all()
            await settle()
        return store.written

    assert run(crowd, a=2, b=1)[:3] == ["batch 0", "batch 1", "scan"]


def test_small_writes_are_handed_over_together() -> None:
    async def crowd(writer: FairWriter, store: SlowStore) -> int:
        tasks = [start(writer, ONE, "scan", 1) for _ in range(900)]
        await settle()
        count = len(store.queue)
        store.write_all()
        await asyncio.gather(*tasks)
        return count

    assert run(crowd, a=1) == 900


def test_a_tenant_that_has_its_share_is_refused_and_others_are_not() -> None:
    async def crowd(writer: FairWriter, store: SlowStore) -> list[Any]:
        count = MAX_QUEUED_ITEMS // MAX_TRANSACTION_ITEMS
        batches = [start(writer, ONE, "batch", MAX_TRANSACTION_ITEMS) for _ in range(count)]
        scan = start(writer, OTHER, "scan", 1)
        while not all(task.done() for task in (*batches, scan)):
            await settle()
            store.write_all()
        return await asyncio.gather(scan, *batches, return_exceptions=True)

    scan, *batches = run(crowd, a=1, b=1)
    refused = [error for error in batches if isinstance(error, ProblemError)]
    assert scan == "scan"
    assert len(refused) == len(batches) // 2
    assert {error.status_code for error in refused} == {429}


def test_too_much_in_all_is_refused_as_busy() -> None:
    async def crowd(writer: FairWriter, store: SlowStore) -> None:
        full = start(writer, ONE, "all", MAX_QUEUED_ITEMS)
        await settle()
        with pytest.raises(StoreBusy):
            await writer.write(ONE, lambda *_: [], "more")
        store.write_all()
        await full

    run(crowd, a=1)


def test_a_caller_that_has_gone_blocks_nobody() -> None:
    async def leave(writer: FairWriter, store: SlowStore) -> list[str]:
        tasks = [start(writer, ONE, f"{n}", MAX_TRANSACTION_ITEMS) for n in range(4)]
        await settle()
        tasks[1].cancel()
        store.write_all()
        await settle()
        # The third has its turn, and goes as well.
        tasks[2].cancel()
        await settle()
        store.write_all()
        await settle()
        store.write_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.wait_for(asyncio.gather(self_written(writer, store)), 5.0)
        return store.written

    async def self_written(writer: FairWriter, store: SlowStore) -> bool:
        task = start(writer, ONE, "last", 1)
        await settle()
        store.write_all()
        return bool(await task)

    assert run(leave, a=1)[-2:] == ["3", "last"]


def test_an_error_of_the_store_reaches_its_caller_and_frees_the_room() -> None:
    async def fail(writer: FairWriter, store: SlowStore) -> Any:
        failing = start(writer, ONE, "bad", MAX_TRANSACTION_ITEMS)
        waiting = start(writer, ONE, "good", 1)
        await settle()
        store.queue.pop()[1].set_exception(KeyError("bad"))
        with pytest.raises(KeyError):
            await failing
        await settle()
        store.write_all()
        return await waiting

    assert run(fail, a=1) == "good"


def test_a_write_that_has_waited_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_writer, "MAX_QUEUE_SECONDS", 0.05)

    async def crowd(writer: FairWriter, store: SlowStore) -> list[object]:
        first = start(writer, ONE, "batch", MAX_TRANSACTION_ITEMS)
        late = start(writer, ONE, "late", 1)
        await asyncio.sleep(0.1)
        store.write_all()
        await settle()
        again = start(writer, ONE, "again", 1)
        await settle()
        store.write_all()
        return list(await asyncio.gather(first, late, again, return_exceptions=True))

    first, late, again = run(crowd, a=1)
    assert (first, again) == ("batch", "again")
    assert isinstance(late, StoreBusy)
