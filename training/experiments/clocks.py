"""Claim: whatever a clock does, nothing is lost or erased early, and answers stay true.

Histories of a service on machines whose clocks are set ahead and back, by seconds to ten years, at
random moments; with scans and registrations, idle weeks, restarts with right and wrong clocks, and
retention on. All time is virtual. On PostgreSQL two replicas run, each on a machine of its own, and
the database's clock may be wrong as well. A wrong clock is noticed and set right within two days;
the operator does what /readyz says and nothing else.

* Nothing acknowledged is lost, nor erased early by more than three hours: a restart may hide two.
  What `eta repair --clock` moves is as old as the last right stamp.
* A question as of a moment gets the same answer later. Excepted are moments after stamps that
  `eta repair --clock` moved, and those after the moment to which a database's clock was set back.
* A minute after the clock is right, writes are accepted and as_of is right; without anybody's help
  if the service was not started while the clock was wrong.
* Retention still works: at the end, 80 hours with a right clock erase what is old enough.

The last line is one JSON object.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import harness
from rich.progress import track

from eta.calendars.local_time import from_microseconds
from eta.domain.errors import ClockRefused, InvalidValue
from eta.domain.vocabulary import EventCode
from eta.service.storage.repair_clock import repair_clock
from eta.service.storage.retention import ERASE_BATCH_SIZE, Retention, purge_expired
from eta.service.tracking.record_events import (
    EventReport,
    RecordEvents,
    RecordingStatus,
    record_events,
)
from eta.store.clock_guard import ClockGuard, ClockProblem
from eta.store.engine import Engine
from eta.store.postgres import PostgresEngine
from eta.store.sqlite import SqliteEngine
from eta.store.store import SqlStore
from support.postgres import SettableClock, cluster, programs
from support.store import NOW, TENANT, fresh_url, register, registration, shipment_history

HISTORIES = 200
#: One in so many histories runs on PostgreSQL.
POSTGRES_EVERY = 5
STEPS = 50
MAX_IDLE_DAYS = 14
KEEP = timedelta(days=60)
#: By how much retention may be early: what a restart may hide, and what the guard tolerates.
TOLERANCE = timedelta(hours=3)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CODES = tuple(EventCode)[10:25]


class World:
    """The true time, and the clocks that may show another."""

    def __init__(self, machines: int, database: SettableClock | None) -> None:
        self.now = NOW
        self.errors = [timedelta(0)] * machines
        self.database_error = timedelta(0)
        self._database = database
        self._show()

    def pass_time(self, duration: timedelta) -> None:
        """Lets time pass on all clocks."""
        self.now += duration
        self._show()

    def set_clocks(self, errors: list[timedelta], database_error: timedelta) -> None:
        """Sets all clocks to the true time and these errors."""
        self.errors, self.database_error = errors, database_error
        self._show()

    @property
    def is_right(self) -> bool:
        """Whether all clocks are right."""
        return not any([*self.errors, self.database_error])

    def steady(self) -> float:
        """Seconds that no clock error changes."""
        return (self.now - NOW).total_seconds()

    def _show(self) -> None:
        if self._database:
            self._database.set(self.now + self.database_error)


class History:
    """One service over some months: what it acknowledged and answered, and whether that holds."""

    def __init__(self, seed: int, world: World, engines: list[Engine]) -> None:
        self.random = random.Random(seed)  # noqa: S311  # repeatable histories
        self.world = world
        self.engines = engines
        self.stores = [self._open(place) for place in range(len(engines))]
        self.counts = Counter[str]()
        #: By number: the shipment's id, its last activity by true time, and its scans.
        self.shipments: dict[int, tuple[str, datetime, int]] = {}
        #: As of when, about which shipment, and a digest of the answer.
        self.answers: list[tuple[datetime, int, str]] = []
        self._last_number = 0

    def _open(self, place: int) -> SqlStore:
        def clock() -> datetime:
            return self.world.now + self.world.errors[place]

        guard = ClockGuard(self.world.steady, MAX_IDLE_DAYS)
        return SqlStore(self.engines[place], clock, guard)

    @property
    def store(self) -> SqlStore:
        """Any replica."""
        return self.random.choice(self.stores)

    def run(self) -> None:
        """Lives through the history."""
        for _ in range(STEPS):
            step = self.random.choices(
                (self.write, self.read, self.wait, self.idle, self.restart, self.mislead),
                weights=(8, 4, 3, 1, 1, 2),
            )[0]
            step()
        self.finish()

    def write(self) -> bool:
        """Registers a shipment or records a scan; whether the service acknowledged it."""
        try:
            if not self.shipments or self.random.random() < 0.4:
                self._register(self.store)
            else:
                self._record(self.store)
        except ClockRefused:
            self.counts["refused"] += 1
            return False
        except InvalidValue:
            # An empty store that was started with a clock far behind finds orders in the future.
            if self.world.is_right:
                raise
            self.counts["refused_orders"] += 1
            return False
        return True

    def _register(self, store: SqlStore) -> None:
        self._last_number += 1
        shipment_id = register(store, registration(self._last_number)).shipment_id
        self.shipments[self._last_number] = shipment_id, self.world.now, 0
        self.counts["acknowledged"] += 1

    def _record(self, store: SqlStore) -> None:
        number = self.random.choice(list(self.shipments))
        report = EventReport(
            event_code=self.random.choice(CODES),
            carrier="post",
            tracking_number=f"{number:08d}",
            occurred_at=self.world.now - timedelta(seconds=self.random.uniform(1, 3_600)),
        )
        [outcome] = store.write(record_events, RecordEvents(TENANT, [report]))
        status = getattr(outcome, "status", None)
        if status is RecordingStatus.STORED:
            shipment_id, _, scans = self.shipments[number]
            self.shipments[number] = shipment_id, self.world.now, scans + 1
        self.counts["acknowledged" if status is RecordingStatus.STORED else str(status)] += 1

    def read(self) -> None:
        """Asks about a shipment now, and again a question of earlier."""
        if self.shipments:
            number = self.random.choice(list(self.shipments))
            as_of = self.store.safe_now()
            self.answers.append((as_of, number, self._answer(number, as_of)))
        for as_of, number, answer in self.random.sample(self.answers, min(3, len(self.answers))):
            self._ask_again(as_of, number, answer)

    def _ask_again(self, as_of: datetime, number: int, answer: str) -> None:
        if number not in self.shipments:
            return
        self.counts["repeated_questions"] += 1
        self.counts["changed_answers"] += self._answer(number, as_of) != answer

    def _answer(self, number: int, as_of: datetime) -> str:
        history = shipment_history(self.store, self.shipments[number][0], as_of)
        if history is None:
            return "none"
        return repr((sorted(history.events), history.versions, history.state))

    def wait(self) -> None:
        """Some seconds to hours pass."""
        self.pass_time(timedelta(seconds=10 ** self.random.uniform(0, 4.2)))

    def idle(self) -> None:
        """Days to weeks pass while the service runs; its retention acts now and then."""
        self.pass_time(timedelta(days=self.random.uniform(1, 30)))

    def pass_time(self, duration: timedelta) -> None:
        """Lets time pass; retention acts every eight hours."""
        while duration > timedelta(0):
            step = min(duration, timedelta(hours=8))
            self.world.pass_time(step)
            duration -= step
            self.purge()

    def purge(self) -> None:
        """Lets retention act, and finds out what it erased."""
        try:
            count = ERASE_BATCH_SIZE
            while count == ERASE_BATCH_SIZE:
                count = self.store.write(
                    purge_expired, Retention(KEEP // timedelta(microseconds=1))
                )
                if count:
                    self._note_erased()
        except ClockRefused:
            self.counts["refused_purges"] += 1

    def _note_erased(self) -> None:
        rows = self.store.read(lambda session: session.all_shipments(TENANT))
        left = {row.shipment_id for row in rows}
        for number, (shipment_id, active_at, _) in list(self.shipments.items()):
            if shipment_id not in left:
                self.counts["erased"] += 1
                self.counts["erased_early"] += self.world.now - active_at < KEEP - TOLERANCE
                del self.shipments[number]

    def restart(self) -> None:
        """Stops all replicas, and starts them after seconds to weeks."""
        self.close()
        self.world.pass_time(timedelta(seconds=10 ** self.random.uniform(0, 6.3)))
        self.stores = [self._open(place) for place in range(len(self.engines))]
        self.counts["restarts"] += 1
        if self.world.is_right:
            self.operate()

    def close(self) -> None:
        """Stops all replicas."""
        for store in self.stores:
            store.close()

    def mislead(self) -> None:
        """Sets clocks wrong for up to two days, and right again."""
        jump = self._set_wrong()
        was_restarted = False
        for _ in range(self.random.randrange(1, 6)):
            step = self.random.choice(("write", "read", "wait", "wait", "restart"))
            was_restarted |= step == "restart"
            if step == "restart":
                self._restart_soon()
            else:
                getattr(self, step)()
        self.world.set_clocks([timedelta(0)] * len(self.engines), timedelta(0))
        if jump < timedelta(0):
            # Documented: the database's own clock was set back, and replicas learn of it apart.
            self._forget_after(self.world.now + jump)
        self.counts["jumps"] += 1
        self.pass_time(MINUTE)
        self.operate(is_help_needed=was_restarted)

    def _set_wrong(self) -> timedelta:
        """Sets some clocks wrong; returns how far the database's was set back, else 0."""
        size = timedelta(seconds=10 ** self.random.uniform(0.3, 8.5))
        error = size * self.random.choice((-1, 1))
        has_replicas = len(self.engines) > 1
        kind = self.random.choice(("all", "machine", "database")) if has_replicas else "all"
        errors = [timedelta(0)] * len(self.engines)
        if kind == "all":
            errors = [error] * len(self.engines)
        elif kind == "machine":
            errors[self.random.randrange(len(errors))] = error
        database_error = error if kind in ("all", "database") else timedelta(0)
        self.world.set_clocks(errors, database_error)
        return min(database_error, timedelta(0)) if has_replicas else timedelta(0)

    def _restart_soon(self) -> None:
        """Restarts with a clock that is wrong."""
        self.close()
        self.world.pass_time(timedelta(seconds=10 ** self.random.uniform(0, 4)))
        self.stores = [self._open(place) for place in range(len(self.engines))]
        self.counts["restarts_with_a_wrong_clock"] += 1

    def _forget_after(self, moment: datetime) -> None:
        self.answers = [each for each in self.answers if each[0] <= moment]

    def operate(self, *, is_help_needed: bool = True) -> None:
        """With right clocks: does what the service asks for, and checks that it is right then."""
        self._accept_clocks(is_help_needed)
        if any(store.safe_now() > self.world.now + MINUTE for store in self.stores):
            self._repair()
        for store in self.stores:
            self._check_right(store)

    def _accept_clocks(self, is_help_needed: bool) -> None:
        """Writes with every replica; does what those ask for that refuse to."""
        for place in range(len(self.stores)):
            # A restart may show that nothing was written for long.
            for _ in range(2):
                if self._is_writing(self.stores[place]):
                    break
                self.counts["not_right_alone"] += not is_help_needed
                self._help(place)

    def _is_writing(self, store: SqlStore) -> bool:
        try:
            self._register(store)
        except ClockRefused:
            return False
        return True

    def _help(self, place: int) -> None:
        """Accepts the clock of a replica, or restarts it."""
        store = self.stores[place]
        problem = store.clock_reading.problem
        self.counts[f"helped_{problem.value if problem else None}"] += 1
        if problem is ClockProblem.IDLE:
            store.accept_clock()
        else:
            store.close()
            self.stores[place] = self._open(place)

    def _repair(self) -> None:
        self.close()
        engine = self.engines[0]
        wrong = repair_clock(engine, self.world.now, dry_run=False)
        if wrong.moves:
            last_right = from_microseconds(min(wrong.moves.values()) - 1)
            self._forget_after(last_right)
            # Documented: what was moved is as old as the last right stamp.
            for number, (shipment_id, active_at, scans) in self.shipments.items():
                self.shipments[number] = shipment_id, min(active_at, last_right), scans
        self._forget_after(self.world.now)
        self.stores = [self._open(place) for place in range(len(self.engines))]
        self.counts["repairs"] += 1

    def _check_right(self, store: SqlStore) -> None:
        """Checks that a replica writes, and that its time is right."""
        try:
            self._register(store)
            commit_time = store.write(
                lambda session, items: [session.commit_time for _ in items], None
            )
        except ClockRefused:
            self.counts["not_right"] += 1
            return
        for moment in (from_microseconds(commit_time), store.safe_now()):
            self.counts["wrong_times"] += abs(moment - self.world.now) > MINUTE

    def finish(self) -> None:
        """Lets retention act with a right clock, and checks everything."""
        self.operate()
        old = [n for n, (_, at, _) in self.shipments.items() if self.world.now - at > KEEP + DAY]
        self.pass_time(timedelta(hours=80))
        self.counts["not_erased"] += sum(number in self.shipments for number in old)
        for as_of, number, answer in self.answers:
            self._ask_again(as_of, number, answer)
        self._compare()

    def _compare(self) -> None:
        """Compares what is stored with what was acknowledged and must not be erased."""
        ids = [shipment_id for shipment_id, _, _ in self.shipments.values()]
        rows = self.store.read(lambda session: session.shipments(TENANT, "shipment_id", ids))
        owners = {owner: row.shipment_id for row in rows for owner in row.event_owners}
        events = self.store.read(lambda session: session.events(TENANT, list(owners)))
        codes = {code.value for code in CODES}
        scans = Counter(owners[event.event_owner] for event in events if event.event_code in codes)
        self.counts["lost_shipments"] += len(set(ids) - {row.shipment_id for row in rows})
        for shipment_id, _, count in self.shipments.values():
            self.counts["lost_scans"] += max(count - scans[shipment_id], 0)


