"""Which requests are admitted: rates of keys, bodies being received, bytes held, and slots.

A body costs the service memory while it arrives, so bodies and their bytes are limited before they
are read. A slot of the request's kind is taken only once the whole body is there: a slow caller
holds none. Of every limit no tenant and no key gets more than its share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from eta.api.load_shedding import WorkKind
from eta.api.problem_details import ProblemError, capacity_problem
from eta.api.rate_limit import RateLimiter
from eta.api.shares import SharedLimit, Shortage
from eta.domain.access import Principal

#: How many requests of a kind may run or wait: most for what matters most.
CONCURRENCY_LIMITS: dict[WorkKind, int] = {
    "ingest": 1_000,
    "checkout": 500,
    "score": 50,
    "read": 100,
}

#: How many bodies may be on their way at once.
MAX_INCOMING_BODIES = 1_000

#: How many bytes of bodies may be held at once, from their first byte to the response.
MAX_BODY_BYTES_IN_FLIGHT = 64 * 2**20


class Admission:
    """What callers hold of each limit; ``key_counts`` has the number of keys of each tenant."""

    def __init__(self, rate: str, key_counts: Callable[[], Mapping[str, int]]) -> None:
        self._rate_limiter = RateLimiter(rate)
        self.bodies = SharedLimit(MAX_INCOMING_BODIES, key_counts)
        self.bytes = SharedLimit(MAX_BODY_BYTES_IN_FLIGHT, key_counts)
        #: Slots of each kind.
        self.slots = {
            kind: SharedLimit(limit, key_counts) for kind, limit in CONCURRENCY_LIMITS.items()
        }

    @property
    def is_idle(self) -> bool:
        """Whether no request holds anything."""
        return not self.bytes.held and not any(slots.held for slots in self.slots.values())

    def check_rate(self, principal: Principal) -> None:
        """Counts a request.

        Raises:
            ProblemError: 429 if the key exceeds its rate.
        """
        self._rate_limiter.count(principal)

    @contextmanager
    def slot(self, kind: WorkKind, principal: Principal) -> Iterator[None]:
        """Holds a slot for a request whose body is there.

        Raises:
            ProblemError: 503 if all slots of the kind are taken, 429 if the caller has its share.
        """
        what = f"requests of kind {kind}"
        with _held(self.slots[kind], principal, what):
            yield

    @contextmanager
    def incoming_body(self, principal: Principal) -> Iterator[None]:
        """Admits a body that is about to be received.

        Raises:
            ProblemError: 503 if too many bodies are on their way, 429 if too many of the caller.
        """
        with _held(self.bodies, principal, "bodies on their way"):
            yield

    @contextmanager
    def body_bytes(self, principal: Principal) -> Iterator[BodyBytes]:
        """The bytes that one request holds; all are given back at the end."""
        body_bytes = BodyBytes(self.bytes, principal)
        try:
            yield body_bytes
        finally:
            self.bytes.give_back(principal, body_bytes.held)


class BodyBytes:
    """The bytes that a request's body holds."""

    def __init__(self, limit: SharedLimit, principal: Principal) -> None:
        self._limit, self._principal = limit, principal
        self.held = 0

    def hold(self, size: int) -> None:
        """Holds at least ``size`` bytes in all.

        Raises:
            ProblemError: 503 if too many bytes are held, 429 if too many of the caller's.
        """
        more = size - self.held
        if more <= 0:
            return
        if shortage := self._limit.take(self._principal, more):
            raise _refusal(shortage, "bytes of bodies in progress")
        self.held = size


@contextmanager
def _held(limit: SharedLimit, principal: Principal, what: str) -> Iterator[None]:
    if shortage := limit.take(principal, 1):
        raise _refusal(shortage, what)
    try:
        yield
    finally:
        limit.give_back(principal, 1)


def _refusal(shortage: Shortage, what: str) -> ProblemError:
    if shortage is Shortage.SHARE:
        status, detail = 429, f"your key has its share of {what}; wait for earlier answers"
    else:
        status, detail = 503, f"too many {what}; try again"
    return capacity_problem(status, detail)
