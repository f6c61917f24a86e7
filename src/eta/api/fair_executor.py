"""Work outside the event loop that callers share: one job at a time, tenants and keys in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, TypeVar

from eta.api.problem_details import ProblemError, capacity_problem
from eta.api.shares import SharedLimit, Shortage
from eta.api.short_pauses import QUICK_TURNS
from eta.api.turns import Turns
from eta.domain.access import Principal

#: How many jobs may wait or run, in shares of tenants and keys.
MAX_JOBS = 32

#: Seconds that a job may wait for its turn.
MAX_WAIT_SECONDS = 10.0
T = TypeVar("T")


@dataclass(frozen=True)
class _Job:
    work: Callable[[], Any]
    result: asyncio.Future[Any]
    #: When it is refused if it still waits, by the time of the event loop.
    deadline: float


class FairExecutor:
    """One thread. The tenants that wait take turns, and so do the keys of each."""

    def __init__(self, name: str, key_counts: Callable[[], Mapping[str, int]]) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._jobs = SharedLimit(MAX_JOBS, key_counts)
        self._waiting: Turns[_Job] = Turns()
        self._is_running = False

    async def run(self, principal: Principal, work: Callable[[], T]) -> T:
        """The result of ``work``.

        Raises:
            ProblemError: 503 if too many jobs wait, or for too long, 429 if too many of the caller.
        """
        if shortage := self._jobs.take(principal, 1):
            raise _refusal(shortage)
        try:
            return await self._run(principal, work, MAX_WAIT_SECONDS)
        finally:
            self._jobs.give_back(principal, 1)

    async def finish(self, principal: Principal, work: Callable[[], T]) -> T:
        """The same for the rest of a request that must be answered, so it is never refused."""
        return await self._run(principal, work, inf)

    async def _run(self, principal: Principal, work: Callable[[], T], max_wait: float) -> T:
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop.time() + max_wait)
        self._waiting.add(principal, job)
        self._start_next()
        result: T = await job.result
        return result

    def _start_next(self) -> None:
        """Starts the next job whose caller still waits, unless one is running."""
        while not self._is_running and self._waiting:
            job, loop = self._waiting.next(), asyncio.get_running_loop()
            if job.result.done():
                continue
            if loop.time() > job.deadline:
                job.result.set_exception(_refusal(Shortage.TOTAL))
            else:
                self._is_running = True
                QUICK_TURNS.begin()
                running = loop.run_in_executor(self._pool, job.work)
                running.add_done_callback(partial(self._end, job))

    def _end(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._is_running = False
        QUICK_TURNS.end()
        if done.cancelled():
            job.result.cancel()
            return
        error = done.exception()
        if not job.result.done():
            if error:
                job.result.set_exception(error)
            else:
                job.result.set_result(done.result())
        self._start_next()

    def close(self) -> None:
        """Waits for the running job, if any, and drops the waiting ones."""
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _refusal(shortage: Shortage) -> ProblemError:
    if shortage is Shortage.SHARE:
        status, whose = 429, " of your key"
    else:
        status, whose = 503, ""
    detail = f"too many large batches{whose} are waiting; try again, or send smaller batches"
    return capacity_problem(status, detail)
