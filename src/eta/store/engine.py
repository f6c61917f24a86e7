"""What a database must offer, and the SQL that both of ours understand.

Statements are written once, with ``?`` for a value and ``IN ??`` for a list of values (``AnyOf``).
Instants are whole microseconds since 1970 in UTC, so that nothing is rounded or shifted on the way
in or out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from eta.domain.errors import StoreUnavailable

Row = tuple[Any, ...]


@dataclass(frozen=True)
class AnyOf:
    """Values of which a column may hold any."""

    values: Sequence[str | int]


class Connection(Protocol):
    """A connection of one thread; outside of a transaction every statement is one of its own."""

    def execute(self, sql: str, *values: object) -> list[Row]:
        """All rows of a statement."""
        ...

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """All rows of a statement without values, some at a time; within a transaction."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """A statement, once for each row of values."""
        ...

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction: one that may write, or a snapshot to read from."""
        ...

    def commit(self) -> None:
        """Ends the transaction; when this returns, what was written is on the disk."""
        ...

    def rollback(self) -> None:
        """Ends the transaction as if it had never been; does nothing outside of one."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


class Engine(Protocol):
    """A database: where connections come from, and how its SQL differs."""

    #: The clause after the columns of a table that is read in the order of its key.
    clustered: str
    #: Statements at the start of each migration's transaction, such as a lock against other
    #: processes that migrate.
    migration_setup: Sequence[str]
    #: Whether several processes may write.
    allows_several_writers: bool

    def writer(self) -> Connection:
        """The connection that writes.

        Raises:
            StoreLocked: if another process writes to a database that bears only one.
            StoreUnavailable: if it cannot be opened.
        """
        ...

    def reader(self) -> Connection:
        """A connection that only reads.

        Raises:
            StoreUnavailable: if it cannot be opened.
        """
        ...

    def maintain(self, writer: Any, *, is_idle: bool = True) -> None:
        """What is better done while nobody waits, and must be done at times."""
        ...

    def is_outage(self, error: Exception) -> bool:
        """Whether the database, not the statement, is to blame: it is full, gone or broken."""
        ...

    def close(self) -> None:
        """Lets others write."""
        ...


@contextmanager
def translate_outages(engine: Engine) -> Iterator[None]:
    """Calls what the database says when it is full, gone or may not be read by our own name.

    Raises:
        StoreUnavailable: in its place.
    """
    try:
        yield
    except Exception as error:
        if not engine.is_outage(error):
            raise
        raise StoreUnavailable(f"the store cannot be used: {error}") from error
