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
    """Full garbage collections wait for ``collect_garbage``."""
    thresholds = gc.get_threshold()
    # Objects created at start-up live for ever.
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


class QuickTurns:
    """Threads take turns quickly while a large batch is worked on, and only then.

    At other times it would cost a third of the events that can be recorded. Only the event loop may
    use it.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._normal_seconds = 0.0

    def begin(self) -> None:
        """A batch begins; ``end`` must follow."""
        if not self._batches:
            self._normal_seconds = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_SECONDS)
        self._batches += 1

    def end(self) -> None:
        """A batch has ended."""
        self._batches -= 1
        if not self._batches:
            sys.setswitchinterval(self._normal_seconds)


#: Those of this process, whose threads share one interpreter.
QUICK_TURNS = QuickTurns()


@contextmanager
def quick_turns() -> Iterator[None]:
    """The same within a block."""
    QUICK_TURNS.begin()
    try:
        yield
    finally:
        QUICK_TURNS.end()


async def collect_garbage(is_idle: Callable[[], bool]) -> None:
    """Collects all garbage while no request is in progress, or after a while; for ever."""
    loop = asyncio.get_running_loop()
    collected_at = loop.time()
    while True:
        await asyncio.sleep(COLLECT_SECONDS)
        if is_idle() or loop.time() - collected_at > MAX_UNCOLLECTED_SECONDS:
            gc.collect()
            collected_at = loop.time()
