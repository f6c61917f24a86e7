"""Keeps the interpreter from stopping estimates while another thread handles a large batch."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds after which a thread lets another one run that waits; by default it is ten times as long.
SWITCH_SECONDS = 0.0005

#: Seconds between two looks whether the service is idle, and at most between full collections.
COLLECT_SECONDS, MAX_UNCOLLECTED_SECONDS = 10.0, 600.0

#: A full collection looks at every object of the batches in progress, which takes up to half a
#: second: it does not start by itself.
_THRESHOLDS = (2_000, 10, 1_000_000)


@contextmanager
def short_pauses() -> Iterator[None]:
    """Threads take turns quickly, and full garbage collections wait for ``collect_garbage``."""
    thresholds, seconds = gc.get_threshold(), sys.getswitchinterval()
    # Objects created at start-up live for ever.
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(seconds)


async def collect_garbage(is_idle: Callable[[], bool]) -> None:
    """Collects all garbage while no request is in progress, or after a while; for ever."""
    loop = asyncio.get_running_loop()
    collected_at = loop.time()
    while True:
        await asyncio.sleep(COLLECT_SECONDS)
        if is_idle() or loop.time() - collected_at > MAX_UNCOLLECTED_SECONDS:
            gc.collect()
            collected_at = loop.time()
