"""Tokens by which a writer finds out whether a transaction was committed.

If the connection is lost between COMMIT and its answer, the writer cannot know. So each of its
transactions writes a new token into the writer's row. The token is committed with the other rows or
not at all, also if the server fails over to a copy that lacks the last transactions.
"""

from __future__ import annotations

import secrets

from eta.store.engine import Connection
from eta.store.queries import load_queries

#: How long the row of a writer that has ended stays, in microseconds: a day.
_LIFETIME = 24 * 3_600_000_000

_SQL = load_queries("transaction_tokens.sql")


class TransactionTokens:
    """The tokens of one writer, which has one transaction at a time."""

    def __init__(self) -> None:
        self._writer_id = secrets.token_hex(16)
        self._last = 0

    def add(self, connection: Connection, commit_time: int) -> int:
        """Writes the token of the transaction that is open, and returns it."""
        if self._last == 0:
            connection.execute(_SQL["purge"], commit_time - _LIFETIME)
        self._last += 1
        connection.execute(_SQL["put"], self._writer_id, self._last, commit_time)
        return self._last

    def is_committed(self, connection: Connection, token: int) -> bool:
        """Whether the transaction with a token was committed; it must have ended."""
        rows = connection.execute(_SQL["last"], self._writer_id)
        return rows == [(token,)]
