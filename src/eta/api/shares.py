"""An amount of something that tenants and their keys share, so that none shuts others out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from eta.domain.access import Principal


class Shortage(Enum):
    """Why an amount cannot be held."""

    #: All of it is held, by whomever.
    TOTAL = "total"
    #: The rest is left to others: the tenant or the key holds enough.
    SHARE = "share"


@dataclass
class SharedLimit:
    """Holds up to ``total``, of which no tenant and no key holds more than it leaves to others.

    With several tenants, a tenant may hold as much as stays free after it; of a tenant's several
    keys, a key may hold as much as the tenant could still take after it. So one tenant alone gets
    half, and one of its keys a quarter. A tenant, or a key, that holds nothing may take whatever
    is free to it.
    """

    total: int
    #: The number of keys of each tenant that may call.
    key_counts: Callable[[], Mapping[str, int]]
    held: int = 0
    _of_tenant: Counter[str] = field(default_factory=Counter)
    _of_key: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, principal: Principal, amount: int) -> Shortage | None:
        """Holds an amount for a caller; holds nothing and returns why, if there is a shortage."""
        free = self.total - self.held - amount
        if free < 0:
            return Shortage.TOTAL
        tenant, key = principal.tenant, (principal.tenant, principal.name)
        counts = self.key_counts()
        left_to_tenant = free
        if len(counts) > 1:
            held = self._of_tenant[tenant]
            if held and held + amount > free:
                return Shortage.SHARE
            left_to_tenant = (free - held - amount) // 2
        held_by_key = self._of_key[key]
        has_several_keys = counts.get(tenant, 0) > 1
        if has_several_keys and held_by_key and held_by_key + amount > left_to_tenant:
            return Shortage.SHARE
        self.held += amount
        self._of_tenant[tenant] += amount
        self._of_key[key] += amount
        return None

    def give_back(self, principal: Principal, amount: int) -> None:
        """Frees an amount that was held for a caller."""
        self.held -= amount
        self._of_tenant[principal.tenant] -= amount
        self._of_key[principal.tenant, principal.name] -= amount
