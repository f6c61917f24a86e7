"""What runs beside the event loop: heavy batches behind a short queue, questions to the store, and its upkeep."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from eta.api.problem_details import ProblemError
from eta.store.session import Session
from eta.store.store import Store

#: Batches of up to so many parcels are answered at once; larger ones must not hold up a checkout.
INLINE_BATCH_SIZE = 20

#: Large batches that may wait.
MAX_QUEUED_BATCHES = 8

#: Seconds that a model may take over an estimate before the lane medians answer in its place:
#: somebody waits at a checkout.
ESTIMATE_TIMEOUT_SECONDS = 0.25
log = logging.getLogger(__name__)
T = TypeVar("T")


class BatchExecutor:
    """One thread, and how many wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eta-batch")
        self._waiting = 0
        self._turn = asyncio.Lock()
        #: The last work with a limit of time; not done although its turn is over, it was given up.
        self._timed: Future[Any] | None = None

    async def run(self, work: Callable[[], T], parcels: int) -> T:
        """The result of ``work``.

        Raises:
            Refused: 503 when too many large batches wait already.
        """
        if parcels <= INLINE_BATCH_SIZE:
            return work()
        if self._waiting > MAX_QUEUED_BATCHES:
            raise ProblemError(
                503,
                "too many large batches wait; try again, or send smaller ones",
                headers={"Retry-After": "5"},
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    async def run_with_timeout(
        self, seconds: float, work: Callable[[], T], fallback: Callable[[], T]
    ) -> T:
        """The result of ``work``, or that of ``fallback`` where it takes longer than ``seconds``.

        One work follows the other, and a wait for those before does not count. Nothing can stop
        work that was given up: until it has ended, whoever comes gets ``fallback`` at once. What
        ``work`` raises is raised, for a fault is no delay.
        """
        async with self._turn:
            if self._timed and not self._timed.done():
                return fallback()
            self._timed = self._pool.submit(work)
            future = asyncio.wrap_future(self._timed)
            try:
                await asyncio.wait({future}, timeout=seconds)
            finally:
                # What is done already stays as it is.
                timed_out = future.cancel()
        return fallback() if timed_out else future.result()

    def close(self) -> None:
        """Waits for the batch at work, if any; those that wait are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class WriteCompletions:
    """Brings what the store has written back to the event loop, with one wake-up for all that a transaction wrote."""

    def __init__(self) -> None:
        self._lock, self._is_wake_scheduled = threading.Lock(), False
        self._done: list[tuple[asyncio.Future[Any], Future[Any]]] = []

    async def result(self, future: Future[T]) -> T:
        """The result, once it is durable."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def on_done(done: Future[T]) -> None:
            with self._lock:
                self._done.append((waiting, done))
                should_wake, self._is_wake_scheduled = not self._is_wake_scheduled, True
            if should_wake:
                loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(on_done)
        return await waiting

    def _deliver(self) -> None:
        with self._lock:
            delivered, self._done, self._is_wake_scheduled = self._done, [], False
        for waiting, done in delivered:
            if waiting.cancelled():
                continue
            if error := done.exception():
                waiting.set_exception(error)
            else:
                waiting.set_result(done.result())


class ReadPool:
    """Threads that wait for the store, so that the event loop does not."""

    def __init__(self, store: Store) -> None:
        self._store, self._pool = (
            store,
            ThreadPoolExecutor(max_workers=4, thread_name_prefix="eta-reader"),
        )

    async def query(self, operation: Callable[[Session], T]) -> T:
        """The answer of one snapshot."""
        return await self.run(lambda: self._store.read(operation))

    async def run(self, work: Callable[[], T]) -> T:
        """The result of work that reads and then thinks about it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Waits for what is being read."""
        self._pool.shutdown(wait=True, cancel_futures=True)
