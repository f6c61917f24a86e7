"""Answers a request that is sent again, with the same key, as it was answered before: what it asked for is done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eta.domain.errors import EtaError, KeyReused
from eta.store.records import StoredReply
from eta.store.session import Session
from eta.store.store import Work

#: How long a reply is kept, in microseconds: 72 hours.
KEPT_FOR = 72 * 3_600_000_000


@dataclass(frozen=True)
class Said:
    """A reply: its status, and its body as text; one that refuses part of what was asked is not kept."""

    status: int
    body: str
    is_kept: bool = True


@dataclass(frozen=True)
class Asking:
    """A tenant's request: the key and digest by which it is known again, what is to be done, and how the reply is made of it."""

    tenant: str
    key: str
    digest: str
    work: Work[Any, Any]
    item: Any
    say: Callable[[Any], Said]


def answer_once(session: Session, asked: Sequence[Asking]) -> list[Said | EtaError]:
    """The replies, made now or before; ``KeyReused`` where a key comes with another request. A refusal is not kept."""
    return [_answer(session, each) for each in asked]


def _answer(session: Session, asked: Asking) -> Said | EtaError:
    before = session.replies(asked.tenant, [asked.key]).get(asked.key)
    if before and session.stamp - before.created_at < KEPT_FOR:
        if before.digest != asked.digest:
            return KeyReused()
        return Said(before.status, before.body)
    [done] = asked.work(session, [asked.item])
    if isinstance(done, EtaError):
        return done
    said = asked.say(done)
    if said.is_kept:
        session.add_replies(
            asked.tenant,
            [StoredReply(asked.key, asked.digest, said.status, said.body, session.stamp)],
        )
    return said
