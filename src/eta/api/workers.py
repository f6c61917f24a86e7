"""Where heavy batches are worked off: one thread beside the event loop, behind a short queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from eta.api.problems import Refused

#: Batches of up to so many parcels are answered at once; larger ones must not hold up a checkout.
SMALL = 20
#: Large batches that may wait.
LONGEST_QUEUE = 8

T = TypeVar("T")


class Workers:
    """One thread, and how many wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eta-batch")
        self._waiting = 0

    async def run(self, work: Callable[[], T], parcels: int) -> T:
        """The result of ``work``.

        Raises:
            Refused: 503 when too many large batches wait already.
        """
        if parcels <= SMALL:
            return work()
        if self._waiting > LONGEST_QUEUE:
            raise Refused(503, "too many large batches wait; try again, or send smaller ones", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Waits for the batch at work, if any; those that wait are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
