"""Requests that are refused while more arrive than can be answered in time."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import pytest

from eta.api.load_shedding import BOUNDS, CALM_SECONDS, LoadShedder, Ticket, WorkKind

#: Seconds that the simulated server needs for a request.
SERVICE = 0.004


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Outcome(NamedTuple):
    """What became of requests: waits of those that were answered, by caller, and refusals."""

    waits: dict[str, list[float]]
    refused: Counter[str]
    busy: float


class Server:
    """Answers one request after the other, in the order in which they were admitted."""

    def __init__(self, kind: WorkKind = "checkout", service: float = SERVICE) -> None:
        self.clock = Clock()
        self.shedder = LoadShedder(self.clock)
        self._kind, self.service = kind, service
        self._free_at = 0.0

    def run(self, rates: dict[str, float], seconds: float) -> Outcome:
        """Requests of several callers, evenly spread."""
        start = self.clock.now
        arrivals = sorted(
            (start + number / rate, caller)
            for caller, rate in rates.items()
            for number in range(int(rate * seconds))
        )
        return self.answer(arrivals, seconds)

    def answer(self, arrivals: list[tuple[float, str]], seconds: float) -> Outcome:
        """The outcome of requests at given times."""
        waits: dict[str, list[float]] = {caller: [] for _, caller in arrivals}
        refused: Counter[str] = Counter()
        running: deque[tuple[float, float, str, Ticket]] = deque()
        busy = 0.0
        for due, caller in [*arrivals, (float("inf"), "")]:
            while running and running[0][0] <= due:
                self.clock.now, arrived, who, ticket = running.popleft()
                self.shedder.end(ticket)
                waits[who].append(self.clock.now - arrived)
            if not caller:
                break
            self.clock.now = due
            if not self.shedder.admits(self._kind, caller):
                refused[caller] += 1
                continue
            self._free_at = max(self._free_at, due) + self.service
            busy += self.service
            running.append((self._free_at, due, caller, self.shedder.start(self._kind, caller)))
        return Outcome(waits, refused, busy / seconds)


def warmed(kind: WorkKind = "checkout", service: float = SERVICE) -> Server:
    """A server that has answered a while, without an overload."""
    server = Server(kind, service)
    server.run({"a": 0.4 / service}, 400 * service)
    server.clock.now += CALM_SECONDS
    return server


def test_no_request_is_refused_at_half_of_what_can_be_answered() -> None:
    assert not warmed().run({"a": 0.5 / SERVICE}, 10).refused


@pytest.mark.parametrize("multiple", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("service", [0.001, 0.004, 0.03])
def test_waits_stay_short_and_the_server_busy_in_a_lasting_overload(
    multiple: float, service: float
) -> None:
    server = warmed(service=service)
    server.run({"a": multiple / service}, 2)
    outcome = server.run({"a": multiple / service}, 5)
    bound = BOUNDS["checkout"].in_overload * service
    assert max(outcome.waits["a"]) <= bound * 1.01
    assert outcome.busy > 0.98


def test_a_burst_is_answered_as_far_as_it_may_wait() -> None:
    server = warmed()
    start = server.clock.now
    outcome = server.answer([(start, "a")] * 100, 1)
    may_wait = BOUNDS["checkout"].burst_seconds / SERVICE
    assert len(outcome.waits["a"]) == pytest.approx(may_wait, abs=3)
    assert outcome.refused["a"] == 100 - len(outcome.waits["a"])


def test_a_burst_is_admitted_again_a_second_after_the_last_refusal() -> None:
    server = warmed()
    server.run({"a": 3 / SERVICE}, 2)
    few = server.answer([(server.clock.now, "a")] * 20, 1)
    assert few.refused["a"] > 0
    server.clock.now += CALM_SECONDS + 0.1
    assert not server.answer([(server.clock.now, "a")] * 20, 1).refused


def test_requests_that_wait_for_a_slow_disk_may_be_more() -> None:
    """A commit takes 50 ms for however many requests: 16 at a time would be 320 a second."""
    server = warmed("ingest", service=0.05)
    shedder, clock = server.shedder, server.clock
    admitted = []
    for _ in range(200):
        tickets = [
            shedder.start("ingest", "a") for _ in range(300) if shedder.admits("ingest", "a")
        ]
        clock.now += 0.05
        for ticket in tickets:
            shedder.end(ticket)
        admitted.append(len(tickets))
    assert min(admitted[100:]) > 4 * BOUNDS["ingest"].in_overload


def test_a_caller_of_few_requests_is_admitted_whatever_others_send() -> None:
    server = warmed()
    outcome = server.run({"flood": 5 / SERVICE, "victim": 20.0}, 5)
    assert not outcome.refused["victim"]
    assert outcome.refused["flood"] > 0
    # After the first burst of the flood.
    assert max(outcome.waits["victim"][10:]) < 8 * SERVICE


def test_a_caller_of_few_requests_is_not_refused_while_they_are_slow() -> None:
    server = warmed(service=0.045)
    assert not server.run({"victim": 20.0}, 5).refused
    # Others' work makes each of them take longer, though not in turn.
    for _ in range(100):
        tickets = []
        for _ in range(4):
            assert server.shedder.admits("checkout", "victim")
            tickets.append(server.shedder.start("checkout", "victim"))
            server.clock.now += 0.05
        for ticket in tickets:
            server.shedder.end(ticket)


def test_a_caller_of_few_requests_is_not_refused_after_a_stop() -> None:
    server = warmed()
    server.run({"victim": 20.0}, 2)
    # All stand still for a while, and then nothing is quick.
    tickets = [server.shedder.start("checkout", "victim") for _ in range(7)]
    server.clock.now += 0.5
    assert server.shedder.admits("checkout", "victim")
    for ticket in tickets:
        server.shedder.end(ticket)
    assert not server.run({"victim": 20.0}, 2).refused


def test_many_callers_of_few_requests_are_an_overload_together() -> None:
    server = warmed()
    callers = {f"caller {number}": 25.0 for number in range(30)}
    server.run(callers, 2)
    outcome = server.run(callers, 3)
    waits = [wait for of_caller in outcome.waits.values() for wait in of_caller]
    assert max(waits) < 0.25
    assert outcome.busy > 0.98


def test_many_flooding_callers_leave_room_for_another_one() -> None:
    server = warmed()
    floods = {f"flood {number}": 1 / SERVICE for number in range(10)}
    outcome = server.run({**floods, "victim": 20.0}, 3)
    assert not outcome.refused["victim"]


def test_slow_requests_are_admitted_a_few_at_a_time() -> None:
    server = warmed("score", service=2.0)
    outcome = server.answer([(server.clock.now, "a")] * 20, 40)
    assert len(outcome.waits["a"]) == BOUNDS["score"].standing


def test_a_rate_that_falls_lowers_the_bound_within_seconds() -> None:
    server = warmed()
    server.service = 10 * SERVICE
    server.run({"a": 0.3 / SERVICE}, 4)
    outcome = server.run({"a": 0.3 / SERVICE}, 4)
    assert max(outcome.waits["a"]) <= BOUNDS["checkout"].in_overload * 10 * SERVICE * 1.01


def test_a_queue_that_does_not_get_shorter_is_an_overload() -> None:
    server, bounds = warmed(), BOUNDS["checkout"]
    standing = [server.shedder.start("checkout", "a") for _ in range(bounds.standing)]
    assert server.shedder.admits("checkout", "a")
    for _ in range(100):
        server.clock.now += SERVICE
        standing.append(server.shedder.start("checkout", "a"))
        server.shedder.end(standing.pop(0))
    assert not server.shedder.admits("checkout", "a")


def test_one_kind_does_not_shut_out_another_one() -> None:
    server = warmed()
    for _ in range(1_000):
        if server.shedder.admits("ingest", "a"):
            server.shedder.start("ingest", "a")
    assert not server.shedder.admits("ingest", "a")
    assert server.shedder.admits("checkout", "a")


def test_what_has_ended_leaves_nothing_behind() -> None:
    server = warmed()
    server.run({f"caller {number}": 50.0 for number in range(30)}, 2)
    assert server.shedder.in_progress("checkout") == 0
