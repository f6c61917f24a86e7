"""Answers a request that is sent again, with the same key, as it was answered before: what it asked for is done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eta.domain.errors import EtaError, IdempotencyKeyReused
from eta.store.records import StoredResponse
from eta.store.session import Session
from eta.store.store import Work

#: How long a reply is kept, in microseconds: 72 hours.
RESPONSE_LIFETIME = 72 * 3_600_000_000


@dataclass(frozen=True)
class WriteResponse:
    """A reply: its status, and its body as text; one that refuses part of what was asked is not kept."""

    status: int
    body: str
    is_replayable: bool = True


@dataclass(frozen=True)
class IdempotentRequest:
    """A tenant's request: the key and digest by which it is known again, what is to be done, and how the reply is made of it."""

    tenant: str
    key: str
    digest: str
    work: Work[Any, Any]
    item: Any
    to_response: Callable[[Any], WriteResponse]


def respond_once(
    session: Session, requests: Sequence[IdempotentRequest]
) -> list[WriteResponse | EtaError]:
    """The replies, made now or before; ``IdempotencyKeyReused`` where a key comes with another request. A refusal is not kept."""
    return [_respond(session, request) for request in requests]


def _respond(session: Session, request: IdempotentRequest) -> WriteResponse | EtaError:
    stored = session.responses(request.tenant, [request.key]).get(request.key)
    if stored and session.commit_time - stored.created_at < RESPONSE_LIFETIME:
        if stored.digest != request.digest:
            return IdempotencyKeyReused()
        return WriteResponse(stored.status, stored.body)
    [result] = request.work(session, [request.item])
    if isinstance(result, EtaError):
        return result
    response = request.to_response(result)
    if response.is_replayable:
        session.add_responses(
            request.tenant,
            [
                StoredResponse(
                    request.key, request.digest, response.status, response.body, session.commit_time
                )
            ],
        )
    return response
