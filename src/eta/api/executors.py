"""Work outside the event loop: estimates in time, reads of the store, and completed writes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from eta.store.session import Session
from eta.store.store import Store

#: Seconds that a model may take for an estimate before the fallback answers: a customer waits.
ESTIMATE_TIMEOUT_SECONDS = 0.25
_READ_THREADS = 4
log = logging.getLogger(__name__)
T = TypeVar("T")


class TimedExecutor:
    """One thread, for which nobody waits longer than a time limit."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eta-estimate")
        self._turn = asyncio.Lock()
        #: The last job. If it is still running after its turn, it timed out.
        self._timed: Future[Any] | None = None

    async def run_with_timeout(
        self, seconds: float, work: Callable[[], T], fallback: Callable[[], T]
    ) -> T:
        """The result of ``work``, or of ``fallback`` if ``work`` takes longer than ``seconds``.

        Jobs run one after the other, and the time spent waiting for earlier jobs does not count. A
        job that timed out cannot be stopped: until it ends, every caller gets ``fallback`` at once.
        An error that ``work`` raises is raised to the caller.
        """
        async with self._turn:
            if self._timed and not self._timed.done():
                return fallback()
            self._timed = self._pool.submit(work)
            future = asyncio.wrap_future(self._timed)
            try:
                await asyncio.wait({future}, timeout=seconds)
            finally:
                # Has no effect on a job that is done.
                timed_out = future.cancel()
        return fallback() if timed_out else future.result()

    def close(self) -> None:
        """Waits for the running job, if any, and drops the waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class WriteCompletions:
    """Hands results of writes to the event loop, with one wake-up for a whole transaction."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wake_scheduled = False
        self._done: list[tuple[asyncio.Future[Any], Future[Any]]] = []

    async def result(self, future: Future[T]) -> T:
        """The result of a write, once it is durable."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def on_done(done: Future[T]) -> None:
            with self._lock:
                self._done.append((waiting, done))
                should_wake = not self._is_wake_scheduled
                self._is_wake_scheduled = True
            if should_wake:
                loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(on_done)
        return await waiting

    def _deliver(self) -> None:
        with self._lock:
            delivered, self._done = self._done, []
            self._is_wake_scheduled = False
        for waiting, done in delivered:
            if waiting.cancelled():
                continue
            if error := done.exception():
                waiting.set_exception(error)
            else:
                waiting.set_result(done.result())


class ReadPool:
    """Threads that read the store, so that the event loop does not wait for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(max_workers=_READ_THREADS, thread_name_prefix="eta-reader")

    async def query(self, operation: Callable[[Session], T]) -> T:
        """The result of a query on one snapshot."""
        return await self.run(lambda: self._store.read(operation))

    async def run(self, work: Callable[[], T]) -> T:
        """The result of work that reads the store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Waits for running reads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
