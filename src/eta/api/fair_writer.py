"""Writes to the store that callers share: those that wait take turns before they are queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from eta.api.executors import WriteCompletions
from eta.api.problem_details import capacity_problem
from eta.api.shares import SharedLimit, Shortage
from eta.api.short_pauses import quick_turns
from eta.api.turns import Turns
from eta.domain.access import Principal
from eta.domain.errors import StoreBusy
from eta.store.store import MAX_QUEUE_SECONDS, MAX_QUEUED_ITEMS, MAX_TRANSACTION_ITEMS, Store, Work

#: Writes of so many items keep the interpreter busy for long.
LARGE_WRITE = 200


@dataclass(frozen=True)
class _Waiting:
    """A write whose turn has not come."""

    weight: int
    turn: asyncio.Future[None]
    #: When it is refused if it still waits, by the time of the event loop.
    deadline: float


class FairWriter:
    """Hands the store no more than one transaction at a time, and the rest in turn.

    The store writes in the order in which it receives: what waits there delays everybody.
    """

    def __init__(
        self,
        store: Store,
        completions: WriteCompletions,
        key_counts: Callable[[], Mapping[str, int]],
    ) -> None:
        self._store, self._completions = store, completions
        self._items = SharedLimit(MAX_QUEUED_ITEMS, key_counts)
        self._waiting: Turns[_Waiting] = Turns()
        #: The items in the store's queue, or being written.
        self._in_store = 0

    async def write(
        self, principal: Principal, work: Work[Any, Any], item: object, *, weight: int = 1
    ) -> Any:
        """The result of ``work`` on ``item``, once it is durable; ``weight`` counts its items.

        Raises:
            StoreBusy: if too many items wait, or for too long.
            ProblemError: 429 if too many items of the caller wait.
        """
        if shortage := self._items.take(principal, weight):
            raise _refusal(shortage)
        try:
            await self._take_turn(principal, weight)
            try:
                with quick_turns() if weight >= LARGE_WRITE else nullcontext():
                    future = self._store.submit(work, item, weight=weight)
                    return await self._completions.result(future)
            finally:
                self._end(weight)
        finally:
            self._items.give_back(principal, weight)

    async def _take_turn(self, principal: Principal, weight: int) -> None:
        """Waits until the store has room; ``_end`` must follow."""
        if not self._waiting and self._has_room:
            self._in_store += weight
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(weight, loop.create_future(), loop.time() + MAX_QUEUE_SECONDS)
        self._waiting.add(principal, waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if not waiting.turn.cancelled():
                self._end(weight)
            raise

    @property
    def _has_room(self) -> bool:
        """Whether the store has not been handed a whole transaction."""
        return self._in_store < MAX_TRANSACTION_ITEMS

    def _end(self, weight: int) -> None:
        """Frees the room of a write, and gives their turn to those that wait."""
        self._in_store -= weight
        while self._waiting and self._has_room:
            waiting = self._waiting.next()
            # A caller that has gone is passed over.
            if waiting.turn.done():
                continue
            if asyncio.get_running_loop().time() > waiting.deadline:
                waiting.turn.set_exception(StoreBusy())
            else:
                self._in_store += waiting.weight
                waiting.turn.set_result(None)


def _refusal(shortage: Shortage) -> Exception:
    if shortage is Shortage.TOTAL:
        return StoreBusy()
    detail = "too many writes of your key are waiting; nothing of this request was recorded"
    return capacity_problem(429, f"{detail}; try again")