#: What must not happen.
FAULTS = (
    "lost_shipments",
    "lost_scans",
    "erased_early",
    "not_erased",
    "changed_answers",
    "not_right",
    "not_right_alone",
    "wrong_times",
)


@contextmanager
def on_sqlite(seed: int) -> Iterator[History]:
    """A history of one process over a file."""
    folder = Path(tempfile.mkdtemp(prefix="eta-clocks-"))
    history = History(
        seed, World(1, None), [SqliteEngine(folder / "eta.sqlite", synchronous="OFF")]
    )
    try:
        yield history
    finally:
        history.close()
        shutil.rmtree(folder)


@contextmanager
def on_postgres(seed: int, server: str) -> Iterator[History]:
    """A history of two replicas."""
    with fresh_url("postgresql", Path(), lambda: server) as url:
        database = SettableClock(url)
        world = World(2, database)
        history = History(seed, world, [PostgresEngine(database.url) for _ in range(2)])
        try:
            yield history
        finally:
            history.close()
            database.close()


def run_histories(first: int, count: int) -> Counter[str]:
    """Runs histories and counts what happened; names those with faults."""
    counts = Counter[str]()
    with ExitStack() as stack:
        server = stack.enter_context(cluster()) if programs() else None
        for seed in track(range(first, first + count), "histories"):
            uses_postgres = server is not None and seed % POSTGRES_EVERY == 0
            with on_postgres(seed, server) if uses_postgres else on_sqlite(seed) as history:
                history.run()
            counts.update(history.counts)
            counts["histories_on_postgresql"] += uses_postgres
            if any(history.counts[fault] for fault in FAULTS):
                harness.report_progress(f"seed {seed}: {dict(history.counts)}")
    return counts


def main() -> int:
    """Runs the histories and prints the verdict."""
    logging.disable()  # Each refusal is logged.
    parser = harness.parser(__doc__)
    parser.add_argument("--histories", type=int, default=HISTORIES, help="fewer are quicker")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first history")
    args = parser.parse_args()
    started = perf_counter()
    counts = run_histories(args.first, args.histories)
    ok = not any(counts[fault] for fault in FAULTS)
    figures = {"histories": args.histories, **dict.fromkeys(FAULTS, 0), **counts}
    seconds = round(perf_counter() - started, 1)
    return harness.print_verdict("clocks", ok=ok, **figures, seconds=seconds)


if __name__ == "__main__":
    raise SystemExit(main())
