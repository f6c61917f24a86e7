"""Work outside the event loop: estimates in time, reads of the store, and completed writes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from eta.api.problem_details import capacity_problem
from eta.store.session import Session
from eta.store.store import Store

#: Seconds that a read may wait for a thread.
MAX_READ_WAIT_SECONDS = 2.0

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
            self._timed = job = self._pool.submit(work)
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(seconds, _wake, ended)
            # Fewer passes of the event loop than with a future for the job.
            job.add_done_callback(partial(_wake_from_thread, loop, ended))
            try:
                await ended
            finally:
                timer.cancel()
        return job.result() if job.done() else fallback()

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
        """The result of work that reads the store.

        Raises:
            ProblemError: 503 if it had to wait too long for a thread.
        """
        deadline = monotonic() + MAX_READ_WAIT_SECONDS

        def run() -> T:
            if monotonic() > deadline:
                raise capacity_problem(503, "too many reads are waiting; try again")
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """Waits for running reads."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _wake_from_thread(
    loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None], _: Future[Any]
) -> None:
    # The loop may have been closed while a job ran that timed out.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_wake, waiting)
