"""Items that wait for their turn: tenants take turns, and so do the keys of each."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from eta.domain.access import Principal

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue that no caller fills for others; the items of one key stay in order."""

    def __init__(self) -> None:
        #: The items by tenant and key; whose turn it is comes first.
        self._waiting: dict[str, dict[str, deque[T]]] = {}

    def __bool__(self) -> bool:
        """Whether items wait."""
        return bool(self._waiting)

    def add(self, principal: Principal, item: T) -> None:
        """Adds an item of a caller."""
        keys = self._waiting.setdefault(principal.tenant, {})
        keys.setdefault(principal.name, deque()).append(item)

    def next(self) -> T:
        """Removes the item whose turn it is, and returns it.

        Raises:
            StopIteration: if none waits.
        """
        tenant = next(iter(self._waiting))
        keys = self._waiting.pop(tenant)
        key = next(iter(keys))
        items = keys.pop(key)
        item = items.popleft()
        # Whoever has more goes to the end.
        if items:
            keys[key] = items
        if keys:
            self._waiting[tenant] = keys
        return item

    def clear(self) -> None:
        """Removes all items."""
        self._waiting.clear()
