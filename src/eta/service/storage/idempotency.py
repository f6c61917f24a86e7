"""Returns the stored response to a request that is repeated with the same idempotency key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eta.domain.errors import EtaError, IdempotencyKeyReused
from eta.store.records import StoredResponse
from eta.store.session import Session
from eta.store.store import Work

#: How long a response is stored, in microseconds: 72 hours.
RESPONSE_LIFETIME = 72 * 3_600_000_000

#: How long the clock must have run on without a break before anything is deleted for its age.
SETTLING_TIME = 72 * 3_600_000_000


@dataclass(frozen=True)
class WriteResponse:
    """A response: status and body."""

    status: int
    body: str


@dataclass(frozen=True)
class IdempotentRequest:
    """A tenant's request: its key and digest, its work, and how its result becomes a response.

    ``is_replayable`` says whether a result is stored: one with problems in it is not.
    """

    tenant: str
    key: str
    digest: str
    work: Work[Any, Any]
    item: Any
    to_response: Callable[[Any], WriteResponse]
    is_replayable: Callable[[Any], bool] = lambda _: True


def respond_once(session: Session, requests: Sequence[IdempotentRequest]) -> list[Any]:
    """Returns the stored response to each request, or does its work and stores the response.

    A result that is not replayable is returned as it is: its response may be large, and is made
    where nobody else waits for it. Returns ``IdempotencyKeyReused`` for a key that came with
    another request. Errors are not stored.
    """
    responses: list[Any] = []
    for request in requests:
        stored = session.responses(request.tenant, [request.key]).get(request.key)
        if stored and not _is_expired(session, stored):
            if stored.digest == request.digest:
                responses.append(WriteResponse(stored.status, stored.body))
            else:
                responses.append(IdempotencyKeyReused())
            continue
        [result] = request.work(session, [request.item])
        if isinstance(result, EtaError) or not request.is_replayable(result):
            responses.append(result)
            continue
        response = request.to_response(result)
        responses.append(response)
        row = StoredResponse(
            idempotency_key=request.key,
            digest=request.digest,
            status=response.status,
            body=response.body,
            created_at=session.commit_time,
        )
        session.add_responses(request.tenant, [row])
    return responses


def is_settled(session: Session) -> bool:
    """Whether the clock has run on long enough for its time to decide what is old."""
    return session.commit_time - session.uninterrupted_since >= SETTLING_TIME


def _is_expired(session: Session, stored: StoredResponse) -> bool:
    return is_settled(session) and session.commit_time - stored.created_at >= RESPONSE_LIFETIME
