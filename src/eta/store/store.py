"""The store: one thread writes, several read, and it is always known what was known when.

What waits to be written is committed together: many callers share one sync of the disk, and each is
answered only after it. All that is written in a transaction becomes known at one instant, its
stamp. Stamps only grow, and none is at or before a moment that a reader has been given as "now":
what is answered as of a moment stays true of that moment. With several processes on PostgreSQL this
holds within each of them; between them, up to the length of a commit and the difference of their
clocks.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar

from eta.calendars.local_time import from_microseconds
from eta.domain.errors import EtaError, InvalidSetting, StoreBusy, StoreUnavailable
from eta.store.commit_clock import CommitClock
from eta.store.engine import Connection, Engine
from eta.store.migrations import migrate
from eta.store.postgres import PostgresEngine
from eta.store.session import Session
from eta.store.sqlite import SqliteEngine

#: Scans and the like that may wait to be written.
MAX_QUEUED_ITEMS = 50_000

#: At most so many are written in one transaction, so that nobody waits long.
MAX_TRANSACTION_ITEMS = 5_000

#: Seconds between two tries to write while the database cannot be written to and nobody asks.
RETRY_SECONDS = 1.0

#: Seconds for which a write that came through says that the next one will.
PROBE_AFTER_SECONDS = 5.0

#: Seconds after which a write that has not come through counts as one that does not.
WRITE_TIMEOUT_SECONDS = 6.0

#: Writers take turns at this row; whoever has it knows later than all before.
_ADVANCE_CLOCK = "UPDATE clock SET last_commit_time = CASE WHEN last_commit_time < ? THEN ? ELSE last_commit_time + 1 END WHERE id = 1 RETURNING last_commit_time, last_sequence"
log = logging.getLogger(__name__)
I = TypeVar("I")  # noqa: E741  # an item
T = TypeVar("T")

#: Writes items together within one transaction: one result each, or the error that is its answer.
Work = Callable[[Session, Sequence[I]], Sequence[T | EtaError]]


class Store(Protocol):
    """What the service needs of a store."""

    def submit(self, work: Work[I, T], item: I, *, weight: int = 1) -> Future[T]:
        """Has an item written; the result is there once it is durable.

        The future raises what the work answered as an error, or ``StoreUnavailable``; then nothing
        was written.

        Raises:
            StoreBusy: if too much waits already.
        """
        ...

    def write(self, work: Work[I, T], item: I) -> T:
        """The same, waiting for it."""
        ...

    def read(self, query: Callable[[Session], T]) -> T:
        """The answer of one snapshot.

        Raises:
            StoreUnavailable: if it cannot be read.
        """
        ...

    def safe_now(self) -> datetime:
        """Now, as far as knowledge goes: all that is known by it can be read, and nothing else will ever be known by it."""
        ...

    @property
    def can_write(self) -> bool:
        """Whether what is told can be kept."""
        ...

    def close(self) -> None:
        """Writes what waits, and lets go of the database."""
        ...


@dataclass(eq=False)
class _Job:
    work: Work[Any, Any]
    item: Any
    weight: int
    result: Future[Any]


class SqlStore:
    """A store over an engine.

    Raises:
        StoreLocked: if another process writes to it.
        StoreUnavailable: if it cannot be opened.
        StoreRejected: if it was written by a newer version.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine, self._commit_clock = engine, CommitClock(clock)
        self._connection: Connection | None = None
        try:
            self._connection = connection = engine.writer()
            migrate(connection, engine)
            last_commit_time, secret = connection.execute(
                "SELECT last_commit_time, secret FROM clock"
            )[0]
        except BaseException:
            self._drop_connection()
            engine.close()
            raise
        self._secret = str(secret)
        self._commit_clock.end(last_commit_time)
        self._waiting: deque[_Job] = deque()
        self._weight, self._is_closing, self._can_write, self._writing_since = 0, False, True, 0.0
        self._written_at = monotonic()
        self._wake = threading.Condition()
        self._readers: list[Connection] = []
        self._readers_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="eta-writer", daemon=True)
        self._thread.start()

    @property
    def can_write(self) -> bool:
        """Whether the last attempt to write came through, and the one under way does not take for ever."""
        return self._can_write and not (
            self._writing_since and monotonic() - self._writing_since > WRITE_TIMEOUT_SECONDS
        )

    @property
    def secret(self) -> bytes:
        """What nobody else knows: signs what callers carry about."""
        return bytes.fromhex(self._secret)

    def safe_now(self) -> datetime:
        """Now, as far as knowledge goes.

        Raises:
            StoreUnavailable: if other processes may have written, and the store cannot be read.
        """
        if self._engine.allows_several_writers:
            # What another process has acknowledged is known, even if its clock is ahead of ours.
            self._commit_clock.observe(self.read(lambda session: session.last_commit_time()))
        return from_microseconds(self._commit_clock.safe_now())

    def submit(self, work: Work[I, T], item: I, *, weight: int = 1) -> Future[T]:
        """Has an item written; the result is there once it is durable.

        Raises:
            StoreBusy: if too much waits already.
        """
        job = _Job(work, item, weight, Future())
        with self._wake:
            if self._is_closing:
                raise StoreUnavailable("the store is being closed; nothing of this was recorded")
            if self._weight + weight > MAX_QUEUED_ITEMS:
                raise StoreBusy
            self._waiting.append(job)
            self._weight += weight
            self._wake.notify()
        return job.result

    def probe_write(self) -> Future[None] | None:
        """Has nothing written, to see whether anything could be; None if something has been a moment ago.

        Raises:
            StoreBusy: if too much waits already.
            StoreUnavailable: if the store is being closed.
        """
        return (
            self.submit(_no_op, None)
            if monotonic() - self._written_at > PROBE_AFTER_SECONDS
            else None
        )

    def write(self, work: Work[I, T], item: I) -> T:
        """Has an item written, and waits for it."""
        return self.submit(work, item).result()

    def read(self, query: Callable[[Session], T]) -> T:
        """The answer of one snapshot.

        Raises:
            StoreUnavailable: if it cannot be read.
        """
        try:
            with self.snapshot() as session:
                return query(session)
        except StoreUnavailable:
            # The connections that wait may all be those of a server that was restarted: one more,
            # with a new one.
            self._drop_readers()
            with self.snapshot() as session:
                return query(session)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session in which nothing changes.

        Raises:
            StoreUnavailable: if it cannot be read.
        """
        with self._readers_lock:
            connection = self._readers.pop() if self._readers else None
        is_reusable = False
        try:
            if connection is None:
                connection = self._engine.reader()
            connection.begin(writes=False)
            try:
                yield Session(connection, secret=self._secret)
            finally:
                connection.rollback()
            is_reusable = True
        except Exception as error:
            is_reusable = not self._engine.is_outage(error) and not isinstance(
                error, StoreUnavailable
            )
            if not self._engine.is_outage(error):
                raise
            log.error(
                "the store cannot be read: %s: %s",
                type(error).__name__,
                error,
                extra={"action": "store_unreadable"},
            )
            raise StoreUnavailable("the store cannot be read at the moment") from error
        finally:
            if connection is not None and is_reusable:
                with self._readers_lock:
                    self._readers.append(connection)
            elif connection is not None:
                with suppress(Exception):
                    connection.close()

    def _drop_readers(self) -> None:
        with self._readers_lock:
            dropped, self._readers = self._readers, []
        for connection in dropped:
            with suppress(Exception):
                connection.close()

    def close(self) -> None:
        """Writes what waits, and lets go of the database."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        # A database that is gone without a word is not waited for: what was not written was not
        # acknowledged.
        self._thread.join(timeout=WRITE_TIMEOUT_SECONDS)
        # The writer is closed last: the last one out works the log off, and readers cannot.
        self._drop_readers()
        self._drop_connection()
        self._engine.close()

    def _run(self) -> None:
        while True:
            jobs = self._next_batch()
            if jobs is None:
                return
            if jobs or not self._can_write:
                self._writing_since = monotonic()
                self._commit(jobs)
                self._writing_since = 0.0
            if self._connection is not None:
                try:
                    self._engine.maintain(self._connection, is_idle=not self._waiting)
                except Exception as error:
                    if not self._engine.is_outage(error):
                        log.exception(
                            "the store could not be tidied",
                            extra={"action": "store_maintenance_failed"},
                        )

    def _next_batch(self) -> list[_Job] | None:
        """What waits, as much as one transaction bears; nothing if it is time to see whether writing is possible again; None at the end."""
        deadline = monotonic() + RETRY_SECONDS
        with self._wake:
            while not self._waiting:
                if self._is_closing:
                    return None
                if not self._can_write and monotonic() >= deadline:
                    return []
                self._wake.wait(None if self._can_write else RETRY_SECONDS)
            batch = [self._waiting.popleft()]
            weight = batch[0].weight
            while self._waiting and weight + self._waiting[0].weight <= MAX_TRANSACTION_ITEMS:
                weight += self._waiting[0].weight
                batch.append(self._waiting.popleft())
            self._weight -= sum(job.weight for job in batch)
            # Who has gone meanwhile needs nothing written.
            return [job for job in batch if job.result.set_running_or_notify_cancel()]

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """One transaction for all of them, or, if one cannot be written, one for each."""
        try:
            results = self._transact_with_retry(jobs)
        except Exception as error:  # noqa: BLE001  # the callers hear of it
            if self._is_outage(error):
                if self._can_write:
                    log.error(
                        "nothing can be stored: %s: %s",
                        type(error).__name__,
                        error,
                        extra={"action": "store_unavailable"},
                    )
                self._can_write = False
                self._drop_connection()
                for job in jobs:
                    job.result.set_exception(StoreUnavailable())
            elif len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
            else:
                # Not what the database says of it, which may repeat what was to be written.
                stack = traceback.format_tb(error.__traceback__)
                log.error(
                    "a write failed: %s",
                    type(error).__name__,
                    extra={"action": "write_failed", "stack": stack},
                )
                jobs[0].result.set_exception(error)
            return
        if not self._can_write:
            log.info("what is told is stored again", extra={"action": "store_available"})
        self._can_write, self._written_at = True, monotonic()
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)

    def _is_outage(self, error: Exception) -> bool:
        return self._engine.is_outage(error) or isinstance(error, StoreUnavailable)

    def _transact_with_retry(self, jobs: Sequence[_Job]) -> list[Any]:
        """The connection may be one to a server that was restarted: once more with a new one, which records nothing twice."""
        try:
            return self._transact(jobs)
        except Exception as error:
            if not self._is_outage(error):
                raise
            self._drop_connection()
            return self._transact(jobs)

    def _transact(self, jobs: Sequence[_Job]) -> list[Any]:
        commit_time = self._commit_clock.begin()
        connection = self._connection
        try:
            if connection is None:
                connection = self._connection = self._engine.writer()
            connection.begin(writes=True)
            commit_time, last_sequence = connection.execute(
                _ADVANCE_CLOCK, commit_time, commit_time
            )[0]
            session, results = (
                Session(
                    connection,
                    commit_time=commit_time,
                    now=self._commit_clock.clock_now(),
                    last_sequence=last_sequence,
                    secret=self._secret,
                ),
                list[Any](),
            )
            for work, group in groupby(jobs, key=lambda job: job.work):
                results += work(session, [job.item for job in group])
            if session.last_sequence != last_sequence:
                connection.execute(
                    "UPDATE clock SET last_sequence = ? WHERE id = 1", session.last_sequence
                )
            connection.commit()
        except BaseException:
            with suppress(Exception):
                if connection is not None:
                    connection.rollback()
            raise
        finally:
            self._commit_clock.end(commit_time)
        return results

    def _drop_connection(self) -> None:
        """Closes the connection that writes; the next attempt opens another one."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None


def _no_op(session: Session, items: Sequence[None]) -> Sequence[None]:
    del session
    return items


def open_store(url: str, clock: Callable[[], datetime]) -> SqlStore:
    """The store that a URL names: ``memory:``, ``sqlite:PATH`` or ``postgresql://...``.

    Raises:
        InvalidSetting: for any other URL.
        StoreLocked: if another process writes to it.
        StoreUnavailable: if it cannot be opened.
        StoreRejected: if it was written by a newer version.
    """
    return SqlStore(engine_from_url(url), clock)


def engine_from_url(url: str) -> Engine:
    """The database that a URL names.

    Raises:
        InvalidSetting: for a URL that names none.
    """
    if url == "memory:":
        return SqliteEngine(None)
    if url.startswith("sqlite:") and len(url) > len("sqlite:"):
        return SqliteEngine(Path(url.removeprefix("sqlite:")))
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresEngine(url)
    raise InvalidSetting(
        "ETA_DATABASE_URL names no database; write sqlite:PATH, postgresql://USER@HOST/NAME, or memory: to forget at the end"
    )
