"""The interface of a database, and the SQL that both databases understand.

Statements are written once, with ``?`` for a value and ``IN ??`` for a list of values (``AnyOf``).
Instants are whole microseconds since 1970 in UTC, so reading and writing never round or shift them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eta.domain.errors import StoreBlocked, StoreUnavailable

Row = tuple[Any, ...]


@dataclass(frozen=True)
class AnyOf:
    """A list of values; a column matches any of them."""

    values: Sequence[str | int]


class CommitUnconfirmed(StoreUnavailable):
    """The answer to COMMIT was lost: it is unknown whether the transaction was committed."""


class Connection(Protocol):
    """A connection of one thread; outside a transaction each statement is its own transaction."""

    def execute(self, sql: str, *values: object) -> list[Row]:
        """Runs a statement and returns all its rows."""
        ...

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """Yields the rows of a statement without values, ``size`` at a time; in a transaction."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement once for each row of values."""
        ...

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction that may write, or a snapshot to read from."""
        ...

    def commit(self) -> None:
        """Ends the transaction; its rows are on the disk when this returns.

        Raises:
            CommitUnconfirmed: if it is unknown whether the transaction was committed.
        """
        ...

    def rollback(self) -> None:
        """Undoes the transaction; does nothing outside a transaction."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class Engine(Protocol):
    """A database: it opens connections and holds the differences of its SQL."""

    #: The file of the database, if it is one.
    path: Path | None
    #: The clause after the columns of a table that is read in the order of its key.
    clustered: str
    #: Statements at the start of each migration's transaction, such as a lock against other
    #: processes that migrate.
    migration_setup: Sequence[str]
    #: A query for the number of tables ``migrations``: 0 in an empty database.
    migrations_tables: str
    #: Whether several processes may write.
    allows_several_writers: bool
    #: Whether traces are removed at the start too: the process may have ended before it did so.
    removes_traces_at_start: bool

    def writer(self) -> Connection:
        """Opens the connection that writes.

        Raises:
            StoreLocked: if another process writes to a database that allows one writer.
            StoreUnavailable: if it cannot be opened.
        """
        ...

    def reader(self) -> Connection:
        """Opens a connection that only reads.

        Raises:
            StoreUnavailable: if it cannot be opened.
        """
        ...

    def lacks_room(self, writer: Any) -> str | None:
        """Why larger writes would fail although a small one succeeds; None if nothing is known.

        It writes nothing, and is quick.
        """
        ...

    def test_room(self, writer: Any) -> None:
        """Writes some pages and discards them, in the transaction that follows an outage."""
        ...

    def maintain(self, writer: Any, *, is_idle: bool = True) -> None:
        """Does maintenance that is best done while no caller waits, and must be done at times."""
        ...

    def remove_traces(self, writer: Any) -> bool:
        """Removes what deleted rows have left in files; False: not yet, try again in a second."""
        ...

    def is_outage(self, error: Exception) -> bool:
        """Whether the database caused the error, not the statement: it is full, gone or broken."""
        ...

    def is_blocked(self, error: Exception) -> bool:
        """Whether the error means that another program held a lock for too long."""
        ...

    def close(self) -> None:
        """Lets other processes write."""
        ...


@contextmanager
def translate_outages(engine: Engine) -> Iterator[None]:
    """Translates the database's own errors about an outage.

    Raises:
        StoreUnavailable: in place of an error of the database that is full, gone or unreadable.
    """
    try:
        yield
    except Exception as error:
        if engine.is_blocked(error):
            raise StoreBlocked from error
        if not engine.is_outage(error):
            raise
        raise StoreUnavailable(f"the store cannot be used: {error}") from error
