"""PostgreSQL, by ``psycopg``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, LiteralString

from eta.domain.errors import InvalidSetting, StoreUnavailable
from eta.store.engine import AnyOf, Row

if TYPE_CHECKING:
    import psycopg

#: Seconds to wait for a connection, and for another process's transaction.
_WAIT_SECONDS = 10
#: Seconds that one statement may take.
_STATEMENT_TIMEOUT_SECONDS = 30
#: A server that is gone without a word is noticed after about so long, in seconds and, the last,
#: milliseconds.
_TCP_OPTIONS: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class PostgresConnection:
    """A connection; the server syncs before a commit returns, unless its administrator decided otherwise."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: object) -> list[Row]:
        """All rows of a statement."""
        parameters = [list(value.values) if isinstance(value, AnyOf) else value for value in values]
        result = self._connection.execute(_to_dialect(sql), parameters)
        return result.fetchall() if result.description else []

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """All rows of a statement, some at a time, by a cursor of the server."""
        with self._connection.cursor(name="batches") as cursor:
            cursor.execute(_to_dialect(sql))
            while rows := cursor.fetchmany(size):
                yield rows

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """A statement, once for each row of values."""
        if not rows:
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(_to_dialect(sql), rows)

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction."""
        self._connection.execute(
            "BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )

    def commit(self) -> None:
        """Ends the transaction; when this returns, what was written is on the server's disk."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Ends the transaction as if it had never been."""
        if not self._connection.closed:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()


@lru_cache(maxsize=1_000)
def _to_dialect(sql: str) -> LiteralString:
    return sql.replace("IN ??", "= ANY(%s)").replace("?", "%s")


class PostgresEngine:
    """A database of a PostgreSQL server, to which any number of processes may write.

    Raises:
        InvalidSetting: if ``psycopg`` is not installed.
    """

    clustered = ""
    migration_setup: Sequence[str] = (
        # Processes that start at the same time migrate one after the other.
        "SELECT pg_advisory_xact_lock(3823)",
        # A migration that rewrites a large table takes as long as it needs.
        "SET LOCAL statement_timeout = 0",
    )
    allows_several_writers = True

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # only who uses PostgreSQL needs it
        except ImportError:
            raise InvalidSetting(
                "ETA_DATABASE_URL names PostgreSQL, whose driver is not installed; install eta[postgresql]"
            ) from None
        self._psycopg, self._url = psycopg, url

    def writer(self) -> PostgresConnection:
        """A connection that writes.

        Raises:
            StoreUnavailable: if the server does not answer.
        """
        try:
            connection = self._psycopg.connect(
                self._url, autocommit=True, connect_timeout=_WAIT_SECONDS, **_TCP_OPTIONS
            )
            # An answer means that it is on the disk, whatever the server's default.
            connection.execute("SET synchronous_commit = on")
            connection.execute(f"SET lock_timeout = '{_WAIT_SECONDS}s'")
            connection.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT_SECONDS}s'")
        except self._psycopg.Error as error:
            # The message of libpq may hold the address, never the password.
            raise StoreUnavailable(
                f"PostgreSQL does not answer: {str(error).splitlines()[0]}"
            ) from None
        return PostgresConnection(connection)

    def reader(self) -> PostgresConnection:
        """A connection that only reads.

        Raises:
            StoreUnavailable: if the server does not answer.
        """
        return self.writer()

    def maintain(self, writer: PostgresConnection, *, is_idle: bool = True) -> None:
        """The server tidies up by itself."""

    def is_outage(self, error: Exception) -> bool:
        """Whether the server, its disk or the way to it is to blame."""
        # A server that may only be read, as after a failover, is an internal error to the driver.
        return isinstance(
            error,
            self._psycopg.OperationalError
            | self._psycopg.InterfaceError
            | self._psycopg.InternalError,
        )

    def close(self) -> None:
        """Nothing is held."""
