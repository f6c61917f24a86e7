"""Copies a store into a file while the service runs, and fills a store from such a copy.

The copy is always a SQLite file, so a copy also moves a store from one database to the other.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eta.domain.errors import StoreRejected, StoreUnavailable
from eta.store.engine import Connection, Engine, translate_outages
from eta.store.migrations import TABLES, check_migrated, migrate
from eta.store.queries import load_queries
from eta.store.sqlite import SqliteConnection, SqliteEngine

#: Rows copied at once.
BATCH_SIZE = 5_000
#: Reports a table, the rows copied so far and all rows.
Progress = Callable[[str, int, int], None]

_SQL = load_queries("backup.sql")
_CLOCK_SQL = load_queries("clock.sql")


def back_up(engine: Engine, file: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Copies one snapshot into a new file; returns the number of rows of each table.

    The file appears when it is complete. It holds every write that was acknowledged before the
    copy began, and a first part of those acknowledged during the copy.

    Raises:
        StoreUnavailable: if the store cannot be read, or nothing was recorded.
        StoreRejected: if the file exists already, or the store is of another version.
    """
    if file.exists():
        raise StoreRejected(f"{file} is there already; name a new file")
    part = file.with_name(f".{file.name}.part")
    _remove(part)
    try:
        with (
            translate_outages(engine),
            closing(SqliteEngine(part)) as target_engine,
            closing(engine.reader()) as source,
            closing(target_engine.writer()) as target,
        ):
            check_migrated(source, engine)
            migrate(target, target_engine)
            counts = _copy(source, target, progress)
        _sync(part)
        part.replace(file)
        _sync(file.parent)
    finally:
        _remove(part)
    return counts


def restore(engine: Engine, file: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Fills an empty store from a copy in one transaction; returns the rows of each table.

    Raises:
        StoreRejected: if the store is not empty, or the file is no backup.
        StoreLocked, StoreUnavailable: if the store cannot be written.
    """
    if not file.is_file():
        raise StoreRejected(f"{file} does not exist; name a file that `eta backup` wrote")
    target = engine.writer()
    try:
        migrate(target, engine)
        for table in TABLES:
            if target.execute(_SQL["has_rows"].format(table=table)):
                raise StoreRejected("the store holds something already; restore into an empty one")
        with _opened_backup(file) as source:
            counts = _copy(source, target, progress)
        # A new secret gives new ids: those that were given out after the copy are not given again.
        target.execute(_CLOCK_SQL["set_secret"], secrets.token_hex(32))
        return counts
    finally:
        target.close()
        engine.close()


@contextmanager
def _opened_backup(file: Path) -> Iterator[SqliteConnection]:
    """Opens a working copy of a backup file, migrated to the present tables.

    SQLite writes beside a file that it opens, so the backup file itself is only read.
    """
    rejection = StoreRejected(f"{file} is no copy that `eta backup` wrote; name another file")
    working_copy = file.with_name(f".{file.name}.restoring")
    os.close(os.open(working_copy, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = SqliteEngine(working_copy)
    try:
        shutil.copyfile(file, working_copy)
        source = engine.writer()
    except StoreUnavailable:
        _remove(working_copy)
        raise rejection from None
    try:
        if not source.execute(_SQL["is_store_file"]):
            raise rejection
        migrate(source, engine)
        yield source
    finally:
        source.close()
        engine.close()
        _remove(working_copy)


def _copy(source: Connection, target: Connection, progress: Progress) -> dict[str, int]:
    """Copies all rows in one transaction of each connection; returns how many of each table."""
    counts: dict[str, int] = {}
    source.begin(writes=False)
    target.begin(writes=True)
    try:
        [clock] = source.execute(_CLOCK_SQL["read_clock"])
        target.execute(_CLOCK_SQL["set_clock"], *clock)
        for table in TABLES:
            total = source.execute(_SQL["count_rows"].format(table=table))[0][0]
            counts[table] = 0
            for rows in source.batches(_SQL["read_rows"].format(table=table), BATCH_SIZE):
                marks = ", ".join("?" * len(rows[0]))
                target.execute_many(_SQL["write_row"].format(table=table, marks=marks), rows)
                counts[table] += len(rows)
                progress(table, counts[table], total)
        target.commit()
    finally:
        target.rollback()
        source.rollback()
    return counts


def _sync(path: Path) -> None:
    """Writes a file or folder through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(file: Path) -> None:
    """Removes a SQLite file and the files that SQLite and the store write beside it."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
