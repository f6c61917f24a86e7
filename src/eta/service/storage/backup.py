"""Copies a store into a file while the service runs, and fills a store from such a copy.

The copy is always a SQLite file, so a copy also moves a store from one database to the other.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from eta.domain.errors import FileRejected, StoreRejected, StoreUnavailable
from eta.files import open_regular, sync
from eta.service.storage.backup_checks import check_content, check_tables
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

    The file appears when it is complete, and only its owner can read it. It holds every write that
    was acknowledged before the copy began, and a first part of those acknowledged during the copy.

    Raises:
        StoreUnavailable: if the store cannot be read, or nothing was recorded.
        StoreRejected: if the file exists already, or the store is of another version.
    """
    if file.exists() or file.is_symlink():
        raise StoreRejected(f"{file} is there already; name a new file")
    with _private_folder(file) as folder:
        part = folder / "eta.sqlite"
        counts = _copy_to(part, engine, progress)
        sync(part)
        part.replace(file)
        sync(file.parent)
    return counts


def _copy_to(part: Path, engine: Engine, progress: Progress) -> dict[str, int]:
    """Copies a store into a new file, which is not complete before this returns."""
    with (
        translate_outages(engine),
        closing(SqliteEngine(part)) as target_engine,
        closing(engine.reader()) as source,
        closing(target_engine.writer()) as target,
    ):
        check_migrated(source, engine)
        migrate(target, target_engine)
        return _copy(source, target, progress)


def restore(engine: Engine, file: Path, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Fills an empty store from a copy in one transaction; returns the rows of each table.

    Every table and row of the copy is checked before the store is opened, and no link is followed.

    Raises:
        StoreRejected: if the file is no backup that this version can read, if the store is not
            empty, or if its file is a link.
        StoreLocked, StoreUnavailable: if the store cannot be written.
    """
    with _opened_backup(file) as source:
        _check_no_link(engine)
        with translate_outages(engine), closing(engine), closing(engine.writer()) as target:
            migrate(target, engine)
            _check_empty(target)
            # A new secret gives new ids: none that was given out after the copy is given again.
            return _copy(source, target, progress, secret=secrets.token_hex(32))


def _check_no_link(engine: Engine) -> None:
    if engine.path and engine.path.is_symlink():
        raise StoreRejected(f"{engine.path} is a link; name the file of the store itself")


def _check_empty(target: Connection) -> None:
    for table in TABLES:
        if target.execute(_SQL["has_rows"].format(table=table)):
            raise StoreRejected("the store holds something already; restore into an empty one")


@contextmanager
def _opened_backup(file: Path) -> Iterator[SqliteConnection]:
    """Opens a working copy of a backup, checked and migrated to the present tables.

    SQLite writes beside a file that it opens, so the backup file itself is only read.

    Raises:
        StoreRejected: if it is no backup that this version can read.
    """
    with _private_folder(file) as folder:
        engine = SqliteEngine(_copied(file, folder / "eta.sqlite"))
        with closing(engine), closing(_checked(engine, file)) as source:
            yield source


def _copied(file: Path, copy: Path) -> Path:
    try:
        with open_regular(file, follows_links=False) as source, copy.open("xb") as target:
            shutil.copyfileobj(source, target)
    except FileRejected as error:
        hint = "name a file that `eta backup` wrote"
        raise StoreRejected(f"{file}: {error.problem}; {hint}") from None
    return copy


def _checked(engine: SqliteEngine, file: Path) -> SqliteConnection:
    """Opens and migrates a file.

    Raises:
        StoreRejected: if it is no backup that this version can read.
    """
    source = None
    try:
        source = engine.writer()
        check_tables(source)
        migrate(source, engine)
        check_content(source)
    except BaseException as error:
        if source:
            source.close()
        if isinstance(error, apsw.Error | StoreUnavailable | ValueError):
            problem = f"{file} is no copy that `eta backup` wrote: {error}"
            raise StoreRejected(f"{problem}; name another file") from None
        raise
    return source


@contextmanager
def _private_folder(file: Path) -> Iterator[Path]:
    """A folder beside a file for work on a copy; nobody else can read it or put files there.

    Raises:
        StoreRejected: if it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.parent))
    except OSError as error:
        hint = "use a folder in which you can write"
        raise StoreRejected(f"{file.parent}: {error.strerror}; {hint}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(
    source: Connection, target: Connection, progress: Progress, *, secret: str | None = None
) -> dict[str, int]:
    """Copies all rows in one transaction of each connection; returns how many of each table.

    The copy has the secret of the source unless it is given another one.

    Raises:
        StoreUnavailable: if the target does not hold every row; then it holds none.
    """
    source.begin(writes=False)
    target.begin(writes=True)
    try:
        _copy_clock(source, target, secret)
        counts = {table: _copy_table(source, target, table, progress) for table in TABLES}
        target.commit()
    finally:
        target.rollback()
        source.rollback()
    return counts


def _copy_clock(source: Connection, target: Connection, secret: str | None) -> None:
    [clock] = source.execute(_CLOCK_SQL["read_clock"])
    last_commit_time, last_sequence, old_secret, uninterrupted_since = clock
    clock = (last_commit_time, last_sequence, secret or old_secret, uninterrupted_since)
    target.execute(_CLOCK_SQL["set_clock"], *clock)


def _copy_table(source: Connection, target: Connection, table: str, progress: Progress) -> int:
    """Copies the rows of a table; returns how many."""
    count_rows = _SQL["count_rows"].format(table=table)
    total, count = source.execute(count_rows)[0][0], 0
    for rows in source.batches(_SQL["read_rows"].format(table=table), BATCH_SIZE):
        marks = ", ".join("?" * len(rows[0]))
        target.execute_many(_SQL["write_row"].format(table=table, marks=marks), rows)
        count += len(rows)
        progress(table, count, total)
    if not total == count == target.execute(count_rows)[0][0]:
        raise StoreUnavailable(f"{table} was not copied as a whole; try again")
    return count
