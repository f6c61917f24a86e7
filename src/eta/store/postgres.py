"""PostgreSQL, by ``psycopg``."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString
from urllib.parse import quote

from eta.domain.errors import InvalidSetting, StoreUnavailable
from eta.store.engine import AnyOf, CommitUnconfirmed, Row
from eta.store.migrations import TABLES

if TYPE_CHECKING:
    import psycopg

#: Seconds to wait for a connection, and in a migration for a table that another process uses.
_CONNECT_SECONDS, _MIGRATION_LOCK_SECONDS = 2, 10
#: Seconds to wait for the lock of another session: of a connection that writes, and of one that
#: reads, which waits for nothing in normal operation. With the time in queues less than 5 seconds.
_WRITER_LOCK_SECONDS, _READER_LOCK_SECONDS = 1.5, 1.0
#: Seconds after which the server cancels the vacuum of a table.
_VACUUM_TIMEOUT_SECONDS = 600
#: Seconds after which the server cancels a statement.
_STATEMENT_TIMEOUT_SECONDS = 30
#: TCP settings by which a server that no longer responds is noticed: seconds, and milliseconds for
#: the last.
_TCP_OPTIONS: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 2_000,
}
#: What a host, a port and a name may be. Other characters are of a password that was not encoded.
_PARTS = {
    "host": re.compile(r"[A-Za-z0-9._:,/\[\]%-]*"),
    "port": re.compile(r"[0-9,]*"),
    "dbname": re.compile(r"[^@/:]*"),
    "sslmode": re.compile(r"[a-z-]*"),
}
_SECRET_PARTS = ("password", "sslpassword")
_INVALID_URL = (
    "ETA_DATABASE_URL is no valid URL of PostgreSQL; write postgresql://USER:PASSWORD@HOST/NAME,"
    " and percent-encode special characters of the user and the password, such as %40 for @"
)

_TEST_OF_ROOM = (
    "CREATE TABLE eta_test_of_room AS"
    " SELECT repeat('x', 1000) AS text FROM generate_series(1, 1000)",
    "DROP TABLE eta_test_of_room",
)


class PostgresConnection:
    """A connection; the server syncs before a commit returns unless it is configured otherwise."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: object) -> list[Row]:
        """Runs a statement and returns all its rows."""
        parameters = [list(value.values) if isinstance(value, AnyOf) else value for value in values]
        result = self._connection.execute(_to_dialect(sql), parameters)
        return result.fetchall() if result.description else []

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """Yields the rows of a statement, ``size`` at a time, by a cursor of the server."""
        with self._connection.cursor(name="batches") as cursor:
            cursor.execute(_to_dialect(sql))
            while rows := cursor.fetchmany(size):
                yield rows

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement once for each row of values."""
        if not rows:
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(_to_dialect(sql), rows)

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction that may write, or a snapshot to read from."""
        self._connection.execute(
            "BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )

    def commit(self) -> None:
        """Ends the transaction; its rows are on the server's disk when this returns.

        Raises:
            CommitUnconfirmed: if the connection was lost before the server answered.
        """
        try:
            self._connection.execute("COMMIT")
        except Exception as error:
            if self._connection.closed:
                raise CommitUnconfirmed from error
            raise

    def rollback(self) -> None:
        """Undoes the transaction."""
        if not self._connection.closed:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _session_settings(lock_seconds: float) -> LiteralString:
    """Returns the statements that set the options of a new connection."""
    settings = {
        # A commit returns once it is on the disk, whatever the server's default.
        "synchronous_commit": "on",
        "lock_timeout": f"{lock_seconds}s",
        "statement_timeout": f"{_STATEMENT_TIMEOUT_SECONDS}s",
        # The server ends the transaction of a client that is gone, for which all writers wait.
        "idle_in_transaction_session_timeout": "60s",
        "tcp_keepalives_idle": "5s",
        "tcp_keepalives_interval": "2s",
        "tcp_keepalives_count": "3",
    }
    return "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())


def _secrets_of(url: str) -> list[str]:
    """The secrets in a URL as they are and as they are written there, the longest first.

    Raises:
        InvalidSetting: if the URL is not valid, or if parts of a password may have been taken for
            a host, a port or a database.
    """
    from psycopg import ProgrammingError  # an optional dependency
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (ProgrammingError, ValueError):
        raise InvalidSetting(_INVALID_URL) from None
    if not all(pattern.fullmatch(parts.get(name, "")) for name, pattern in _PARTS.items()):
        raise InvalidSetting(_INVALID_URL)
    secrets = {parts[name] for name in _SECRET_PARTS if parts.get(name)}
    written = {quote(secret, safe="") for secret in secrets}
    user_information = url.partition("://")[2].rpartition("@")[0]
    written.add(user_information.partition(":")[2])
    return sorted(secrets | written - {""}, key=len, reverse=True)


@lru_cache(maxsize=1_000)
def _to_dialect(sql: str) -> LiteralString:
    return sql.replace("IN ??", "= ANY(%s)").replace("?", "%s")


class PostgresEngine:
    """A database of a PostgreSQL server; any number of processes may write to it.

    No message repeats the URL or a secret in it: neither ours nor one of the driver.

    Raises:
        InvalidSetting: if ``psycopg`` is not installed, or the URL is not valid.
    """

    path: Path | None = None
    clustered = ""
    migration_setup: Sequence[str] = (
        # A migration that rewrites a large table takes as long as it needs.
        "SET LOCAL statement_timeout = 0",
        # Processes that start at the same time migrate one after the other, however long it takes.
        "SET LOCAL lock_timeout = 0",
        "SELECT pg_advisory_xact_lock(3823)",
        # A table that a process of an older version uses is not waited for without limit.
        f"SET LOCAL lock_timeout = '{_MIGRATION_LOCK_SECONDS}s'",
    )
    migrations_tables = (
        "SELECT count(*) FROM pg_tables"
        " WHERE tablename = 'migrations' AND schemaname = ANY (current_schemas(false))"
    )
    allows_several_writers = True
    removes_traces_at_start = False

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # an optional dependency
        except ImportError:
            raise InvalidSetting(
                "ETA_DATABASE_URL names PostgreSQL, whose driver is not installed;"
                " install eta[postgresql]"
            ) from None
        self._psycopg = psycopg
        self._url = url
        self._vacuum: threading.Thread | None = None
        self._secrets = _secrets_of(url)

    def writer(self) -> PostgresConnection:
        """Opens a connection that writes.

        Raises:
            StoreUnavailable: if the server does not respond.
        """
        return self._connect(_WRITER_LOCK_SECONDS)

    def reader(self) -> PostgresConnection:
        """Opens a connection that only reads.

        Raises:
            StoreUnavailable: if the server does not respond.
        """
        return self._connect(_READER_LOCK_SECONDS)

    def _connect(self, lock_seconds: float) -> PostgresConnection:
        try:
            connection = self._psycopg.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, **_TCP_OPTIONS
            )
            connection.execute(_session_settings(lock_seconds))
        except (self._psycopg.Error, ValueError) as error:
            message = str(error).splitlines()[0]
            for secret in self._secrets:
                message = message.replace(secret, "***")
            raise StoreUnavailable(f"PostgreSQL does not respond: {message}") from None
        return PostgresConnection(connection)

    def lacks_room(self, writer: PostgresConnection) -> str | None:
        """Returns None: the server's disk cannot be seen."""

    def test_room(self, writer: PostgresConnection) -> None:
        """Writes 1 MiB and discards it: on a full disk, pages that are there can still change."""
        for statement in _TEST_OF_ROOM:
            writer.execute(statement)

    def maintain(self, writer: PostgresConnection, *, is_idle: bool = True) -> None:
        """Does nothing: the server maintains itself."""

    def remove_traces(self, writer: PostgresConnection) -> bool:
        """Has the server remove deleted rows, beside other work; False while it does."""
        del writer  # Other writes must not wait for it.
        if self._vacuum is None:
            self._vacuum = threading.Thread(target=self._vacuum_tables, name="eta-vacuum")
            self._vacuum.daemon = True
            self._vacuum.start()
        self._vacuum.join(timeout=0.01)
        if self._vacuum.is_alive():
            return False
        self._vacuum = None
        return True

    def _vacuum_tables(self) -> None:
        """Vacuums every table; one that takes too long is left to the server's own vacuum."""
        try:
            connection = self.writer()
        except StoreUnavailable:
            return
        with closing(connection):
            connection.execute(f"SET statement_timeout = '{_VACUUM_TIMEOUT_SECONDS}s'")
            for table in TABLES:
                with suppress(self._psycopg.Error):
                    connection.execute(f"VACUUM (TRUNCATE FALSE) {table}")

    def is_blocked(self, error: Exception) -> bool:
        """Whether another session held a lock for too long."""
        return isinstance(error, self._psycopg.errors.LockNotAvailable)

    def is_outage(self, error: Exception) -> bool:
        """Whether the server, its disk or the network caused the error."""
        # The driver reports a read-only server, as after a failover, as an internal error.
        return isinstance(
            error,
            self._psycopg.OperationalError
            | self._psycopg.InterfaceError
            | self._psycopg.InternalError,
        )

    def close(self) -> None:
        """Does nothing: the engine holds no resources."""
