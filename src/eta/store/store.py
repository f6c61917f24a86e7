"""Bitemporal store: one writer thread with group commit, several snapshot readers.

Waiting items are committed together: many callers share one sync of the disk, and each gets its
result only after it. All rows of a transaction are recorded at one commit time. Commit times only
grow, and none is at or before a moment that a reader was given as "now", so an answer as of a
moment stays true. With several processes on PostgreSQL the database's clock gives the times.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol, TypeVar

from eta.calendars.local_time import from_microseconds
from eta.domain.errors import (
    ClockRefused,
    EtaError,
    InvalidSetting,
    StoreBlocked,
    StoreBusy,
    StoreUnavailable,
    WriteUnconfirmed,
)
from eta.store.clock_guard import ClockGuard, ClockProblem, ClockReading
from eta.store.commit_clock import CommitClock
from eta.store.engine import CommitUnconfirmed, Connection, Engine, Row, translate_outages
from eta.store.migrations import migrate
from eta.store.postgres import PostgresEngine
from eta.store.queries import load_queries
from eta.store.session import Session
from eta.store.sqlite import SqliteEngine
from eta.store.trace_removal import TraceRemoval
from eta.store.transaction_tokens import TransactionTokens

#: Largest weight of all waiting items; an event weighs 1.
MAX_QUEUED_ITEMS = 50_000

#: Seconds that an item may wait for its transaction; senders give up after half a second or more.
MAX_QUEUE_SECONDS = 3.0

#: Largest weight of one transaction, so that no caller waits long.
MAX_TRANSACTION_ITEMS = 5_000

#: Seconds between two attempts to write while the database is unavailable and no item waits.
RETRY_SECONDS = 1.0

#: Seconds after a successful write in which the next one is assumed to succeed.
PROBE_AFTER_SECONDS = 5.0

#: Seconds after which a write that has not ended counts as failed.
WRITE_TIMEOUT_SECONDS = 6.0

#: Seconds in which a transaction whose answer was lost is looked for, and between two attempts.
CONFIRM_SECONDS, _PAUSE_SECONDS = 2.0, 0.05

_SQL = load_queries("clock.sql")
log = logging.getLogger(__name__)
I = TypeVar("I")  # noqa: E741  # an item
T = TypeVar("T")

#: Writes items together within one transaction; returns a result or an error for each.
Work = Callable[[Session, Sequence[I]], Sequence[T | EtaError]]


class Store(Protocol):
    """The methods of a store that the service uses."""

    def submit(self, work: Work[I, T], item: I, *, weight: int = 1) -> Future[T]:
        """Queues an item; the future has its result once it is durable.

        The future raises the error that the work returned, or ``StoreUnavailable``; then nothing
        was written. It raises ``WriteUnconfirmed`` if that is unknown.

        Raises:
            StoreBusy: if too many items wait already, or the first of them for too long.
        """
        ...

    def write(self, work: Work[I, T], item: I) -> T:
        """Queues an item and waits for its result."""
        ...

    def read(self, query: Callable[[Session], T]) -> T:
        """Returns the result of a query in one snapshot.

        Raises:
            StoreUnavailable: if the store cannot be read.
        """
        ...

    def safe_now(self) -> datetime:
        """Returns a present moment: every row recorded by it can be read, and no more will come."""
        ...

    @property
    def can_write(self) -> bool:
        """Whether the store can write."""
        ...

    def close(self) -> None:
        """Writes the waiting items, then closes the database."""
        ...


@dataclass(eq=False)
class _Job:
    work: Work[Any, Any]
    item: Any
    weight: int
    result: Future[Any]
    queued_at: float

    @property
    def is_overdue(self) -> bool:
        """Whether it has waited longer than it may."""
        return monotonic() - self.queued_at > MAX_QUEUE_SECONDS


@dataclass(eq=False)
class _Attempt:
    """One transaction that writes items, and the one before it if its answer was lost."""

    jobs: Sequence[_Job]
    #: The earliest commit time, later the one that the database gave.
    commit_time: int
    unconfirmed: _Attempt | None = None
    is_first: bool = True
    token: int = 0
    results: list[Any] = field(default_factory=list)

    def after(self, error: Exception) -> _Attempt:
        """Returns the attempt that follows one that ended with an error."""
        is_unconfirmed = isinstance(error, CommitUnconfirmed)
        unconfirmed = self if is_unconfirmed else self.unconfirmed
        return _Attempt(self.jobs, self.commit_time, unconfirmed, is_first=False)


class SqlStore:
    """A store over an engine.

    ``guard`` judges the clock before anything is recorded; without one, ``clock`` is trusted, as
    one that is simulated.

    Raises:
        StoreLocked: if another process writes to it.
        StoreUnavailable: if it cannot be opened.
        StoreRejected: if it was written by a newer version.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], datetime], guard: ClockGuard | None = None
    ) -> None:
        self._engine = engine
        self._commit_clock = CommitClock(clock, guard)
        self._uses_database_clock = guard is not None and engine.allows_several_writers
        self._connection: Connection | None = None
        self._tokens = TransactionTokens()
        self._secret = self._open()
        self._waiting: deque[_Job] = deque()
        self._weight = 0
        self._is_closing = False
        self._can_write = True
        self._lack_of_room: str | None = None
        self._room_seen_at = 0.0
        self._writing_since = 0.0
        self._logged_problem: ClockProblem | None = None
        self._traces = TraceRemoval(engine)
        self._written_at = monotonic()
        self._wake = threading.Condition()
        self._readers: list[Connection] = []
        self._readers_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="eta-writer", daemon=True)
        self._thread.start()

    def _open(self) -> str:
        """Connects, migrates and sets the commit clock; returns the secret of the store."""
        try:
            self._connection = connection = self._engine.writer()
            with translate_outages(self._engine):
                migrate(connection, self._engine)
                last_commit_time, _, secret, _ = connection.execute(_SQL["read_clock"])[0]
                database_time = None
                if self._uses_database_clock:
                    _, database_time, _ = connection.execute(_SQL["read_database_clock"])[0]
        except BaseException:
            self._drop_connection()
            self._engine.close()
            raise
        self._commit_clock.start(last_commit_time, database_time)
        return str(secret)

    @property
    def can_write(self) -> bool:
        """Whether the last write succeeded, a larger one would, and none has timed out."""
        if self._writing_since and monotonic() - self._writing_since > WRITE_TIMEOUT_SECONDS:
            return False
        return self._can_write and self._lack_of_room is None

    @property
    def erasures(self) -> int:
        """How many transactions have deleted what must not be named elsewhere."""
        return self._traces.erasures

    @property
    def secret(self) -> bytes:
        """A secret of this store, to sign cursors that callers send back."""
        return bytes.fromhex(self._secret)

    def safe_now(self) -> datetime:
        """Returns a present moment: every row recorded by it can be read, and no more will come.

        Raises:
            StoreUnavailable: if other processes may have written, and the store cannot be read.
        """
        if self._uses_database_clock:
            read = self.read(lambda session: session.database_clock())
            return from_microseconds(self._commit_clock.observe_database(*read))
        if self._engine.allows_several_writers:
            # A row of another process is recorded even if that process's clock is ahead of ours.
            self._commit_clock.observe(self.read(lambda session: session.last_commit_time()))
        return from_microseconds(self._commit_clock.safe_now())

    def now(self) -> datetime:
        """Returns the time for answers that nothing is recorded of; it does not jump ahead."""
        return from_microseconds(self._commit_clock.answer_time())

    @property
    def clock_reading(self) -> ClockReading:
        """What the clock that decides shows, and whether anything can be recorded by it."""
        return self._commit_clock.reading()

    @property
    def clock_lead_seconds(self) -> float:
        """How far this machine's clock is ahead of the time that is expected of it."""
        return self._commit_clock.lead() / 1e6

    def accept_clock(self) -> None:
        """Trusts the clock, which an operator has checked, and records that moment.

        Raises:
            ClockRefused: if it differs from the database's clock.
            StoreUnavailable: if the store cannot write.
        """
        self._commit_clock.accept()
        self.write(lambda _, items: items, None)

    def submit(self, work: Work[I, T], item: I, *, weight: int = 1) -> Future[T]:
        """Queues an item; the future has its result once it is durable.

        Raises:
            StoreBusy: if too many items wait already, or the first of them for too long.
        """
        job = _Job(work, item, weight, Future(), monotonic())
        with self._wake:
            if self._is_closing:
                raise StoreUnavailable("the store is being closed; nothing of this was recorded")
            is_stuck = self._waiting and self._waiting[0].is_overdue
            if is_stuck or self._weight + weight > MAX_QUEUED_ITEMS:
                raise StoreBusy
            self._waiting.append(job)
            self._weight += weight
            self._wake.notify()
        return job.result

    def probe_write(self) -> Future[None] | None:
        """Queues an empty write to test the database; None if a write succeeded a moment ago.

        Raises:
            StoreBusy: if too many items wait already, or the first of them for too long.
            StoreUnavailable: if the store is being closed.
        """
        wait = RETRY_SECONDS if self._lack_of_room else PROBE_AFTER_SECONDS
        if monotonic() - self._written_at > wait:
            return self.submit(lambda _, items: items, None)
        return None

    def write(self, work: Work[I, T], item: I) -> T:
        """Queues an item and waits for its result."""
        return self.submit(work, item).result()

    def read(self, query: Callable[[Session], T]) -> T:
        """Returns the result of a query in one snapshot.

        Raises:
            StoreUnavailable: if the store cannot be read.
        """
        try:
            with self.snapshot() as session:
                return query(session)
        except StoreBlocked:
            raise
        except StoreUnavailable:
            # The idle connections may all lead to a server that was restarted: try a new one.
            self._drop_readers()
            with self.snapshot() as session:
                return query(session)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Opens a session in which nothing changes.

        Raises:
            StoreUnavailable: if the store cannot be read.
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
            is_reusable = not self._is_outage(error)
            if not self._engine.is_outage(error):
                raise
            _log_outage("store_unreadable", "the store cannot be read", error)
            if self._engine.is_blocked(error):
                raise StoreBlocked from error
            raise StoreUnavailable("the store cannot be read at the moment") from error
        finally:
            if connection is not None:
                if is_reusable:
                    with self._readers_lock:
                        self._readers.append(connection)
                else:
                    _close_quietly(connection)

    def _drop_readers(self) -> None:
        with self._readers_lock:
            dropped = self._readers
            self._readers = []
        for connection in dropped:
            _close_quietly(connection)

    def close(self) -> None:
        """Writes the waiting items, then closes the database."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        # Do not wait for ever for a database that does not respond: no caller has been given a
        # result for the items that it has not written.
        self._thread.join(timeout=WRITE_TIMEOUT_SECONDS)
        # The writer is closed last: the last connection checkpoints the log, and readers cannot.
        self._drop_readers()
        self._drop_connection()
        self._engine.close()

    def _run(self) -> None:
        """Writes waiting items until the store is closed; the writer thread runs this."""
        while True:
            jobs = self._next_batch()
            if jobs is None:
                if self._connection:
                    self._traces.finish(self._connection)
                return
            if jobs or not self._can_write:
                self._writing_since = monotonic()
                self._commit(jobs)
                self._writing_since = 0.0
            if self._connection is None:
                continue
            try:
                self._engine.maintain(self._connection, is_idle=not self._waiting)
                self._traces.run_if_due(self._connection)
            except Exception as error:
                if not self._engine.is_outage(error):
                    extra = {"action": "store_maintenance_failed"}
                    log.exception("the maintenance of the store failed", extra=extra)

    def _next_batch(self) -> list[_Job] | None:
        """Waits for the items of the next transaction.

        Returns no items if it is time to retry after an outage or to remove the traces of deleted
        rows, and None once the store is closed.
        """
        deadline = monotonic() + RETRY_SECONDS
        with self._wake:
            while not self._waiting:
                if self._is_closing:
                    return None
                is_retry = not self._can_write and monotonic() >= deadline
                if is_retry or self._traces.is_due:
                    return []
                is_idle = self._can_write and not self._traces.is_pending
                self._wake.wait(None if is_idle else RETRY_SECONDS)
            batch = [self._waiting.popleft()]
            weight = batch[0].weight
            while self._waiting and weight + self._waiting[0].weight <= MAX_TRANSACTION_ITEMS:
                job = self._waiting.popleft()
                weight += job.weight
                batch.append(job)
            self._weight -= weight
        # An item whose caller has cancelled it is not written.
        running = [job for job in batch if job.result.set_running_or_notify_cancel()]
        overdue = [job for job in running if job.is_overdue]
        for job in overdue:
            job.result.set_exception(StoreBusy())
        return [job for job in running if job not in overdue]

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Writes all items in one transaction; if one of them fails, writes each in its own."""
        try:
            results = self._transact_with_retry(jobs)
        except ClockRefused as error:
            self._refuse(jobs, error)
            return
        except Exception as error:  # noqa: BLE001  # the callers get it from their futures
            if self._is_outage(error):
                if self._can_write:
                    _log_outage("store_unavailable", "the store cannot write", error)
                self._can_write = False
                self._drop_connection()
                for job in jobs:
                    job.result.set_exception(self._outage(error))
            elif len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
            else:
                # The database's message may repeat the data, so only the type and the stack are
                # logged.
                stack = traceback.format_tb(error.__traceback__)
                extra = {"action": "write_failed", "stack": stack}
                log.error("a write failed: %s", type(error).__name__, extra=extra)
                jobs[0].result.set_exception(error)
            return
        self._look_for_room()
        if not self._can_write:
            log.info("the store can write again", extra={"action": "store_available"})
        self._can_write = True
        self._logged_problem = None
        self._written_at = monotonic()
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.result.set_exception(result)
            else:
                job.result.set_result(result)

    def _look_for_room(self) -> None:
        """Notes, at most once in ``RETRY_SECONDS``, whether a larger write would fail."""
        if self._connection is None or monotonic() - self._room_seen_at < RETRY_SECONDS:
            return
        lack, self._room_seen_at = self._engine.lacks_room(self._connection), monotonic()
        if lack and not self._lack_of_room:
            log.error("the store has no room: %s", lack, extra={"action": "store_full"})
        self._lack_of_room = lack

    def _refuse(self, jobs: Sequence[_Job], error: ClockRefused) -> None:
        """Gives all callers the same error; the database is all right."""
        problem = self._commit_clock.reading().problem
        if problem is not self._logged_problem:
            log.error("%s", error, extra={"action": "clock_refused"})
        self._logged_problem = problem
        for job in jobs:
            job.result.set_exception(error)

    def _is_outage(self, error: Exception) -> bool:
        if isinstance(error, ClockRefused):
            return False
        return self._engine.is_outage(error) or isinstance(error, StoreUnavailable)

    def _outage(self, error: Exception) -> StoreUnavailable:
        """Returns the error of a write that an outage caused."""
        if isinstance(error, WriteUnconfirmed):
            return WriteUnconfirmed()
        return StoreBlocked() if self._engine.is_blocked(error) else StoreUnavailable()

    def _transact_with_retry(self, jobs: Sequence[_Job]) -> list[Any]:
        """Writes items; after an outage, tries again over a new connection.

        The server may have been restarted. Its answer to COMMIT may be lost: then the next attempt
        looks whether the transaction was committed, and only writes if it was not.

        Raises:
            WriteUnconfirmed: if that cannot be found out.
        """
        attempt = _Attempt(jobs, self._commit_clock.begin())
        deadline = monotonic() + CONFIRM_SECONDS
        try:
            while True:
                try:
                    return self._transact(attempt)
                except Exception as error:
                    following = attempt.after(error)
                    if following.unconfirmed and monotonic() > deadline:
                        raise WriteUnconfirmed from error
                    is_gone = attempt.is_first and not self._engine.is_blocked(error)
                    is_retried = following.unconfirmed or is_gone
                    if not (is_retried and self._is_outage(error)):
                        if following.unconfirmed:
                            raise WriteUnconfirmed from error
                        raise
                self._drop_connection()
                sleep(0.0 if attempt.is_first else _PAUSE_SECONDS)
                attempt = following
        finally:
            self._commit_clock.end(attempt.commit_time)

    def _transact(self, attempt: _Attempt) -> list[Any]:
        """Writes items in one transaction.

        Raises:
            CommitUnconfirmed: if it is unknown whether the transaction was committed.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._engine.writer()
        try:
            connection.begin(writes=True)
            session = self._begin_session(connection, attempt)
            if earlier := attempt.unconfirmed:
                if self._tokens.is_committed(connection, earlier.token):
                    connection.rollback()
                    return earlier.results
                attempt.unconfirmed = None
            attempt.results = _run_jobs(session, attempt.jobs)
            if not attempt.jobs:
                self._engine.test_room(connection)
            self._finish(connection, session, attempt)
        except BaseException:
            with suppress(Exception):
                connection.rollback()
            raise
        return attempt.results

    def _finish(self, connection: Connection, session: Session, attempt: _Attempt) -> None:
        """Commits what a session wrote."""
        if session.has_new_ids:
            connection.execute(_SQL["set_last_sequence"], session.last_sequence)
        if session.has_erased:
            self._traces.schedule()
        attempt.token = self._tokens.add(connection, session.commit_time)
        connection.commit()
        self._commit_clock.record_uninterrupted()

    def _begin_session(self, connection: Connection, attempt: _Attempt) -> Session:
        """Sets the commit time; other writers wait, and all earlier ones have ended.

        Raises:
            ClockRefused: if the clock that decides cannot be trusted.
        """
        row = self._advance_clock(connection, attempt.commit_time)
        attempt.commit_time, last_sequence, uninterrupted_since = row
        if self._commit_clock.is_interrupted:
            uninterrupted_since = attempt.commit_time
            connection.execute(_SQL["set_uninterrupted_since"], uninterrupted_since)
        reading = self._commit_clock.reading()
        return Session(
            connection,
            commit_time=attempt.commit_time,
            now=reading.wall,
            latest_now=max(attempt.commit_time, reading.latest),
            uninterrupted_since=uninterrupted_since,
            last_sequence=last_sequence,
            secret=self._secret,
        )

    def _advance_clock(self, connection: Connection, earliest: int) -> Row:
        """Returns the commit time, the last sequence and since when the clock is uninterrupted."""
        if not self._uses_database_clock:
            return connection.execute(_SQL["advance_clock"], earliest, earliest)[0]
        [(*row, time)] = connection.execute(_SQL["advance_database_clock"], earliest)
        self._commit_clock.judge_database(time)
        return tuple(row)

    def _drop_connection(self) -> None:
        """Closes the connection that writes; the next attempt opens another one."""
        if self._connection is not None:
            _close_quietly(self._connection)
            self._connection = None


def _run_jobs(session: Session, jobs: Sequence[_Job]) -> list[Any]:
    """Returns the result or the error of each item; neighbours of the same work go together."""
    results: list[Any] = []
    for work, group in groupby(jobs, key=lambda job: job.work):
        results += work(session, [job.item for job in group])
    return results


def _log_outage(action: str, message: str, error: Exception) -> None:
    log.error("%s: %s: %s", message, type(error).__name__, error, extra={"action": action})


def _close_quietly(connection: Connection) -> None:
    with suppress(Exception):
        connection.close()


def open_store(
    url: str, clock: Callable[[], datetime], guard: ClockGuard | None = None
) -> SqlStore:
    """Opens the store at a URL: ``memory:``, ``sqlite:PATH`` or ``postgresql://...``.

    Without ``guard`` the clock is trusted, as one that is simulated.

    Raises:
        InvalidSetting: for any other URL.
        StoreLocked: if another process writes to it.
        StoreUnavailable: if it cannot be opened.
        StoreRejected: if it was written by a newer version.
    """
    return SqlStore(engine_from_url(url), clock, guard)


def engine_from_url(url: str) -> Engine:
    """Returns the engine for a URL.

    Raises:
        InvalidSetting: for a URL of no database.
    """
    if url == "memory:":
        return SqliteEngine(None)
    if url.startswith("sqlite:") and len(url) > len("sqlite:"):
        return SqliteEngine(Path(url.removeprefix("sqlite:")))
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresEngine(url)
    raise InvalidSetting(
        "ETA_DATABASE_URL names no database; use sqlite:PATH, postgresql://USER@HOST/NAME,"
        " or memory: for a store that is lost when the process ends"
    )
