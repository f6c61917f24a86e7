"""SQLite, in a file or in memory, by the build of SQLite that ``apsw`` brings.

In SQLite 3.7.0 to 3.51.2, two connections that write or checkpoint one write-ahead log at the same
moment can corrupt it, and the interpreter's SQLite may be one of these. The build of ``apsw`` is
newer, and only one connection of a store writes or checkpoints. Readers cannot.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import secrets
from collections.abc import Iterator, Sequence
from ctypes import addressof, c_int
from functools import lru_cache
from itertools import islice
from pathlib import Path

import apsw

from eta.domain.errors import (
    NothingRecorded,
    StoreBlocked,
    StoreLocked,
    StoreRejected,
    StoreUnavailable,
)
from eta.store.engine import AnyOf, CommitUnconfirmed, Row
from eta.store.sqlite_gaps import overwrite_gaps

#: Milliseconds that a connection waits for another one's lock.
_BUSY_TIMEOUT_MS = 1_500
#: The same while it empties the log, for which it waits for readers; callers wait meanwhile.
_EMPTY_LOG_TIMEOUT_MS = 100
#: Pages of the write-ahead log (4 KiB each) above which it is checkpointed: while no caller waits,
#: and at any time.
_IDLE_LOG_PAGES, _MAX_LOG_PAGES = 1_000, 16_384
#: Size of the writer's page cache.
_CACHE_KIB = 65_536
#: Bytes that a transaction of ordinary size may need.
_ROOM_BYTES = 4 << 20
#: Pages of the database, those of them that are free, the most that it may have, and their size.
_PAGES = ("page_count", "freelist_count", "max_page_count", "page_size")
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
    """A connection; a commit returns once its rows are synced to the disk."""

    def __init__(self, database: str, flags: int, vfs: str | None) -> None:
        self._connection = apsw.Connection(database, flags=flags, vfs=vfs, statementcachesize=200)
        self._connection.set_busy_timeout(_BUSY_TIMEOUT_MS)

    def execute(self, sql: str, *values: object) -> list[Row]:
        """Runs a statement and returns all its rows."""
        parameters = [
            json.dumps(value.values) if isinstance(value, AnyOf) else value for value in values
        ]
        return self._connection.execute(_to_dialect(sql), parameters).fetchall()

    def batches(self, sql: str, size: int) -> Iterator[list[Row]]:
        """Yields the rows of a statement, ``size`` at a time."""
        cursor = self._connection.cursor().execute(sql)
        while rows := list(islice(cursor, size)):
            yield rows

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement once for each row of values."""
        if not rows:
            return
        self._connection.executemany(_to_dialect(sql), rows)

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction that may write, or a snapshot to read from.

        Raises:
            StoreUnavailable: if it would write to a file that was moved or deleted, where the rows
                would be lost.
        """
        if not writes:
            self._connection.execute("BEGIN")
            return
        moved = c_int(0)
        self._connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, addressof(moved))
        if moved.value:
            raise StoreUnavailable(
                "the database file was moved, replaced or deleted while it was in use"
            )
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Ends the transaction; its rows are on the disk when this returns.

        Raises:
            CommitUnconfirmed: if the log was written and perhaps not synced.
        """
        try:
            self._connection.execute("COMMIT")
        except apsw.IOError as error:
            raise CommitUnconfirmed from error

    def rollback(self) -> None:
        """Undoes the transaction."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Moves pages of the log into the database, as far as readers allow."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def empty_log(self) -> bool:
        """Moves all pages of the log into the database and empties it; False if a reader needs it.

        The pages in memory are read from the database again.
        """
        self._connection.set_busy_timeout(_EMPTY_LOG_TIMEOUT_MS)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            return False
        finally:
            self._connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        self._pages = 0
        self._connection.release_memory()
        return True

    def log_pages(self) -> int:
        """Returns the number of pages in the log."""
        return self._pages

    def prepare_to_write(self, *, synchronous: str) -> None:
        """Sets the options of a writer: commits are synced, and only we checkpoint the log."""
        self._pages = 0

        def record_pages(_: apsw.Connection, __: str, pages: int) -> int:
            self._pages = pages
            return apsw.SQLITE_OK

        # Our hook replaces that of SQLite, which would checkpoint the log within a commit.
        self._connection.set_wal_hook(record_pages)
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "secure_delete = ON",
            f"cache_size = -{_CACHE_KIB}",
        ):
            self.execute(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


@lru_cache(maxsize=1_000)
def _to_dialect(sql: str) -> str:
    return sql.replace("IN ??", "IN (SELECT value FROM json_each(?))")


class SqliteEngine:
    """A file, or memory if ``path`` is None; at most one process writes to a file.

    ``synchronous`` and ``vfs`` are for experiments with power cuts: other values than FULL may lose
    acknowledged rows.
    """

    clustered = "WITHOUT ROWID"
    #: Empty: a transaction that writes excludes other writers already.
    migration_setup: Sequence[str] = ()
    migrations_tables = "SELECT count(*) FROM sqlite_master WHERE name = 'migrations'"
    allows_several_writers = False
    removes_traces_at_start = True

    def __init__(
        self, path: Path | None, *, synchronous: str = "FULL", vfs: str | None = None
    ) -> None:
        self.path = path
        self._synchronous = synchronous
        self._database = str(path) if path else f"file:/eta-{secrets.token_hex(8)}?vfs=memdb"
        self._vfs = vfs if path else None
        #: The open file that holds the lock. While it is open, no connection may outlive it: to
        #: close a file releases the locks that SQLite holds on it in this process.
        self._lock: int | None = None
        #: Where the next part of the file begins in which traces are removed.
        self._next_part = 0
        # A database in memory is lost when its last connection is closed.
        self._memory_connection = None if path else self.reader()

    def writer(self) -> SqliteConnection:
        """Opens the connection that writes, and locks the file against other writing processes.

        Raises:
            StoreLocked: if another process holds the file.
            StoreUnavailable: if it cannot be opened, or was replaced by another file.
            StoreRejected: if there is a log without its database.
        """
        try:
            self._acquire_lock()
            # Checks that the path still leads to the file that was opened.
            if not self._leads_to_locked_file():
                raise StoreUnavailable(
                    f"{self.path} was moved, replaced or deleted while it was in use;"
                    " put it back, or restart the process"
                )
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
            connection = SqliteConnection(self._database, flags, self._vfs)
            connection.prepare_to_write(synchronous=self._synchronous)
        except apsw.BusyError:
            raise StoreBlocked from None
        except (apsw.Error, OSError) as error:
            raise StoreUnavailable(f"{self.path} cannot be opened: {error}") from None
        return connection

    def reader(self) -> SqliteConnection:
        """Opens a connection that only reads.

        Raises:
            NothingRecorded: if there is no such file.
            StoreUnavailable: if it cannot be opened.
        """
        if self.path and not self.path.exists():
            raise NothingRecorded(f"there is no database {self.path}")
        self._check_kind()
        if self.path:
            flags = apsw.SQLITE_OPEN_READONLY
        else:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            return SqliteConnection(self._database, flags | apsw.SQLITE_OPEN_URI, self._vfs)
        except apsw.Error as error:
            raise StoreUnavailable(f"{self.path} cannot be opened: {error}") from None

    def lacks_room(self, writer: SqliteConnection) -> str | None:
        """Why a transaction of ordinary size would fail; None if the disk has room for it.

        On a full disk a small transaction succeeds, in pages of the log that are used again.
        """
        if self.path is None:
            return None
        used, free, most, size = (writer.execute(f"PRAGMA {name}")[0][0] for name in _PAGES)
        disk = os.statvfs(self.path)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        largest = max(map(_size, (self.path, self._log)))
        rooms = {
            "the database may not grow": (most - used + free) * size,
            "the disk is full": disk.f_bavail * disk.f_frsize,
            "the files of this process may not grow": math.inf if limit < 0 else limit - largest,
        }
        least = min(rooms, key=lambda reason: rooms[reason])
        return least if rooms[least] < _ROOM_BYTES else None

    def test_room(self, writer: SqliteConnection) -> None:
        """Does nothing: ``lacks_room`` sees the disk."""

    def maintain(self, writer: SqliteConnection, *, is_idle: bool = True) -> None:
        """Checkpoints the log if no caller waits, or if it has grown long."""
        max_pages = _IDLE_LOG_PAGES if is_idle else _MAX_LOG_PAGES
        if self.path and writer.log_pages() > max_pages:
            writer.checkpoint()

    def remove_traces(self, writer: SqliteConnection) -> bool:
        """Overwrites what deleted rows have left in the log and between other rows."""
        # The files of a simulated disk are elsewhere.
        if self._lock is None or self._vfs:
            return True
        if not writer.empty_log():
            return False
        # One part of the file after the other: other writes get their turn in between.
        next_part = overwrite_gaps(self._lock, self._next_part)
        self._next_part = next_part or 0
        return next_part is None

    def is_outage(self, error: Exception) -> bool:
        """Whether the disk or the file caused the error."""
        return isinstance(error, _OUTAGES)

    def is_blocked(self, error: Exception) -> bool:
        """Whether another program held a lock on the file for too long."""
        return isinstance(error, apsw.BusyError | apsw.LockedError)

    def close(self) -> None:
        """Lets other processes write; a database in memory is lost."""
        if self._memory_connection:
            self._memory_connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _log(self) -> Path | None:
        return self.path and self.path.with_name(f"{self.path.name}-wal")

    def _acquire_lock(self) -> None:
        """Locks the file itself, so that no other name of it leads around the lock."""
        if self.path is None or self._lock is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() and self._log and _size(self._log):
            raise StoreRejected(
                f"{self._log} is the log of a database that is not there; put {self.path.name}"
                " back, or delete the log and the rows in it"
            )
        self._check_kind()
        # Other users of the machine may not read customers' data.
        lock = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreLocked(
                f"another process writes to {self.path}; stop it, use its HTTP API, or use"
                " PostgreSQL, which allows several writing processes (ETA_DATABASE_URL)"
            ) from None
        self._lock = lock

    def _check_kind(self) -> None:
        """Refuses a folder, a device, and a pipe, which would be waited for."""
        if self.path and self.path.exists() and not self.path.is_file():
            raise StoreUnavailable(
                f"{self.path} cannot be opened: it is no regular file;"
                " name another in ETA_DATABASE_URL"
            )

    def _leads_to_locked_file(self) -> bool:
        """Whether the path still leads to the file that is locked."""
        if self.path is None or self._lock is None:
            return True
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._lock))
        except FileNotFoundError:
            return False


def _size(file: Path | None) -> int:
    """Bytes of a file; 0 if there is none."""
    return file.stat().st_size if file and file.exists() else 0
