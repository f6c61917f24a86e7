"""The file of a store: who may write to it, and whether there is room for more."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from eta.domain.errors import EtaError, StoreLocked, StoreRejected, StoreUnavailable
from eta.store import sqlite as engines
from eta.store import store as stores
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore, open_store
from support.store import NOW, Clock, fresh_url, opened_store, register, registration

pytestmark = pytest.mark.xdist_group("stores")


@pytest.fixture
def store(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(stores, "PROBE_AFTER_SECONDS", 0.05)
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


OTHER = """
import sys
from datetime import UTC, datetime
from eta.domain.errors import StoreLocked
from eta.store.store import open_store
try:
    open_store(sys.argv[1], lambda: datetime.now(UTC)).close()
except StoreLocked:
    sys.exit(3)
"""


def opens_elsewhere(path: Path) -> bool:
    """Whether another process can write to a file."""
    command = [sys.executable, "-c", OTHER, f"sqlite:{path}"]
    status = subprocess.run(command, check=False).returncode
    assert status in (0, 3)
    return status == 0


def test_no_other_name_leads_around_the_lock(store: SqlStore, tmp_path: Path) -> None:
    file, folder = tmp_path / "eta.sqlite", tmp_path / "folder"
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "soft").symlink_to(file)
    folder.symlink_to(tmp_path)
    for name in (tmp_path / "hard", tmp_path / "soft", folder / "eta.sqlite"):
        with pytest.raises(StoreLocked):
            open_store(f"sqlite:{name}", Clock(NOW))
    assert not opens_elsewhere(tmp_path / "soft")
    assert not (tmp_path / "eta.sqlite.lock").exists()
    register(store, registration(1))


def test_a_file_that_was_renamed_is_still_locked(store: SqlStore, tmp_path: Path) -> None:
    file = tmp_path / "eta.sqlite"
    file.rename(tmp_path / "moved.sqlite")
    assert not opens_elsewhere(tmp_path / "moved.sqlite")
    with pytest.raises(StoreUnavailable):
        register(store, registration(1))
    with pytest.raises(StoreRejected, match="log of a database that is not there"):
        open_store(f"sqlite:{file}", Clock(NOW))
    (tmp_path / "moved.sqlite").rename(file)
    assert until(lambda: probe(store)), "it recovers by itself"


def test_the_lock_ends_with_the_store(tmp_path: Path, clock: Clock) -> None:
    with opened_store(f"sqlite:{tmp_path / 'eta.sqlite'}", clock) as first:
        register(first, registration(1))
    assert opens_elsewhere(tmp_path / "eta.sqlite")


def test_what_is_no_file_is_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        engine = SqliteEngine(path)
        for opens in (engine.reader, engine.writer):
            with pytest.raises(StoreUnavailable, match="it is no regular file"):
                opens()


def until(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes to hold within two seconds."""
    for _ in range(100):
        if condition():
            return True
        threading.Event().wait(0.02)
    return False


def probe(store: SqlStore) -> bool:
    """What ``/readyz`` does and says."""
    try:
        if waiting := store.probe_write():
            waiting.result()
    except EtaError:
        return False
    return store.can_write


@contextmanager
def small_pages(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that may grow by two pages, over every connection."""
    connection = store._connection  # noqa: SLF001  # the disk is filled behind its back
    assert connection
    most = connection.execute("PRAGMA page_count")[0][0] + 2
    original = SqliteEngine.writer

    def full(self: SqliteEngine) -> engines.SqliteConnection:
        opened = original(self)
        opened.execute(f"PRAGMA max_page_count = {most}")
        return opened

    with monkeypatch.context() as patch:
        patch.setattr(SqliteEngine, "writer", full)
        connection.execute(f"PRAGMA max_page_count = {most}")
        yield
    if store._connection:  # noqa: SLF001  # as above
        store._connection.execute("PRAGMA max_page_count = 1000000")  # noqa: SLF001  # as above


@contextmanager
def small_files(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A limit on the size of the files of this process."""
    del store, monkeypatch
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_disk(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system without a free block."""
    del store
    original = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        found = original(path)
        return os.statvfs_result((*found[:4], 0, *found[5:], found.f_fsid))

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", statvfs)
        yield


@pytest.mark.parametrize("cause", [small_pages, small_files, full_disk])
def test_a_store_without_room_is_not_ready_until_there_is_some(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, cause: Callable[..., object]
) -> None:
    assert probe(store)
    with cause(store, monkeypatch):  # type: ignore[attr-defined]
        # Nothing has failed yet, and empty writes go on to succeed.
        assert until(lambda: not probe(store))
        states = []
        for _ in range(20):
            threading.Event().wait(0.02)
            states.append(probe(store))
        assert not any(states)
    assert until(lambda: probe(store)), "it recovers by itself"
    register(store, registration(1))


def test_a_lack_of_room_is_logged_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(store, monkeypatch):
        assert until(lambda: not probe(store))
        for _ in range(5):
            threading.Event().wait(0.03)
            probe(store)
    actions = [getattr(record, "action", "") for record in caplog.records]
    assert actions.count("store_full") == 1


def test_the_test_of_room_in_postgresql_leaves_nothing(
    tmp_path: Path, clock: Clock, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.02)
    with fresh_url("postgresql", tmp_path, postgres) as url, opened_store(url, clock) as store:
        with monkeypatch.context() as patch:
            patch.setattr(SqlStore, "_transact", lambda *_: (_ for _ in ()).throw(StoreUnavailable))
            with pytest.raises(StoreUnavailable):
                register(store, registration(1))
        assert until(lambda: store.can_write)
        with psycopg.connect(url) as connection:
            query = "SELECT count(*) FROM pg_tables WHERE tablename = 'eta_test_of_room'"
            assert connection.execute(query).fetchone() == (0,)
