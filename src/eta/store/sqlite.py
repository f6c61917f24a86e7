"""SQLite, in a file or in memory, by the build of SQLite that ``apsw`` brings.

The interpreter's own SQLite may be one of those (3.7.0 to 3.51.2) in which two connections that
write or checkpoint one WAL at the same moment can corrupt it; ours is newer, and only one
connection ever does either. Readers cannot.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from ctypes import addressof, c_int
from functools import lru_cache
from itertools import islice
from pathlib import Path

import apsw

from eta.domain.errors import StoreLocked, StoreRejected, StoreUnavailable
from eta.store.engine import AnyOf, Row

#: Milliseconds that a connection waits for another one's lock.
_BUSY_TIMEOUT_MS = 10_000
#: Pages of the write-ahead log (4 KiB each) from which it is worked off when nobody waits, and even
#: while callers do.
_IDLE_LOG_PAGES, _MAX_LOG_PAGES = 1_000, 16_384
#: What a writer keeps of the file in memory.
_CACHE_KIB = 65_536
_OUTAGES = (
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.NotADBError,
)


class SqliteConnection:
    """A connection; what it is told to write is synced before a commit returns."""

    def __init__(self, database: str, flags: int, vfs: str | None) -> None:
        self._connection = apsw.Connection(database, flags=flags, vfs=vfs, statementcachesize=200)
        self._connection.set_busy_timeout(_BUSY_TIMEOUT_MS)

    def execute(self, sql: str, *values: object) -> list[Row]:
        """All rows of a statement."""
        parameters = [
            json.dumps(value.values) if isinstance(value, AnyOf) else value for value in values
        ]
        return self._connection.execute(_to_dialect(sql), parameters).fetchall()

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """All rows of a statement, some at a time."""
        cursor = self._connection.cursor().execute(sql)
        while rows := list(islice(cursor, size)):
            yield rows

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """A statement, once for each row of values."""
        if not rows:
            return
        self._connection.executemany(_to_dialect(sql), rows)

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction.

        Raises:
            StoreUnavailable: if it would write to a file that was moved or deleted: nobody would
                find it again.
        """
        if writes and self._has_moved():
            raise StoreUnavailable(
                "the database file was moved, replaced or deleted while it was in use"
            )
        self._connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _has_moved(self) -> bool:
        moved = c_int(0)
        self._connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, addressof(moved))
        return bool(moved.value)

    def commit(self) -> None:
        """Ends the transaction; when this returns, what was written is on the disk."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Ends the transaction as if it had never been."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Moves what the log holds into the database, as far as readers allow."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def log_pages(self) -> int:
        """Pages in the log."""
        return self._pages

    def prepare_to_write(self, *, synchronous: str) -> None:
        """Sets what a writer needs: every commit synced, the log worked off only where we say."""
        self._pages = 0

        def record_pages(_: apsw.Connection, __: str, pages: int) -> int:
            self._pages = pages
            return apsw.SQLITE_OK

        # Setting a hook of our own takes SQLite's, which would work the log off within a commit,
        # away.
        self._connection.set_wal_hook(record_pages)
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "secure_delete = ON",
            f"cache_size = -{_CACHE_KIB}",
        ):
            self.execute(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()


@lru_cache(maxsize=1_000)
def _to_dialect(sql: str) -> str:
    return sql.replace("IN ??", "IN (SELECT value FROM json_each(?))")


class SqliteEngine:
    """A file, or memory where ``path`` is None; at most one process writes to a file.

    ``synchronous`` and ``vfs`` are for experiments with power cuts: anything but FULL may lose what
    was acknowledged.
    """

    clustered = "WITHOUT ROWID"
    #: A transaction that writes keeps other processes out already.
    migration_setup: Sequence[str] = ()
    allows_several_writers = False

    def __init__(
        self, path: Path | None, *, synchronous: str = "FULL", vfs: str | None = None
    ) -> None:
        self._path, self._synchronous = path, synchronous
        self._database, self._vfs = (
            (str(path), vfs) if path else (f"file:/eta-{secrets.token_hex(8)}?vfs=memdb", None)
        )
        self._lock: int | None = None
        self._inode = 0
        # A database in memory lives as long as a connection to it does.
        self._memory_connection = None if path else self.reader()

    def writer(self) -> SqliteConnection:
        """The connection that writes; the file is locked against other processes that would.

        Raises:
            StoreLocked: if another process holds the file.
            StoreUnavailable: if it cannot be opened, or is another file than before.
            StoreRejected: if there is a log without its database.
        """
        try:
            self._acquire_lock()
            self._check_same_file()
            connection = SqliteConnection(
                self._database,
                apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI,
                self._vfs,
            )
            connection.prepare_to_write(synchronous=self._synchronous)
        except (apsw.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path} cannot be opened: {error}") from None
        return connection

    def reader(self) -> SqliteConnection:
        """A connection that only reads.

        Raises:
            StoreUnavailable: if there is no such file.
        """
        flags = (
            apsw.SQLITE_OPEN_READONLY
            if self._path
            else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
        try:
            return SqliteConnection(self._database, flags | apsw.SQLITE_OPEN_URI, self._vfs)
        except apsw.Error as error:
            raise StoreUnavailable(f"{self._path} cannot be opened: {error}") from None

    def maintain(self, writer: SqliteConnection, *, is_idle: bool = True) -> None:
        """Works the log off, once nobody waits or when it has grown long."""
        if self._path and writer.log_pages() > (_IDLE_LOG_PAGES if is_idle else _MAX_LOG_PAGES):
            writer.checkpoint()

    def is_outage(self, error: Exception) -> bool:
        """Whether the disk or the file is to blame."""
        return isinstance(error, _OUTAGES)

    def close(self) -> None:
        """Lets other processes write; what was in memory is gone."""
        if self._memory_connection:
            self._memory_connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_same_file(self) -> None:
        """A new file in the place of the one that was opened holds nothing of what was acknowledged, and may not get its log."""
        if self._path and (not self._path.exists() or self._path.stat().st_ino != self._inode):
            raise StoreUnavailable(
                f"{self._path} was moved, replaced or deleted while it was in use; put it back, or start again"
            )

    def _acquire_lock(self) -> None:
        if self._path is None or self._lock is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreLocked(
                f"another process writes to {self._path}; stop it, ask it over HTTP, or use PostgreSQL, which bears several (ETA_DATABASE_URL)"
            ) from None
        self._lock = lock
        wal = self._path.with_name(f"{self._path.name}-wal")
        if not self._path.exists() and wal.exists() and wal.stat().st_size:
            raise StoreRejected(
                f"{wal} is the log of a database that is not there; put {self._path.name} back, or take the log away with what it holds"
            )
        # Nobody else on the machine reads what customers ordered.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._inode = self._path.stat().st_ino
