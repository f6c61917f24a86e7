"""A copy of all that is recorded, made while the service runs, and a store made from a copy.

The copy is a SQLite file whatever the store is, so a copy also moves a store from one database to
the other.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from eta.domain.errors import StoreRejected, StoreUnavailable
from eta.store.engine import Connection, Engine, translate_outages
from eta.store.migrations import TABLES, migrate
from eta.store.sqlite import SqliteEngine

#: Rows copied at once.
BATCH_SIZE = 5_000
Progress = Callable[[str, int, int], None]


def back_up(engine: Engine, file: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Copies one snapshot into a file that is there whole or not at all; the rows of each table.

    Every write that was acknowledged before is in it, and of those acknowledged meanwhile, either
    all up to one or none.

    Raises:
        StoreUnavailable: if the store cannot be read.
        StoreRejected: if the file is there already.
    """
    if file.exists():
        raise StoreRejected(f"{file} is there already; name a new file")
    part = file.with_name(f".{file.name}.part")
    _remove(part)
    try:
        with translate_outages(engine):
            counts = _copy_into(engine, part, progress)
        with part.open("rb") as opened:
            os.fsync(opened.fileno())
        part.replace(file)
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        _remove(part)
    return counts


def _copy_into(engine: Engine, part: Path, progress: Progress) -> dict[str, int]:
    target_engine = SqliteEngine(part)
    source, target = engine.reader(), target_engine.writer()
    try:
        migrate(target, target_engine)
        return _copy(source, target, progress)
    finally:
        target.close()
        source.close()
        target_engine.close()


def restore(engine: Engine, file: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Fills an empty store from a copy, in one transaction; the rows of each table.

    Raises:
        StoreRejected: if the store holds anything already, or the file is no copy.
        StoreLocked, StoreUnavailable: if the store cannot be written.
    """
    if not file.is_file():
        raise StoreRejected(f"{file} does not exist; name a file that `eta backup` wrote")
    target = engine.writer()
    try:
        migrate(target, engine)
        for table in TABLES:
            if target.execute(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608  # names of ours
                raise StoreRejected("the store holds something already; restore into an empty one")
        # The file itself is only read: what SQLite would write beside it goes beside a copy.
        working_copy = file.with_name(f".{file.name}.restoring")
        os.close(os.open(working_copy, os.O_CREAT | os.O_WRONLY, 0o600))
        source_engine = SqliteEngine(working_copy)
        try:
            shutil.copyfile(file, working_copy)
            source = source_engine.writer()
        except StoreUnavailable:
            _remove(working_copy)
            raise StoreRejected(f"{file} is no copy that `eta backup` wrote") from None
        try:
            if not source.execute("SELECT 1 FROM sqlite_master WHERE name = 'clock'"):
                raise StoreRejected(f"{file} is no copy that `eta backup` wrote")
            migrate(source, source_engine)
            counts = _copy(source, target, progress)
            # Ids that were given out after the copy was made are never given to others.
            target.execute("UPDATE clock SET secret = ?", secrets.token_hex(32))
            return counts
        finally:
            source.close()
            source_engine.close()
            _remove(working_copy)
    finally:
        target.close()
        engine.close()


def _copy(source: Connection, target: Connection, progress: Progress) -> dict[str, int]:
    counts: dict[str, int] = {}
    source.begin(writes=False)
    target.begin(writes=True)
    try:
        last_commit_time, last_sequence, secret = source.execute(
            "SELECT last_commit_time, last_sequence, secret FROM clock"
        )[0]
        target.execute(
            "UPDATE clock SET last_commit_time = ?, last_sequence = ?, secret = ?",
            last_commit_time,
            last_sequence,
            secret,
        )
        for table in TABLES:
            total = source.execute(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608  # names of ours
            counts[table] = 0
            for rows in source.batches(f"SELECT * FROM {table}", BATCH_SIZE):  # noqa: S608  # names of ours
                marks = ", ".join("?" * len(rows[0]))
                insert = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608  # names of ours
                target.execute_many(insert, rows)
                counts[table] += len(rows)
                progress(table, counts[table], total)
        target.commit()
    finally:
        target.rollback()
        source.rollback()
    return counts


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".lock"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
